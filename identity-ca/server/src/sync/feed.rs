//! What is the same for all nodes, read from the registry once and encoded once, however many follow.
//!
//! A change costs what changed, times those who hear of it; a snapshot for a thousand nodes at once is read once. Protobuf lets an
//! update be put together from encoded parts: the shared one, then the node's own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use signet_proto::view::v1::{TrustBundle, Update};
use signet_registry::{Changes, NodeChanges, Position, Registry, Revision, Step, Stepped, StorageError};
use signet_spiffe::NodeName;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep};

use crate::authorities::Current;
use crate::limits::{GATHER_PER_NODE, SNAPSHOT_AGE, SNAPSHOTS};
use crate::wire;

/// Steps that are kept for those who are not as far as the others.
const STEPS: usize = 16;

/// A part of an update that is everybody's.
#[derive(Debug)]
pub(super) struct Part {
    /// Where it leads.
    pub(super) to: Position,
    /// The encoded update, without what is of one node.
    pub(super) shared: Bytes,
    /// Nodes that changed.
    pub(super) nodes: BTreeSet<NodeName>,
    /// What is of one node.
    own: BTreeMap<NodeName, NodeChanges>,
}

/// What a follower has to send.
#[derive(Debug)]
pub(super) enum News {
    /// All of it. True: what the node made under earlier numbers is void.
    Snapshot(bool),
    /// What came since.
    Step(Arc<Part>),
    /// Nothing.
    None,
}

/// Reads for all followers.
#[derive(Debug)]
pub(crate) struct Feed {
    /// Wakes followers.
    head: watch::Sender<Revision>,
    kept: Mutex<Kept>,
    snapshots: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Kept {
    snapshot: Option<(Instant, Arc<Part>)>,
    /// With where each begins, newest last.
    steps: VecDeque<(Position, Arc<Part>)>,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            head: watch::Sender::default(),
            kept: Mutex::default(),
            snapshots: Arc::new(Semaphore::new(SNAPSHOTS)),
        }
    }
}

impl Part {
    fn new(changes: &Changes, own: BTreeMap<NodeName, NodeChanges>, bundle: &TrustBundle) -> Self {
        Self {
            to: Position {
                revision: changes.revision,
                mark: changes.mark,
            },
            shared: wire::shared_update(changes, bundle).encode_to_vec().into(),
            nodes: changes.nodes.iter().map(|node| node.name.clone()).collect(),
            own,
        }
    }

    /// What of it is of one node.
    pub(super) fn own(&self, node: &NodeName) -> Update {
        let changes = self.own.get(node);
        changes.map_or_else(Update::default, |changes| Update {
            registrations: changes.registrations.iter().map(wire::registration).collect(),
            removed_registrations: changes.removed.iter().map(ToString::to_string).collect(),
            ..Update::default()
        })
    }
}

impl Feed {
    /// Wakes after changes; the first after a quiet time at once, later ones gathered where many follow.
    pub(super) fn watch(&self) -> watch::Receiver<Revision> {
        self.head.subscribe()
    }

    /// Runs for as long as the registry's revisions come. `followers` tells how many follow.
    pub(crate) async fn run(&self, mut revisions: watch::Receiver<Revision>, followers: impl Fn() -> usize) {
        loop {
            let revision = *revisions.borrow_and_update();
            self.head.send_if_modified(|head| {
                // Lower where the registry was put back: what comes after it is news all the same.
                let other = revision != *head;
                *head = revision;
                other
            });
            let many = u32::try_from(followers()).unwrap_or(u32::MAX);
            sleep(GATHER_PER_NODE.saturating_mul(many)).await;
            if revisions.changed().await.is_err() {
                return;
            }
        }
    }

    /// A place among those whose snapshots are under way: each is long.
    pub(super) async fn room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.snapshots).acquire_owned().await.ok()
    }

    /// What a node has to learn that is at `since`, up to now at least. `whole`: all of it, wherever it is.
    /// `authorities` tells what is published then.
    pub(super) async fn news<A>(
        &self,
        registry: &Registry,
        authorities: impl Fn() -> A,
        since: Position,
        whole: bool,
    ) -> Result<News, StorageError>
    where
        A: Future<Output = Result<Arc<Current>, StorageError>>,
    {
        if whole || since == Position::default() {
            let reset = !registry.is_ours(since).await?;
            return Ok(News::Snapshot(reset));
        }
        // Where others write as well, what they committed has been announced, or is under way to us.
        let least = registry.revision();
        let mut kept = self.kept.lock().await;
        let reaches = |part: &Part| part.to.revision >= least;
        if let Some((_, part)) = kept
            .steps
            .iter()
            .find(|(from, part)| *from == since && reaches(part))
        {
            return Ok(News::Step(Arc::clone(part)));
        }
        match registry.step_after(since).await? {
            Stepped::UpToDate => Ok(News::None),
            Stepped::Step(step) => {
                let Step { shared, own } = *step;
                // After the changes: what is published then is what they speak of, or newer.
                let bundle = published(&shared, authorities).await?;
                let part = Arc::new(Part::new(&shared, own, &bundle));
                kept.steps.retain(|(from, _)| *from != since);
                while kept.steps.len() >= STEPS {
                    kept.steps.pop_front();
                }
                kept.steps.push_back((since, Arc::clone(&part)));
                Ok(News::Step(part))
            }
            Stepped::Unknown => {
                // Perhaps the registry is another one than when these were read.
                *kept = Kept::default();
                Ok(News::Snapshot(true))
            }
        }
    }

    /// A snapshot of now; of a moment ago where many want one at once, who then go on with the step from there.
    pub(super) async fn snapshot<A>(
        &self,
        registry: &Registry,
        authorities: impl Fn() -> A,
    ) -> Result<Arc<Part>, StorageError>
    where
        A: Future<Output = Result<Arc<Current>, StorageError>>,
    {
        let mut kept = self.kept.lock().await;
        let now = Instant::now();
        let crowded = self.snapshots.available_permits() < SNAPSHOTS / 2;
        if let Some((read, part)) = &kept.snapshot
            && (part.to.revision == registry.revision()
                || (crowded && now.duration_since(*read) < SNAPSHOT_AGE))
            && registry.is_ours(part.to).await?
        {
            return Ok(Arc::clone(part));
        }
        let shared = registry.shared_snapshot().await?;
        let bundle = published(&shared, authorities).await?;
        let part = Arc::new(Part::new(&shared, BTreeMap::new(), &bundle));
        kept.snapshot = Some((now, Arc::clone(&part)));
        Ok(part)
    }
}

/// The trust bundle, where these changes tell of it.
async fn published<A>(changes: &Changes, authorities: impl Fn() -> A) -> Result<TrustBundle, StorageError>
where
    A: Future<Output = Result<Arc<Current>, StorageError>>,
{
    if changes.bundle {
        return Ok(authorities().await?.wire.clone());
    }
    Ok(TrustBundle::default())
}

/// How long somebody who reads nothing keeps others from their snapshots.
pub(super) const SLOW: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn followers_hear_of_what_comes_after_a_registry_was_put_back() {
        let feed = Arc::new(Feed::default());
        let mut heard = feed.watch();
        let (registry, revisions) = watch::channel(Revision(1));
        let running = tokio::spawn({
            let feed = Arc::clone(&feed);
            async move { feed.run(revisions, || 100).await }
        });
        for revision in [1, 100, 40, 41, 42, 101].map(Revision) {
            registry.send_replace(revision);
            let told = tokio::time::timeout(Duration::from_secs(5), heard.wait_for(|head| *head == revision));
            told.await.expect("nobody is told").expect("it goes on");
        }
        drop(registry);
        running.await.unwrap();
    }
}
