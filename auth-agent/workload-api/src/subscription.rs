use std::io;
use std::pin::Pin;
use std::sync::Arc;

use futures::future::ready;
use futures::stream::{once, unfold};
use futures::{Stream, StreamExt};
use signet_attest::{EndpointTable, Process, Selectors};
use tokio::sync::watch;
use tonic::Status;

use crate::caller::Attestations;
use crate::entitlement::{Entitlement, entitlement};
use crate::message::Profile;
use crate::places::Place;
use crate::{Offers, SvidSource};

type Ended = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// One open stream: sends what its process is entitled to, whenever that changes, as long as it is anything.
///
/// It has no task of its own. A client that does not read holds back its own stream, and is then sent the latest state.
pub(crate) struct Subscription {
    process: Process,
    attestations: Attestations,
    offers: watch::Receiver<Arc<Offers>>,
    endpoints: watch::Receiver<Option<Arc<EndpointTable>>>,
    stopping: watch::Receiver<()>,
    selectors: Selectors,
    endpoints_known: bool,
    ended: Ended,
    _place: Place,
}

impl Subscription {
    /// A stream to a process; closed when the sender of `stopping` is dropped.
    pub(crate) fn new(
        process: Process,
        source: &impl SvidSource,
        attestations: Attestations,
        stopping: watch::Receiver<()>,
        place: Place,
    ) -> Self {
        let watched = process.clone();
        Self {
            process,
            attestations,
            offers: source.offers(),
            endpoints: source.endpoints(),
            stopping,
            selectors: Selectors::default(),
            endpoints_known: false,
            ended: Box::pin(async move { watched.ended().await }),
            _place: place,
        }
    }

    /// Attests the process and opens the stream, whose first message is there at once.
    ///
    /// # Errors
    /// Nothing may be sent: the status says why.
    pub(crate) async fn open<P: Profile>(
        mut self,
    ) -> Result<impl Stream<Item = Result<P::Message, Status>> + Send + use<P>, Status> {
        self.attest().await?;
        let first = self.judge::<P>()?;
        let first_message = P::message(&first);
        let updates = unfold(Some((self, first)), |state| async {
            let (mut subscription, sent) = state?;
            match subscription.next::<P>(&sent).await {
                Ok(content) => Some((Ok(P::message(&content)), Some((subscription, content)))),
                Err(status) => Some((Err(status), None)),
            }
        });
        Ok(once(ready(Ok(first_message))).chain(updates))
    }

    /// Waits until something else than `sent` is due, or until there is a reason to end.
    async fn next<P: Profile>(&mut self, sent: &P::Content) -> Result<P::Content, Status> {
        loop {
            let endpoints_changed = self.change().await?;
            if !endpoints_changed && self.judge::<P>().is_ok_and(|content| content == *sent) {
                continue;
            }
            // The process may have become another program since: nothing is sent on old facts.
            self.attest().await?;
            let content = self.judge::<P>()?;
            if content != *sent {
                return Ok(content);
            }
        }
    }

    /// Waits for a change; true: of the endpoints.
    async fn change(&mut self) -> Result<bool, Status> {
        let changed = tokio::select! {
            biased;
            _ = &mut self.ended => return Err(Status::permission_denied("the process has ended")),
            changed = self.stopping.changed() => changed.map(|()| false),
            changed = self.endpoints.changed() => changed.map(|()| true),
            changed = self.offers.changed() => changed.map(|()| false),
        };
        changed.map_err(|_| Status::unavailable("the agent is stopping"))
    }

    async fn attest(&mut self) -> Result<(), Status> {
        let endpoints = self.endpoints.borrow_and_update().clone();
        self.endpoints_known = endpoints.is_some();
        self.selectors = self
            .attestations
            .attest(&self.process, endpoints.unwrap_or_default())
            .await?;
        Ok(())
    }

    fn judge<P: Profile>(&mut self) -> Result<P::Content, Status> {
        let offers = Arc::clone(&self.offers.borrow_and_update());
        let not_ready = |why| Err(Status::unavailable(why));
        match entitlement(&self.selectors, &offers) {
            Entitlement::Granted(grant) => match P::content(grant) {
                Some(content) => Ok(content),
                None => not_ready("the SVID has not been issued yet; try again"),
            },
            Entitlement::NotReady => not_ready("the agent has not heard from the CA yet; try again"),
            Entitlement::Nothing if !self.endpoints_known => {
                not_ready("this node's endpoints are not known yet; try again")
            }
            Entitlement::Nothing => {
                tracing::debug!(peer.pid = self.process.pid(), selectors = %self.selectors, "no registration matches");
                Err(Status::permission_denied(format!(
                    "no identity issued: no registration matches {}",
                    self.selectors
                )))
            }
        }
    }
}
