//! The current view and its fan-out: to this process as a state, to other daemons as a snapshot and then changes.

use std::sync::{Arc, Mutex, PoisonError};

use signet_proto::view::v1::Update;
use signet_spiffe::{BundleSet, NodeName, TrustDomain};
use signet_tls::BundleSource;
use tokio::sync::{broadcast, mpsc, watch};

use super::error::ViewError;
use super::state::View;

/// Changes that a slow watcher may fall behind before it gets a new snapshot instead.
const BACKLOG: usize = 256;

/// Holds the current view.
#[derive(Debug)]
pub struct ViewStore {
    own: NodeName,
    trust_domain: TrustDomain,
    /// What is trusted before the first view has come: the bundle that the agent was started with.
    initial: Arc<BundleSet>,
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
            current: watch::Sender::new(None),
            changes: broadcast::Sender::new(BACKLOG),
            writing: Mutex::new(()),
        }
    }

    /// Applies an update whole, or not at all.
    pub fn apply(&self, mut update: Update) -> Result<(), ViewError> {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.current();
        let view = match &before {
            Some(view) if !update.snapshot && update.revision <= view.revision() => return Ok(()),
            Some(view) => view.apply(&update)?,
            None => View::from_snapshot(&self.own, &self.trust_domain, &update)?,
        };
        self.current.send_replace(Some(Arc::new(view)));
        update.registrations.clear();
        update.removed_registrations.clear();
        // Nobody may be watching.
        let _ = self.changes.send(Arc::new(update));
        Ok(())
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

impl BundleSource for ViewStore {
    fn bundles(&self) -> Arc<BundleSet> {
        match &*self.current.borrow() {
            Some(view) => view.bundles().clone(),
            None => self.initial.clone(),
        }
    }
}
