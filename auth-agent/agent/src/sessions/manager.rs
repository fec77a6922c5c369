//! All sessions of this node: at most one with each peer.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use signet_handshake::{Credentials, Proof};
use signet_proto::agent::v1::SessionEntry;
use signet_session::{Dialer, Keep, NodeNumber, keep};
use signet_spiffe::SpiffeId;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::timeout;

use super::boots::Boots;
use super::connection;
use super::context::Context;
use super::dialer;
use super::establish::Fresh;
use super::handle::{Command, SessionHandle, TransportEvent};
use crate::leases::Leases;
use crate::pairs::{Pairs, ProveError};
use crate::tasks;
use crate::view::Node;

/// For a session that is asked for and not there.
const OPEN: Duration = Duration::from_secs(8);
/// Transport messages that wait.
pub(crate) const TRANSPORT: usize = 1024;

/// How a session with one peer stands.
#[derive(Clone, Debug)]
pub(super) enum State {
    /// Nobody needs it.
    Idle,
    /// Being dialed.
    Connecting,
    /// There.
    Up(SessionHandle),
    /// The last attempt failed; the next one comes in a moment.
    Backoff(Arc<str>),
}

/// One peer node.
pub(super) struct Peer {
    pub(super) number: NodeNumber,
    pub(super) state: watch::Sender<State>,
    pub(super) demand: Notify,
    last_error: Mutex<String>,
}

impl Peer {
    pub(super) fn note(&self, error: &str) {
        error.clone_into(&mut lock(&self.last_error));
    }
}

/// All sessions of this node.
pub struct Sessions {
    pub(super) context: Context,
    pairs: Pairs,
    transport: mpsc::Sender<TransportEvent>,
    peers: Mutex<HashMap<NodeNumber, Arc<Peer>>>,
    generation: AtomicU64,
    /// Whether a session with every node is wanted, not only on demand.
    pub(super) keep_all: AtomicBool,
    /// Nodes with which a session is to be there all the time, so that they renew their leases.
    kept: Mutex<BTreeSet<NodeNumber>>,
    boots: Boots,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions")
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}

impl Sessions {
    /// No sessions yet, and what the transport receives by.
    pub fn new(context: Context, pairs: Pairs) -> (Arc<Self>, mpsc::Receiver<TransportEvent>) {
        let (transport, events) = mpsc::channel(TRANSPORT);
        let sessions = Self {
            context,
            pairs,
            transport,
            peers: Mutex::default(),
            generation: AtomicU64::new(0),
            keep_all: AtomicBool::new(false),
            kept: Mutex::default(),
            boots: Boots::default(),
        };
        (Arc::new(sessions), events)
    }

    /// This node's own SPIFFE ID.
    pub fn own_id(&self) -> SpiffeId {
        self.context.node_id(&self.context.name)
    }

    /// Runs a pair handshake with a workload on another node; opens the session if need be.
    pub async fn prove(
        self: &Arc<Self>,
        node: &Node,
        local: Arc<Credentials>,
        remote: SpiffeId,
    ) -> Result<Proof, ProveError> {
        let session = self.session(node).await?;
        let (reply, outcome) = oneshot::channel();
        if !session.command(Command::Prove { local, remote, reply }) {
            return Err(if session.commands.is_closed() {
                ProveError::SessionLost
            } else {
                ProveError::Busy
            });
        }
        outcome.await.map_err(|_| ProveError::SessionLost)?
    }

    /// The session with a node, opened if it is not there.
    pub async fn session(self: &Arc<Self>, node: &Node) -> Result<SessionHandle, ProveError> {
        let none = |reason: &str| ProveError::NoSession {
            node: node.name.to_string(),
            reason: reason.to_owned(),
        };
        let peer = self.peer(node.number);
        let mut states = peer.state.subscribe();
        let waiting = async {
            loop {
                match &*states.borrow_and_update() {
                    State::Up(session) => return Ok(session.clone()),
                    State::Backoff(reason) => return Err(none(reason)),
                    State::Idle => peer.demand.notify_one(),
                    State::Connecting => {}
                }
                if states.changed().await.is_err() {
                    return Err(none("the node has gone"));
                }
            }
        };
        timeout(OPEN, waiting)
            .await
            .unwrap_or_else(|_| Err(none("no session in time")))
    }

    /// From now on: a session with every node of the view, or on demand alone.
    pub fn keep_all(self: &Arc<Self>, all: bool) {
        self.keep_all.store(all, Relaxed);
        if !all {
            return;
        }
        let Ok(view) = self.context.view() else { return };
        for node in view.nodes().filter(|node| node.name != self.context.name) {
            self.peer(node.number).demand.notify_one();
        }
    }

    /// What nodes say of their addresses.
    pub fn leases(&self) -> &Leases {
        &self.context.leases
    }

    /// From now on: a session with these nodes, dialed again when it is lost. Whoever is not among them keeps the one that is
    /// there.
    pub fn keep_with(self: &Arc<Self>, nodes: BTreeSet<NodeNumber>) {
        let Ok(view) = self.context.view() else { return };
        for node in &nodes {
            if view.node_by_number(*node).is_some() {
                self.revive(*node);
            }
        }
        *lock(&self.kept) = nodes;
    }

    /// Asks for a session with the node if there is none.
    pub fn revive(self: &Arc<Self>, node: NodeNumber) {
        let peer = self.peer(node);
        let is_idle = matches!(*peer.state.borrow(), State::Idle);
        if is_idle {
            peer.demand.notify_one();
        }
    }

    /// Whether the session with the node is wanted whoever asks.
    pub(super) fn keeps(&self, node: NodeNumber) -> bool {
        self.keep_all.load(Relaxed) || lock(&self.kept).contains(&node)
    }

    /// Takes in a session that has just been opened, from either side. One of two lives on.
    pub(super) fn install(self: &Arc<Self>, fresh: Fresh) {
        let Some(own) = self.context.knowledge.own() else {
            return;
        };
        let peer = self.peer(fresh.peer.number);
        let generation = self.generation.fetch_add(1, Relaxed) + 1;
        let (handle, run) = connection::start(
            fresh,
            &self.context,
            own,
            generation,
            self.pairs.clone(),
            self.transport.clone(),
        );
        let mut replaced = None;
        let taken = peer.state.send_if_modified(|state| {
            if let State::Up(existing) = state {
                match keep(own, peer.number, existing.contender(), handle.contender()) {
                    Keep::Existing => return false,
                    Keep::New => replaced = Some(existing.clone()),
                }
            }
            *state = State::Up(handle.clone());
            true
        });
        if !taken {
            return;
        }
        if let Some(replaced) = replaced {
            replaced.cancel.cancel();
        }
        tracing::info!(
            peer.node = %handle.node.name, peer.address = %handle.address, session.dialed = handle.dialer == Dialer::Us,
            session.key_exchange = handle.key_exchange, "node session up"
        );
        // Before the session's first word.
        let rebooted = self.boots.meet(peer.number, handle.instance.boot());
        if rebooted {
            self.context.leases.rebooted((peer.number, generation));
        }
        // What was revoked before it was up nobody else ends.
        handle.end_if_revoked(self.context.bundles.bundles().revocations());
        let sessions = self.clone();
        tokio::spawn(async move {
            if rebooted {
                sessions.pairs.rebooted(peer.number).await;
            }
            // The transport ends with the process only.
            let _ = sessions.transport.send(TransportEvent::Up(handle.clone())).await;
            let ended = tasks::run(run).await;
            let reason = ended.map_or_else(|fault| fault.to_string(), |ended| ended.to_string());
            sessions.ended(&peer, &handle, &reason).await;
        });
    }

    async fn ended(self: &Arc<Self>, peer: &Arc<Peer>, handle: &SessionHandle, reason: &str) {
        let reason = handle.verdict.get().map_or(reason, String::as_str);
        tracing::info!(peer.node = %handle.node.name, reason, "node session down");
        peer.note(reason);
        let is_current = |state: &State| matches!(state, State::Up(up) if up.generation == handle.generation);
        peer.state.send_if_modified(|state| {
            let current = is_current(state);
            if current {
                *state = State::Idle;
            }
            current
        });
        let (node, generation) = (peer.number, handle.generation);
        let _ = self
            .transport
            .send(TransportEvent::Down { node, generation })
            .await;
        if self.keeps(peer.number) {
            peer.demand.notify_one();
        }
    }

    /// Ends sessions whose SVIDs are revoked, whenever more is. Runs until the view's owner has gone.
    pub async fn end_revoked(self: Arc<Self>) {
        let mut view = self.context.knowledge.view.clone();
        while view.changed().await.is_ok() {
            let Some(view) = view.borrow_and_update().clone() else {
                continue;
            };
            for peer in lock(&self.peers).values() {
                if let State::Up(session) = &*peer.state.borrow() {
                    session.end_if_revoked(view.revocations().set());
                }
            }
        }
    }

    /// The peer with this number; its dialer starts with the first who asks.
    fn peer(self: &Arc<Self>, number: NodeNumber) -> Arc<Peer> {
        let mut peers = lock(&self.peers);
        let peer = peers.entry(number).or_insert_with(|| {
            let peer = Arc::new(Peer {
                number,
                state: watch::Sender::new(State::Idle),
                demand: Notify::new(),
                last_error: Mutex::default(),
            });
            tokio::spawn(dialer::run(self.clone(), peer.clone()));
            peer
        });
        peer.clone()
    }

    /// Forgets a peer that has left the view; its session ends.
    pub(super) fn forget(&self, peer: &Peer) {
        lock(&self.peers).remove(&peer.number);
        if let State::Up(session) = &*peer.state.borrow() {
            session.cancel.cancel();
        }
    }

    /// Whether there is a session with the node.
    pub fn is_up(&self, node: NodeNumber) -> bool {
        let peers = lock(&self.peers);
        let peer = peers.get(&node);
        peer.is_some_and(|peer| matches!(*peer.state.borrow(), State::Up(_)))
    }

    /// How many sessions are up.
    pub fn count(&self) -> usize {
        lock(&self.peers)
            .values()
            .filter(|peer| matches!(*peer.state.borrow(), State::Up(_)))
            .count()
    }

    /// All peers that were ever asked for, by number.
    pub fn report(&self) -> Vec<SessionEntry> {
        let view = self.context.view().ok();
        let mut entries: Vec<_> = lock(&self.peers)
            .values()
            .map(|peer| {
                let node = view.as_ref().and_then(|view| view.node_by_number(peer.number));
                let mut entry = SessionEntry {
                    node: node.map(|node| node.name.to_string()).unwrap_or_default(),
                    node_id: peer.number.get(),
                    address: node
                        .and_then(|node| node.dial())
                        .map(|a| a.to_string())
                        .unwrap_or_default(),
                    last_error: lock(&peer.last_error).clone(),
                    ..SessionEntry::default()
                };
                match &*peer.state.borrow() {
                    State::Idle => "idle".clone_into(&mut entry.state),
                    State::Connecting => "connecting".clone_into(&mut entry.state),
                    State::Backoff(_) => "backoff".clone_into(&mut entry.state),
                    State::Up(session) => {
                        "up".clone_into(&mut entry.state);
                        entry.address = session.address.to_string();
                        entry.dialed = session.dialer == Dialer::Us;
                        entry.since = session.since;
                        entry.key_exchange.clone_from(&session.key_exchange);
                        entry.messages_sent = session.traffic.sent.load(Relaxed);
                        entry.messages_received = session.traffic.received.load(Relaxed);
                    }
                }
                entry
            })
            .collect();
        entries.sort_by_key(|entry| entry.node_id);
        entries
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
