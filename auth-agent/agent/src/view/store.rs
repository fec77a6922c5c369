//! The current view and its fan-out: to this process as a state, to other daemons as a snapshot and then changes.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use signet_proto::view::v1::Update;
use signet_spiffe::{BundleSet, NodeName, TrustDomain};
use signet_tls::BundleSource;
use tokio::sync::{broadcast, mpsc, watch};

use super::error::ViewError;
use super::kept::KeptFile;
use super::revoked::RevocationTable;
use super::state::View;
use crate::clock::unix_now;

/// Changes that a slow watcher may fall behind before it gets a new snapshot instead.
const BACKLOG: usize = 256;

/// What has to go before numbers of identities may mean others than they did.
pub trait Forget: Debug + Send + Sync {
    /// Destroys it, for this reason.
    fn forget(&self, why: &str);
}

/// Holds the current view.
#[derive(Debug)]
pub struct ViewStore {
    own: NodeName,
    trust_domain: TrustDomain,
    /// What is trusted before the first view has come: the bundle that the agent was started with.
    initial: Arc<BundleSet>,
    /// What is revoked, also before the first view.
    revocations: watch::Sender<Arc<RevocationTable>>,
    kept: Option<KeptFile>,
    unfinished: bool,
    forget: Option<Arc<dyn Forget>>,
    current: watch::Sender<Option<Arc<View>>>,
    changes: broadcast::Sender<Arc<Update>>,
    writing: Mutex<()>,
}

impl ViewStore {
    /// An empty store.
    pub fn new(own: NodeName, trust_domain: TrustDomain, initial: BundleSet) -> Self {
        Self {
            own,
            trust_domain,
            initial: Arc::new(initial),
            revocations: watch::Sender::new(Arc::default()),
            kept: None,
            unfinished: false,
            forget: None,
            current: watch::Sender::new(None),
            changes: broadcast::Sender::new(BACKLOG),
            writing: Mutex::new(()),
        }
    }

    /// Keeps revocations in this file, and begins with those that are in it.
    #[must_use]
    pub fn keeping(mut self, file: KeptFile) -> Self {
        let kept = file.load(&self.trust_domain);
        self.unfinished = kept.unfinished;
        self.revocations.send_replace(Arc::new(kept.table));
        self.kept = Some(file);
        self
    }

    /// Has this destroyed whenever numbers of identities may mean others than they did.
    #[must_use]
    pub fn forgetting(mut self, what: Arc<dyn Forget>) -> Self {
        self.forget = Some(what);
        self
    }

    /// The view of the agent's life before, from [`View::whole`], with what is revoked since. It is not in use before
    /// [`Self::begin_with`].
    ///
    /// # Errors
    /// It cannot be read.
    pub fn earlier(&self, whole: &Update) -> Result<View, ViewError> {
        let known = self.revocations();
        let merged = known.merged(&self.trust_domain, &whole.revocations, false, unix_now());
        let revocations = if merged == *known { known } else { Arc::new(merged) };
        View::from_snapshot(&self.own, &self.trust_domain, &revocations, whole)
    }

    /// Begins with the view of the life before, if there is one. One that has come from the CA meanwhile counts more.
    pub fn begin_with(&self, earlier: Option<View>) {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(view) = earlier.filter(|_| self.current.borrow().is_none()) else {
            return;
        };
        let table = view.revocations();
        if **table != **self.revocations.borrow() {
            self.keep(table, false);
            self.revocations.send_replace(table.clone());
        }
        let view = Arc::new(view);
        self.current.send_replace(Some(view.clone()));
        // Nobody may be watching.
        let _ = self.changes.send(Arc::new(view.snapshot()));
    }

    /// Whether an earlier run may have left proofs that rest on something revoked.
    pub fn has_unfinished_revocations(&self) -> bool {
        self.unfinished
    }

    /// What is revoked, as far as this node knows; also before there is a view.
    pub fn revocations(&self) -> Arc<RevocationTable> {
        self.revocations.borrow().clone()
    }

    /// Notes that no proof is left which rests on what is in this table.
    pub fn settled(&self, table: &Arc<RevocationTable>) {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&self.revocations.borrow(), table) {
            self.keep(table, true);
        }
    }

    /// Applies an update whole, or not at all; but revocations in any case: a fault elsewhere in the update must not keep
    /// anything valid.
    pub fn apply(&self, mut update: Update) -> Result<(), ViewError> {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.current();
        let is_old =
            |view: &Arc<View>| !update.snapshot && !update.reset && update.revision <= view.revision();
        if before.as_ref().is_some_and(is_old) {
            return Ok(());
        }
        let revocations = self.learn(&update);
        let view = match &before {
            Some(view) => view.apply(&update),
            None => View::from_snapshot(&self.own, &self.trust_domain, &revocations, &update),
        };
        let view = match view {
            Ok(view) => view.with_revocations(revocations.clone()),
            Err(error) => {
                if let Some(before) = before {
                    let view = View::clone(&before).with_revocations(revocations);
                    self.current.send_replace(Some(Arc::new(view)));
                }
                return Err(error);
            }
        };
        // Twice: what is gathered in between may still be of the view before.
        self.forget(&update);
        self.current.send_replace(Some(Arc::new(view)));
        self.forget(&update);
        update.registrations.clear();
        update.removed_registrations.clear();
        // For workloads, which none of them serves.
        update.foreign_bundles.clear();
        update.removed_foreign_bundles.clear();
        // Between the CA and the agent: proofs are the agent's.
        update.mark.clear();
        update.reset = false;
        update.revocations = if update.snapshot {
            revocations.standing()
        } else {
            revocations.standing_after(&update.revocations)
        };
        // Nobody may be watching.
        let _ = self.changes.send(Arc::new(update));
        Ok(())
    }

    fn forget(&self, update: &Update) {
        if let Some(kept) = self.forget.as_ref().filter(|_| update.reset) {
            kept.forget("numbers of identities may mean others than before");
        }
    }

    /// Takes revocations in: written down first, so that no restart forgets what was in force.
    fn learn(&self, update: &Update) -> Arc<RevocationTable> {
        let known = self.revocations();
        let merged = known.merged(
            &self.trust_domain,
            &update.revocations,
            update.snapshot,
            unix_now(),
        );
        if merged == *known && !update.snapshot {
            return known;
        }
        let changed = merged != *known;
        let merged = Arc::new(merged);
        if changed {
            self.keep(&merged, false);
        }
        self.revocations.send_replace(merged.clone());
        if changed && let Some(reason) = merged.set().unreadable() {
            tracing::error!(reason, "everything counts as revoked");
        }
        merged
    }

    fn keep(&self, table: &RevocationTable, applied: bool) {
        let Some(file) = &self.kept else { return };
        if let Err(error) = file.save(table, applied) {
            // In force they are all the same.
            tracing::error!(%error, "revocations could not be written down; a restart without the CA would not know them");
        }
    }

    /// The current view, if there is one yet.
    pub fn current(&self) -> Option<Arc<View>> {
        self.current.borrow().clone()
    }

    /// The view as a state that changes.
    pub fn subscribe(&self) -> watch::Receiver<Option<Arc<View>>> {
        self.current.subscribe()
    }

    /// Feeds a daemon: a snapshot, then changes, and a snapshot again whenever it was too slow. Ends when it has gone.
    pub async fn feed<E>(&self, to: mpsc::Sender<Result<Update, E>>) {
        loop {
            // Subscribed before the snapshot is taken, so that nothing can fall between the two.
            let mut changes = self.changes.subscribe();
            let mut states = self.subscribe();
            let view = tokio::select! {
                view = states.wait_for(Option::is_some) => match view {
                    Ok(view) => view.clone(),
                    Err(_) => return,
                },
                () = to.closed() => return,
            };
            let Some(view) = view else { return };
            if to.send(Ok(view.snapshot())).await.is_err() {
                return;
            }
            loop {
                let change = tokio::select! {
                    change = changes.recv() => change,
                    () = to.closed() => return,
                };
                match change {
                    Ok(change) if !change.snapshot && change.revision <= view.revision() => {}
                    Ok(change) => {
                        if to.send(Ok(Update::clone(&change))).await.is_err() {
                            return;
                        }
                    }
                    Err(broadcast::error::RecvError::Lagged(_)) => break,
                    Err(broadcast::error::RecvError::Closed) => return,
                }
            }
        }
    }
}

/// What the CA is verified against, and what this node shows it. A revocation that cannot be read closes everything but this:
/// the CA alone can tell what it means.
#[derive(Clone, Debug)]
pub struct TowardsCa(pub Arc<ViewStore>);

impl BundleSource for TowardsCa {
    fn bundles(&self) -> Arc<BundleSet> {
        let (bundles, table) = match &*self.0.current.borrow() {
            Some(view) => (view.published_bundles().clone(), view.revocations().clone()),
            None => (self.0.initial.clone(), self.0.revocations()),
        };
        Arc::new(BundleSet::clone(&bundles).with_revocations(table.readable().clone()))
    }
}

impl BundleSource for ViewStore {
    fn bundles(&self) -> Arc<BundleSet> {
        if let Some(view) = &*self.current.borrow() {
            return view.bundles().clone();
        }
        let initial = BundleSet::clone(&self.initial);
        Arc::new(initial.with_revocations(self.revocations().set().clone()))
    }
}

#[cfg(test)]
mod tests {
    use signet_proto::view::v1::Revocation;
    use signet_proto::view::v1::revocation::Subject;

    use super::*;

    fn revoked(serial: u8) -> Revocation {
        Revocation {
            id: format!("serial:{serial:02x}"),
            subject: Some(Subject::Serial(vec![serial])),
            until: i64::MAX,
            version: 1,
            ..Revocation::default()
        }
    }

    #[test]
    fn only_who_has_judged_by_the_last_revocations_settles_them() {
        let directory = tempfile::tempdir().expect("a directory");
        let domain = TrustDomain::parse("t.example").expect("valid");
        let own = NodeName::parse("n1").expect("valid");
        let file = || KeptFile::new(directory.path());
        let store = ViewStore::new(own, domain.clone(), BundleSet::default()).keeping(file());
        let learn = |serial| {
            let update = Update {
                revocations: vec![revoked(serial)],
                ..Update::default()
            };
            // There is no view that it could change; what it revokes counts all the same.
            store.apply(update).expect_err("no snapshot");
            store.revocations()
        };
        let first = learn(1);
        let second = learn(2);
        let unfinished = || file().load(&domain).unfinished;
        store.settled(&first);
        assert!(unfinished(), "another one has come since");
        store.settled(&second);
        assert!(!unfinished());
        learn(3);
        assert!(unfinished());
    }
}
