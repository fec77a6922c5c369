//! Takes what sessions hear of other nodes' addresses, and writes what is believed of it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use signet_abi::{LeaseEndKey, LeaseKey, NodeId, SecurityIdentity};
use signet_lease::{Book, BookError, Effects, News, Table, Write};
use signet_maps::boottime_now;
use signet_proto::agent::v1::AuthEvent;
use signet_session::{Digest, Group, NodeNumber};
use tokio::sync::watch;

use super::store::{LeaseStore, LeaseStoreError};
use crate::pairs::to_unix;
use crate::status::Status;
use crate::view::View;

/// What other nodes say of their addresses, and what this node says of its own. Clones share it.
#[derive(Clone)]
pub struct Leases(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    view: watch::Receiver<Option<Arc<View>>>,
    /// What this node says; nothing before signet-meshd has told.
    own: watch::Sender<Option<Arc<Table>>>,
    /// Goes up when a lease comes or is renewed.
    changed: watch::Sender<u64>,
    status: Arc<Status>,
    grants: AtomicU64,
    lapses: AtomicU64,
    refusals: AtomicU64,
}

pub(super) struct State {
    pub(super) book: Book,
    store: Box<dyn LeaseStore>,
    /// What an earlier run has left was looked at.
    adopted: bool,
    /// What numbers of identities mean; leases of another numbering are void.
    numbering: u64,
    /// Something could not be written: the maps have to be compared. Until then no node's word counts longer.
    dirty: bool,
}

/// What happened since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) grants: u64,
    pub(super) lapses: u64,
    pub(super) refusals: u64,
}

impl fmt::Debug for Leases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leases").finish_non_exhaustive()
    }
}

impl Leases {
    /// Nothing was heard yet. What `store` has of an earlier run is looked at with the first view.
    pub fn new(
        view: watch::Receiver<Option<Arc<View>>>,
        store: impl LeaseStore,
        status: Arc<Status>,
    ) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                book: Book::default(),
                store: Box::new(store),
                adopted: false,
                numbering: 0,
                dirty: false,
            }),
            view,
            own: watch::Sender::new(None),
            changed: watch::Sender::new(0),
            status,
            grants: AtomicU64::new(0),
            lapses: AtomicU64::new(0),
            refusals: AtomicU64::new(0),
        }))
    }

    /// Goes up whenever a lease has come or was renewed.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// Whether a lease of the identity on the node is in force in the kernel.
    pub fn covers(&self, node: NodeId, identity: SecurityIdentity) -> bool {
        self.lock().book.covers(node, identity, boottime_now())
    }

    /// A session with the node is up: older ones speak for it no more.
    pub(crate) fn open(&self, node: NodeNumber, generation: u64) {
        let (mut state, _) = self.ready();
        state.book.open(node, generation);
    }

    /// A session with the node is up, and its kernel is another one than before.
    pub(crate) fn rebooted(&self, session: (NodeNumber, u64)) {
        let (mut state, view) = self.ready();
        // There is no session without a view.
        let Some(view) = view else { return };
        let effects = state.book.rebooted(session, &*view, boottime_now());
        self.apply(&mut state, effects);
    }

    /// Of what the node said last.
    pub(crate) fn digest(&self, node: NodeNumber) -> Option<Digest> {
        self.lock().book.digest(node)
    }

    /// The node says what all its addresses are.
    pub(crate) fn table(&self, from: (NodeNumber, u64), groups: Vec<Group>) -> Result<(), BookError> {
        self.tell(|book, view, now| book.table(from, groups, view, now))
    }

    /// The node says what has changed of them.
    pub(crate) fn change(
        &self,
        from: (NodeNumber, u64),
        withdrawn: &[IpAddr],
        added: Vec<Group>,
    ) -> Result<(), BookError> {
        self.tell(|book, view, now| book.change(from, withdrawn, added, view, now))
    }

    /// The node lets what it said be believed until then, boot clock, ns.
    pub(crate) fn grant(&self, from: (NodeNumber, u64), not_after: u64) -> Result<(), BookError> {
        self.0.grants.fetch_add(1, Relaxed);
        let is_renewal = self.0.status.feed.is_watched() && self.is_live(from.0);
        let told = self.tell(|book, view, now| book.grant(from, not_after, view, now));
        if !is_renewal && told.is_ok() && self.is_live(from.0) {
            self.feed("lease-granted", from.0, not_after);
        }
        told
    }

    /// Whether what the node says counts now.
    fn is_live(&self, node: NodeNumber) -> bool {
        let key = LeaseEndKey(NodeId(node.get()));
        let now = boottime_now();
        let state = self.lock();
        let mut ends = state.book.ends();
        ends.any(|(its, not_after)| its == key && not_after > now)
    }

    /// Tells those who watch.
    fn feed(&self, kind: &str, node: NodeNumber, not_after: u64) {
        self.0.status.feed.tell(|| {
            let view = self.view();
            let name = view.as_ref().and_then(|view| view.node_by_number(node));
            AuthEvent {
                kind: kind.to_owned(),
                node: name.map(|node| node.name.to_string()).unwrap_or_default(),
                node_id: node.get(),
                not_after: to_unix(not_after),
                ..AuthEvent::default()
            }
        });
    }

    fn tell(
        &self,
        what: impl FnOnce(&mut Book, &View, u64) -> Result<Effects, BookError>,
    ) -> Result<(), BookError> {
        let (mut state, view) = self.ready();
        // There is no session without a view.
        let Some(view) = view else { return Ok(()) };
        let effects = what(&mut state.book, &view, boottime_now())?;
        self.apply(&mut state, effects);
        drop(state);
        self.0.changed.send_modify(|count| *count += 1);
        Ok(())
    }

    /// What this node says of its own addresses.
    pub(crate) fn own(&self) -> watch::Receiver<Option<Arc<Table>>> {
        self.0.own.subscribe()
    }

    /// What this node says from now on.
    pub(super) fn set_own(&self, table: Table) {
        let addresses = table.iter().map(|(address, _)| *address).collect();
        let (mut state, view) = self.ready();
        if let Some(view) = view {
            let effects = state.book.own(addresses, &*view, boottime_now());
            self.apply(&mut state, effects);
        }
        drop(state);
        self.0.own.send_if_modified(|own| {
            let changed = own.as_ref().is_none_or(|own| **own != table);
            if changed {
                *own = Some(Arc::new(table));
            }
            changed
        });
    }

    /// The view has changed: everything is judged by it.
    pub(super) fn review(&self) {
        let (mut state, view) = self.ready();
        let Some(view) = view else { return };
        let effects = state.book.review(&*view, boottime_now());
        self.apply(&mut state, effects);
    }

    /// Time has passed. `compare`: also what the maps have with what they should have.
    pub(super) fn tick(&self, compare: bool) {
        let (mut state, view) = self.ready();
        let Some(view) = view else { return };
        let now = boottime_now();
        let effects = state.book.tick(&*view, now);
        self.apply(&mut state, effects);
        if state.store.was_replaced() || state.dirty || compare {
            self.reconcile(&mut state);
            let effects = state.book.retry(&*view, now);
            self.apply(&mut state, effects);
        }
    }

    pub(super) fn status(&self) -> Arc<Status> {
        Arc::clone(&self.0.status)
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            grants: self.0.grants.load(Relaxed),
            lapses: self.0.lapses.load(Relaxed),
            refusals: self.0.refusals.load(Relaxed),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Each use leaves it whole.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn view(&self) -> Option<Arc<View>> {
        self.0.view.borrow().clone()
    }

    /// The state, as an earlier run has left it and as numbers are meant now, and the view.
    fn ready(&self) -> (MutexGuard<'_, State>, Option<Arc<View>>) {
        let mut state = self.lock();
        let view = self.view();
        if let Some(view) = &view {
            if state.numbering != view.numbering() {
                state.numbering = view.numbering();
                let effects = state.book.clear();
                self.apply(&mut state, effects);
                // Nothing that is in the maps is taken over any more.
                state.adopted = true;
                self.reconcile(&mut state);
            }
            if !state.adopted {
                self.adopt(&mut state, view);
            }
        }
        (state, view)
    }

    fn adopt(&self, state: &mut State, view: &View) {
        match state.store.entries() {
            Ok((leases, ends)) => {
                tracing::info!(
                    leases = leases.len(),
                    nodes = ends.len(),
                    "took over the kernel's leases"
                );
                let effects = state.book.adopt(&leases, &ends, view, boottime_now());
                self.apply(state, effects);
                state.adopted = true;
            }
            // There was no earlier run.
            Err(error) if error.is_missing() => state.adopted = true,
            Err(error) => self.fail(&error),
        }
    }

    fn apply(&self, state: &mut State, effects: Effects) {
        for write in &effects.writes {
            if state.dirty && matches!(write, Write::Extend(..)) {
                // What should have gone may still be there.
                continue;
            }
            match state.store.write(write) {
                Ok(()) => {}
                // They will be written as soon as they are there.
                Err(error) if error.is_missing() => {}
                Err(error) if error.is_full() => {
                    if let Write::Put(key, _) = write {
                        state.book.unwritten(*key);
                    }
                    self.fail(&error);
                }
                Err(error) => {
                    state.dirty = true;
                    self.fail(&error);
                }
            }
        }
        for news in effects.news {
            self.note(&news);
        }
    }

    /// Makes the maps what they should be.
    fn reconcile(&self, state: &mut State) {
        let (leases, ends) = match state.store.entries() {
            Ok(entries) => entries,
            Err(error) if error.is_missing() => return,
            Err(error) => return self.fail(&error),
        };
        let has: BTreeMap<LeaseKey, _> = leases.into_iter().collect();
        let counts: BTreeMap<LeaseEndKey, u64> =
            ends.into_iter().map(|(key, end)| (key, end.not_after)).collect();
        let wanted: BTreeMap<LeaseKey, _> = state.book.written().collect();
        let wanted_ends: BTreeMap<LeaseEndKey, u64> = state.book.ends().collect();
        let mut writes = Vec::new();
        writes.extend(
            has.keys()
                .filter(|key| !wanted.contains_key(*key))
                .map(|key| Write::Remove(*key)),
        );
        writes.extend(
            counts
                .keys()
                .filter(|key| !wanted_ends.contains_key(*key))
                .map(|key| Write::Silence(*key)),
        );
        let put = wanted.iter().filter(|(key, lease)| has.get(*key) != Some(*lease));
        writes.extend(put.map(|(key, lease)| Write::Put(*key, *lease)));
        let extend = wanted_ends
            .iter()
            .filter(|(key, end)| counts.get(*key) != Some(*end));
        writes.extend(extend.map(|(key, end)| Write::Extend(*key, *end)));
        state.dirty = false;
        let news = Vec::new();
        self.apply(state, Effects { writes, news });
    }

    fn fail(&self, error: &LeaseStoreError) {
        self.0
            .status
            .fail("leases", &anyhow::Error::msg(error.to_string()));
    }

    fn note(&self, news: &News) {
        match news {
            News::Refused { node, address, why } => {
                self.0.refusals.fetch_add(1, Relaxed);
                tracing::debug!(peer.node = node.get(), %address, %why, "a node's lease is not believed");
            }
            News::Conflict { address, nodes } => {
                let nodes: Vec<u32> = nodes.iter().map(|node| node.get()).collect();
                tracing::warn!(
                    %address, ?nodes,
                    "several nodes claim one address: none is believed until one withdraws it, or leaves"
                );
            }
            News::Resolved { address } => {
                tracing::info!(%address, "no more than one node claims the address now");
            }
            News::Lapsed { node } => {
                self.0.lapses.fetch_add(1, Relaxed);
                self.feed("lease-lapsed", *node, boottime_now());
                tracing::warn!(
                    peer.node = node.get(),
                    "a node has not renewed its leases: what has to be proven is refused from and to it"
                );
            }
        }
    }
}
