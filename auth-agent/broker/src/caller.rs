use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::{Either, select};
use futures::stream::unfold;
use signet_spiffe::{BundleSet, CertificateDer, SpiffeId, UnixTime, VerifiedSvid};
use signet_tls::{PeerError, peer_svid};
use signet_uds::PeerInfo;
use signet_workload_api::Messages;
use tonic::Status;

use crate::Host;

/// Longest wait at once; a clock that is set meanwhile is noticed after it.
const LOOK_AGAIN: Duration = Duration::from_mins(5);

/// Who is at the other end of a connection.
#[derive(Clone)]
pub(crate) struct Caller(Arc<Inner>);

struct Inner {
    chain: Vec<CertificateDer<'static>>,
    id: SpiffeId,
    peer: PeerInfo,
    host: Arc<dyn Host>,
    /// What was found last, and by which bundles: they stay the same for many requests.
    found: Mutex<(Arc<BundleSet>, VerifiedSvid)>,
}

impl Caller {
    /// Whoever showed this chain in a handshake.
    pub(crate) fn new(
        chain: Vec<CertificateDer<'static>>,
        peer: PeerInfo,
        host: Arc<dyn Host>,
    ) -> Result<Self, PeerError> {
        let bundles = host.bundles();
        let svid = peer_svid(Some(&chain), &bundles, UnixTime::now())?;
        Ok(Self(Arc::new(Inner {
            id: svid.id().clone(),
            chain,
            peer,
            host,
            found: Mutex::new((bundles, svid)),
        })))
    }

    pub(crate) fn id(&self) -> &SpiffeId {
        &self.0.id
    }

    pub(crate) fn peer(&self) -> &PeerInfo {
        &self.0.peer
    }

    /// Whether what it showed still counts.
    pub(crate) fn check(&self) -> Result<(), Status> {
        self.left().map(drop)
    }

    /// How long what it showed will still count, if nothing else happens.
    fn left(&self) -> Result<Duration, Status> {
        let (bundles, now) = (self.0.host.bundles(), UnixTime::now());
        // Nothing panics while the lock is held.
        let mut found = self.0.found.lock().unwrap_or_else(PoisonError::into_inner);
        let end = found.1.not_after();
        if !Arc::ptr_eq(&found.0, &bundles) || now >= end {
            let svid = peer_svid(Some(&self.0.chain), &bundles, now).map_err(|error| self.refused(&error))?;
            *found = (bundles, svid);
        }
        let end = found.1.not_after().as_secs();
        Ok(Duration::from_secs(end.saturating_sub(now.as_secs())))
    }

    fn refused(&self, error: &PeerError) -> Status {
        tracing::info!(broker.id = %self.0.id, %error, "what a broker showed does not count any more");
        Status::unauthenticated(format!(
            "the SVID of this connection does not count any more: {error}; connect with a new one"
        ))
    }

    /// Comes back when what it showed does not count any more.
    async fn lapsed(self) -> Status {
        let mut changes = self.0.host.changes();
        loop {
            let left = match self.left() {
                Ok(left) => left,
                Err(status) => return status,
            };
            // At least a moment: seconds are all that certificates count in.
            let wait = left.clamp(Duration::from_millis(100), LOOK_AGAIN);
            let sleep = std::pin::pin!(tokio::time::sleep(wait));
            if let Either::Left((None, sleep)) = select(changes.next(), sleep).await {
                // The agent stops; until its streams end, time goes on.
                sleep.await;
            }
        }
    }

    /// The same messages, as long as what it showed counts.
    pub(crate) fn guard<T: Send + 'static>(&self, messages: Messages<T>) -> Messages<T> {
        let lapsed = Box::pin(self.clone().lapsed());
        unfold(Some((messages, lapsed)), |state| async {
            let (mut messages, mut lapsed) = state?;
            // A lapse first: nothing is sent after it that was due before.
            let message = tokio::select! {
                biased;
                status = &mut lapsed => Some(Err(status)),
                message = messages.next() => message,
            };
            match message? {
                Ok(message) => Some((Ok(message), Some((messages, lapsed)))),
                Err(status) => Some((Err(status), None)),
            }
        })
        .boxed()
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("id", &self.0.id)
            .field("peer", &self.0.peer)
            .finish_non_exhaustive()
    }
}
