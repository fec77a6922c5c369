use std::io;
use std::pin::Pin;
use std::sync::Arc;

use futures::future::ready;
use futures::stream::{once, unfold};
use futures::{Stream, StreamExt};
use signet_attest::{AllChanges, Gone, Known, Process};
use signet_spiffe::SpiffeId;
use tokio::sync::watch;
use tonic::Status;

use crate::caller::{Attestations, granted};
use crate::message::{Absent, Profile};
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
    changes: AllChanges,
    stopping: watch::Receiver<()>,
    known: Known,
    /// It was entitled to something before: losing that is a loss, whatever else would be known of it.
    was_granted: bool,
    ended: Ended,
    /// The one identity that the stream is about; none: all of them.
    only: Option<SpiffeId>,
    _place: Place,
}

impl Subscription {
    /// A stream to a process; closed when the sender of `stopping` is dropped.
    pub(crate) fn new(
        process: Process,
        source: &(impl SvidSource + ?Sized),
        attestations: Attestations,
        stopping: watch::Receiver<()>,
        place: Place,
    ) -> Self {
        let watched = process.clone();
        Self {
            process,
            changes: attestations.changes(),
            attestations,
            offers: source.offers(),
            stopping,
            known: Known::nothing_yet(),
            was_granted: false,
            ended: Box::pin(async move { watched.ended().await }),
            only: None,
            _place: place,
        }
    }

    /// The same about one identity, where one is named.
    pub(crate) fn only(mut self, id: Option<SpiffeId>) -> Self {
        self.only = id;
        self
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
        (self.was_granted, self.known.complete) = (true, true);
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
            let told_anew = self.change().await?;
            if !told_anew && self.judge::<P>().is_ok_and(|content| content == *sent) {
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

    /// Waits for a change; true: of what the process may be.
    async fn change(&mut self) -> Result<bool, Status> {
        let changed = tokio::select! {
            biased;
            _ = &mut self.ended => return Err(Status::permission_denied("the process has ended")),
            changed = self.stopping.changed() => changed.map(|()| false).map_err(|_| ()),
            changed = self.changes.changed() => changed.map(|()| true).map_err(|Gone| ()),
            changed = self.offers.changed() => changed.map(|()| false).map_err(|_| ()),
        };
        changed.map_err(|()| Status::unavailable("the agent is stopping"))
    }

    async fn attest(&mut self) -> Result<(), Status> {
        self.known = self.attestations.attest(&self.process).await?;
        self.known.complete |= self.was_granted;
        Ok(())
    }

    fn judge<P: Profile>(&mut self) -> Result<P::Content, Status> {
        let offers = Arc::clone(&self.offers.borrow_and_update());
        let grant = granted(&self.process, &self.known, &offers)?;
        let grant = match &self.only {
            None => grant,
            Some(id) => grant.only(id).ok_or_else(|| not_its_own(id))?,
        };
        P::content(grant).map_err(|absent| match absent {
            Absent::NotYet => Status::unavailable("the SVID has not been issued yet; try again"),
            Absent::TakenBack => Status::permission_denied("no identity issued: what there was is revoked"),
        })
    }
}

/// What a workload is told that asks for an identity of others.
pub(crate) fn not_its_own(id: &SpiffeId) -> Status {
    Status::permission_denied(format!(
        "no identity issued: no registration of this workload is {id}"
    ))
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::process::{Child, Command};

    use signet_uds::PeerInfo;
    use tonic::Code;

    use super::*;
    use crate::message::X509Svids;
    use crate::places::Places;
    use crate::testing::{Authority, FakeAgent, PATIENCE, for_others, for_us};
    use crate::{Limits, Offer};

    fn sleeper() -> Child {
        Command::new("sleep").arg("600").spawn().unwrap()
    }

    fn subscription(child: &Child, agent: &FakeAgent, stopping: watch::Receiver<()>) -> Subscription {
        let (pid, uid) = (child.id().cast_signed(), rustix::process::geteuid().as_raw());
        let gid = rustix::process::getegid().as_raw();
        let peer = PeerInfo {
            pid,
            uid,
            gid,
            pidfd: None,
            pidfd_is_exact: false,
            supplementary: Arc::default(),
        };
        let process = Process::new(pid, uid, gid, None).unwrap();
        let place = Places::new(Limits::default()).take(&peer).unwrap();
        Subscription::new(
            process,
            agent,
            Attestations::new(agent.attestor()),
            stopping,
            place,
        )
    }

    #[tokio::test]
    async fn spiffe_row_74_the_stream_ends_with_the_process_though_the_connection_lives() {
        let agent = FakeAgent::starting();
        let authority = Authority::new("td.test");
        agent.publish(
            vec![Offer::ready(for_us(), authority.svid("/web"))],
            [authority.bundle()],
        );
        let mut child = sleeper();
        let (_serving, stopping) = watch::channel(());
        let stream = subscription(&child, &agent, stopping)
            .open::<X509Svids>()
            .await
            .unwrap();
        let mut stream = pin!(stream);
        assert_eq!(stream.next().await.unwrap().unwrap().svids.len(), 1);
        child.kill().unwrap();
        let end = tokio::time::timeout(PATIENCE, stream.next())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(end.unwrap_err().code(), Code::PermissionDenied);
        assert!(stream.next().await.is_none());
        child.wait().unwrap();
    }

    /// Time stands still while anything runs, so the deadline is reached only when nothing is left to send.
    #[tokio::test(start_paused = true)]
    async fn spiffe_row_43_nothing_is_sent_where_nothing_changed_for_the_workload() {
        let agent = FakeAgent::starting();
        let authority = Authority::new("td.test");
        let ours = Offer::ready(for_us(), authority.svid("/web"));
        agent.publish(vec![ours.clone()], [authority.bundle()]);
        let mut child = sleeper();
        let (_serving, stopping) = watch::channel(());
        let stream = subscription(&child, &agent, stopping)
            .open::<X509Svids>()
            .await
            .unwrap();
        let mut stream = pin!(stream);
        stream.next().await.unwrap().unwrap();

        let theirs = Offer::ready(for_others(), authority.svid("/other"));
        agent.publish(vec![theirs, ours], [authority.bundle()]);
        assert!(
            tokio::time::timeout(PATIENCE, stream.next()).await.is_err(),
            "another's offer"
        );
        agent.endpoints.send_replace(Some(Arc::default()));
        assert!(
            tokio::time::timeout(PATIENCE, stream.next()).await.is_err(),
            "endpoints"
        );
        agent.publish(Vec::new(), [authority.bundle()]);
        assert!(stream.next().await.unwrap().is_err());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// As with a client that does not read: HTTP/2 asks for no message then.
    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_not_read_keeps_no_queue_and_is_then_sent_the_latest_alone() {
        let agent = FakeAgent::starting();
        let authority = Authority::new("td.test");
        let publish = |svid| agent.publish(vec![Offer::ready(for_us(), svid)], [authority.bundle()]);
        let svids: Vec<_> = (0..50).map(|_| authority.svid("/web")).collect();
        publish(svids[0].clone());
        let mut child = sleeper();
        let (_serving, stopping) = watch::channel(());
        let stream = subscription(&child, &agent, stopping)
            .open::<X509Svids>()
            .await
            .unwrap();
        let mut stream = pin!(stream);
        stream.next().await.unwrap().unwrap();
        for svid in &svids {
            publish(svid.clone());
            tokio::task::yield_now().await;
        }
        let latest = stream.next().await.unwrap().unwrap();
        assert_eq!(latest.svids[0].x509_svid, svids[49].chain()[0].as_ref());
        assert!(
            tokio::time::timeout(PATIENCE, stream.next()).await.is_err(),
            "something was queued"
        );
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
