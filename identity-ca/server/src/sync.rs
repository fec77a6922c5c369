//! Sync: the view as a push stream.
//!
//! Nothing is queued for a node. Its task remembers the revision that it sent last, and when there is room for one more
//! update asks the [`Feed`] for all that came since: a slow node gets fewer and fuller updates, and costs no memory.

mod feed;
mod outgoing;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use signet_proto::ca::v1::SyncRequest;
use signet_proto::view::v1::Update;
use signet_registry::{Announcement, MAX_ADDRESSES, Mark, Position, Revision, Standing};
use signet_spiffe::{NodeName, VerifiedSvid};
use signet_tls::BundleSource;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::{debug, info};

use crate::ca::Ca;
use crate::caller::Caller;
use crate::connected::Following;
use crate::limits::{FAREWELL, UNREAD, UNREAD_AT_ALL};
use crate::refusal;
use crate::stream::Peer;
use crate::wire;

pub(crate) use feed::Feed;
pub(crate) use outgoing::{Updates, WithParts};

use feed::{News, Part, SLOW};
use outgoing::{Outgoing, Taken, Told};

impl Ca {
    /// Takes down where the node can be reached, and begins its stream.
    pub(crate) async fn sync(
        self: &Arc<Self>,
        caller: Caller,
        peer: &Peer,
        request: &SyncRequest,
    ) -> Result<Updates, Status> {
        self.fitness.check()?;
        let node = caller.node().name.clone();
        let announcement = announcement(peer, request)?;
        let mut others = self.connected.nodes();
        others.remove(&node);
        self.registry
            .acting(caller.logged(), self.clock.now())
            .announce(&node, &announcement, &others)
            .await
            .map_err(|error| refusal::announce(&error))?;
        let left = caller
            .svid()
            .not_after()
            .as_secs()
            .saturating_sub(self.clock.now().as_secs());
        let (sender, updates) = mpsc::channel(1);
        let taken = Taken::default();
        let follower = Follower {
            ca: Arc::clone(self),
            following: self.connected.enter(&node),
            revisions: self.feed.watch(),
            sent: Position {
                revision: Revision(request.resume_revision),
                mark: Mark::from_slice(&request.resume_mark),
            },
            whole: request.view_lost,
            end: Instant::now() + Duration::from_secs(left),
            svid: caller.svid().clone(),
            honoured: self.honoured.subscribe(),
            node,
            sender,
            taken: taken.clone(),
        };
        tokio::spawn(follower.run());
        Ok(Updates::new(updates, taken))
    }
}

fn announcement(peer: &Peer, request: &SyncRequest) -> Result<Announcement, Status> {
    let parse = |text: &String| {
        text.parse::<IpAddr>()
            .map_err(|_| refusal::invalid(format!("{:?} is no IP address", shorten(text))))
    };
    // One more than may be, so that the count is refused and the rest not read.
    let addresses = request
        .addresses
        .iter()
        .take(MAX_ADDRESSES + 1)
        .map(parse)
        .collect::<Result<_, _>>()?;
    let session_port = u16::try_from(request.session_port)
        .map_err(|_| refusal::invalid(format!("{} is no port", request.session_port)))?;
    Ok(Announcement {
        seen: peer.address.ip().to_canonical(),
        addresses,
        session_port,
    })
}

fn shorten(text: &str) -> String {
    text.chars().take(64).collect()
}

struct Follower {
    ca: Arc<Ca>,
    node: NodeName,
    following: Following,
    revisions: watch::Receiver<Revision>,
    sent: Position,
    /// The node has lost its view: it gets all of it, whatever it says to have seen.
    whole: bool,
    /// The SVID that opened the stream, and its end.
    svid: VerifiedSvid,
    end: Instant,
    /// Wakes after revocations.
    honoured: watch::Receiver<u64>,
    sender: mpsc::Sender<Told>,
    /// What of it is on its way.
    taken: Taken,
}

/// Room for one more. A node that reads what it has, however slowly, is waited for: cut off, it would have to begin with all of it again.
async fn room<'s, T>(sender: &'s mpsc::Sender<T>, taken: &Taken) -> Result<mpsc::Permit<'s, T>, Status> {
    let begun = Instant::now();
    loop {
        let before = taken.count();
        match timeout(UNREAD, sender.reserve()).await {
            Ok(room) => return room.map_err(|_| Status::cancelled("the node went away")),
            Err(_) if taken.count() != before && begun.elapsed() < UNREAD_AT_ALL => {}
            Err(_) => return Err(Status::deadline_exceeded("the node leaves its updates unread")),
        }
    }
}

impl Follower {
    async fn run(mut self) {
        info!(peer.node = %self.node, view.revision = %self.sent.revision, "a node follows the view");
        let last = self.follow().await;
        debug!(peer.node = %self.node, reason = last.message(), "a node's stream ends");
        // The last update may still wait to be read. Who reads nothing misses nothing.
        let _ = timeout(FAREWELL, self.sender.send(Err(last))).await;
    }

    /// Sends updates until there is a reason to end, which it returns.
    async fn follow(&mut self) -> Status {
        loop {
            // Before the look-up: what is committed after it wakes us again.
            self.revisions.mark_unchanged();
            self.honoured.mark_unchanged();
            // The news first: a node hears of its own revocation before its stream ends for it. In a box that is gone again, as what asks the
            // registry takes many times the room of what waits.
            let sent = match Box::pin(self.send_news()).await {
                Ok(sent) => sent,
                Err(last) => return last,
            };
            if let Err(last) = self.check() {
                return last;
            }
            // It was of a moment ago, and the rest is there already.
            if sent && self.sent.revision < *self.revisions.borrow() {
                continue;
            }
            tokio::select! {
                changed = self.revisions.changed() => if changed.is_err() {
                    return Status::unavailable("the CA is shutting down");
                },
                changed = self.honoured.changed() => if changed.is_err() {
                    return Status::unavailable("the CA is shutting down");
                },
                () = self.ca.shutdown.cancelled() => return Status::unavailable("the CA is shutting down"),
                unfit = self.ca.fitness.lost() => return unfit,
                () = self.following.superseded().cancelled() => {
                    return Status::aborted("a newer stream of this node took over");
                }
                () = self.sender.closed() => return Status::cancelled("the node went away"),
                () = sleep_until(self.end) => {
                    return Status::unauthenticated("the SVID that opened this stream has expired");
                }
            }
        }
    }

    /// Whether the SVID that opened the stream still counts.
    fn check(&self) -> Result<(), Status> {
        let bundles = self.ca.bundles.bundles();
        let checked = bundles.revocations().check(&self.svid);
        checked.map_err(|revoked| Status::permission_denied(revoked.to_string()))
    }

    /// The stream of a node that attested anew is not its own any more.
    async fn check_standing(&self) -> Result<(), Status> {
        match self.ca.registry.stands(&self.node, self.svid.serial()).await {
            Ok(Standing::Good) => Ok(()),
            Ok(Standing::Replaced) => Err(refusal::replaced(&self.node)),
            Err(error) => Err(refusal::storage("sync", &error)),
        }
    }

    /// Sends what there is to tell. Says whether there was anything.
    async fn send_news(&mut self) -> Result<bool, Status> {
        let ca = Arc::clone(&self.ca);
        let news = ca
            .feed
            .news(&ca.registry, || ca.authorities(), self.sent, self.whole)
            .await;
        match news.map_err(|error| refusal::storage("sync", &error))? {
            News::None => Ok(false),
            News::Step(part) => {
                let own = part.own(&self.node);
                self.send(&part, own, None).await
            }
            News::Snapshot(reset) => self.send_snapshot(reset).await,
        }
    }

    async fn send_snapshot(&mut self, reset: bool) -> Result<bool, Status> {
        let ca = Arc::clone(&self.ca);
        let place = ca.feed.room().await;
        let storage = |error| refusal::storage("sync", &error);
        let part = ca.feed.snapshot(&ca.registry, || ca.authorities()).await;
        let part = part.map_err(storage)?;
        // Read after the rest: what is newer than it comes once more with the next step.
        let registrations = ca.registry.registrations_of(&self.node).await.map_err(storage)?;
        let own = Update {
            snapshot: true,
            reset,
            self_node: self.node.to_string(),
            registrations: registrations.iter().map(wire::registration).collect(),
            ..Update::default()
        };
        let sent = CancellationToken::new();
        let under_way = sent.clone().drop_guard();
        tokio::spawn(async move {
            let _ = timeout(SLOW, sent.cancelled()).await;
            drop(place);
        });
        self.send(&part, own, Some(under_way)).await
    }

    async fn send(
        &mut self,
        part: &Part,
        own: Update,
        under_way: Option<tokio_util::sync::DropGuard>,
    ) -> Result<bool, Status> {
        if part.nodes.contains(&self.node) {
            self.check_standing().await?;
        }
        let room = tokio::select! {
            room = room(&self.sender, &self.taken) => room?,
            () = self.ca.shutdown.cancelled() => return Err(Status::unavailable("the CA is shutting down")),
            () = self.following.superseded().cancelled() => {
                return Err(Status::aborted("a newer stream of this node took over"));
            }
        };
        let update = Box::new(Outgoing {
            shared: part.shared.clone(),
            own,
            under_way,
        });
        room.send(Ok(update));
        self.whole = false;
        self.sent = part.to;
        self.following.sent(part.to.revision);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use signet_proto::view::v1::EncryptionMode;
    use signet_registry::Encryption;
    use tonic::Code;

    use super::*;
    use crate::testing;

    type Receiver = mpsc::Receiver<Told>;

    /// A node that knows nothing yet, and whose SVID lives for another `life`.
    fn follow(ca: &Arc<Ca>, life: Duration) -> Receiver {
        let (follower, updates) = follower(ca, life);
        tokio::spawn(follower.run());
        updates
    }

    fn follower(ca: &Arc<Ca>, life: Duration) -> (Follower, Receiver) {
        let node = NodeName::parse("n1").unwrap();
        let (sender, updates) = mpsc::channel(1);
        let follower = Follower {
            ca: Arc::clone(ca),
            following: ca.connected.enter(&node),
            revisions: ca.registry.watch(),
            sent: Position::default(),
            whole: false,
            end: Instant::now() + life,
            svid: testing::node_svid(ca),
            honoured: ca.honoured.subscribe(),
            node,
            sender,
            taken: Taken::default(),
        };
        (follower, updates)
    }

    #[tokio::test]
    async fn what_waits_for_a_node_takes_little_room() {
        let ca = testing::ca().await;
        let (follower, _updates) = follower(&ca, Duration::from_hours(1));
        let waiting = size_of_val(&follower.run());
        // Each of thousands of nodes has one of them; it was 16 KiB once.
        assert!(waiting <= 2_048, "a follower takes {waiting} bytes");
        // The channel to the transport begins with 32 of them; it was 560 bytes once.
        assert_eq!(size_of::<Told>(), 16);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_reads_slowly_is_waited_for_and_one_that_reads_nothing_is_not() {
        let (sender, mut updates) = mpsc::channel(1);
        sender.try_send(()).unwrap();
        let taken = Taken::default();
        // For so long one piece after another goes out, and then nothing.
        let reads = |pieces: u32| {
            let taken = taken.clone();
            tokio::spawn(async move {
                for _ in 0..pieces {
                    tokio::time::sleep(UNREAD.saturating_sub(Duration::from_secs(1))).await;
                    taken.one_more();
                }
            })
        };
        for (pieces, most) in [(0, UNREAD), (4, UNREAD * 6), (1_000, UNREAD_AT_ALL + UNREAD)] {
            let (reading, begun) = (reads(pieces), Instant::now());
            let refused = room(&sender, &taken).await.unwrap_err();
            assert_eq!(refused.code(), Code::DeadlineExceeded);
            let waited = begun.elapsed();
            assert!(
                waited >= UNREAD * pieces.min(4) && waited <= most,
                "{pieces}: {waited:?}"
            );
            reading.abort();
        }
        let reading = reads(4);
        let (room, ()) = tokio::join!(room(&sender, &taken), async {
            tokio::time::sleep(UNREAD * 3).await;
            updates.recv().await.unwrap();
        });
        room.unwrap().send(());
        reading.abort();
        updates.close();
        let _ = updates.recv().await;
        let gone = super::room(&sender, &taken).await.map(drop).unwrap_err();
        assert_eq!(gone.code(), Code::Cancelled);
    }

    #[tokio::test]
    async fn a_node_that_does_not_read_gets_few_full_updates_instead_of_a_queue() {
        let ca = testing::ca().await;
        let mut updates = follow(&ca, Duration::from_hours(1));
        for _ in 0..50 {
            ca.registry.set_encryption(Encryption::Off).await.unwrap();
            ca.registry.set_encryption(Encryption::WireGuard).await.unwrap();
        }
        let latest = *ca.registry.watch().borrow();
        let mut count = 0;
        loop {
            let update = updates.recv().await.unwrap().unwrap().update().unwrap();
            count += 1;
            if update.revision == latest.0 {
                assert_eq!(update.cluster.unwrap().encryption(), EncryptionMode::Wireguard);
                break;
            }
        }
        // The first snapshot, one that waited for room, and all the rest in one.
        assert!(
            count <= 3,
            "{count} updates were kept for a node that did not read"
        );
    }

    #[tokio::test]
    async fn a_stream_ends_with_the_svid_that_opened_it() {
        let ca = testing::ca().await;
        let mut updates = follow(&ca, Duration::ZERO);
        assert!(updates.recv().await.unwrap().unwrap().own.snapshot);
        assert_eq!(
            updates.recv().await.unwrap().map(drop).unwrap_err().code(),
            Code::Unauthenticated
        );
        assert!(updates.recv().await.is_none());
        assert!(
            ca.connected.nodes().is_empty(),
            "the node still counts as connected"
        );
    }
}
