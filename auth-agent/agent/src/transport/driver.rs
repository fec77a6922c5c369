//! Joins the toggle, the sessions and keyd.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use signet_proto::keyd::v1::InstallPeerRequest;
use signet_session::NodeNumber;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use zeroize::Zeroize as _;

use super::keyd::{Keyd, KeydError, Ours};
use super::peer::{Hold, Keys, Peer, Step};
use crate::clock::{now, random};
use crate::sessions::{Command, SessionHandle, Sessions, TransportEvent};
use crate::status::Status;
use crate::tasks::Tasks;
use crate::view::{Encryption, View};

/// How often keyd is looked at, and what failed is tried again.
const TICK: Duration = Duration::from_millis(500);
/// Steps for one peer in a row; each makes progress, so there are never more.
const STEPS: usize = 8;

/// Drives keyd for as long as the agent runs.
#[derive(Debug)]
pub struct Driver {
    keyd: Keyd,
    sessions: Arc<Sessions>,
    view: watch::Receiver<Option<Arc<View>>>,
    status: Arc<Status>,
    ours: Option<Ours>,
    peers: BTreeMap<NodeNumber, Peer>,
    handles: BTreeMap<NodeNumber, SessionHandle>,
    starts: Tasks<(NodeNumber, Keys), Result<(), KeydError>>,
    /// keyd has been asked what it has since it was last away.
    acquainted: bool,
    /// keyd was told that the cluster wants plaintext, and had no peer.
    is_off: bool,
    /// The last change of mode failed.
    hold: Hold,
}

impl Driver {
    /// A driver that has done nothing yet.
    pub fn new(
        keyd: Keyd,
        sessions: Arc<Sessions>,
        view: watch::Receiver<Option<Arc<View>>>,
        status: Arc<Status>,
    ) -> Self {
        Self {
            keyd,
            sessions,
            view,
            status,
            ours: None,
            peers: BTreeMap::new(),
            handles: BTreeMap::new(),
            starts: Tasks::default(),
            acquainted: false,
            is_off: false,
            hold: Hold::default(),
        }
    }

    /// Runs until the view's owner or the sessions have gone.
    pub async fn run(mut self, mut events: mpsc::Receiver<TransportEvent>) {
        let mut tick = interval_at(Instant::now(), TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.on_event(event),
                    None => return,
                },
                Some(((node, keys), started)) = self.starts.next(), if !self.starts.is_empty() => {
                    self.on_started(node, keys, started.unwrap_or_else(|fault| Err(fault.into())));
                }
                changed = self.view.changed() => if changed.is_err() { return },
                _ = tick.tick() => self.look_at_keyd().await,
            }
            self.advance().await;
        }
    }

    fn on_event(&mut self, event: TransportEvent) {
        match event {
            TransportEvent::Up(handle) => {
                self.peer(handle.node.number).session_up(handle.generation);
                self.handles.insert(handle.node.number, handle);
            }
            TransportEvent::Down { node, generation } => {
                self.peer(node).session_down(generation);
                if self
                    .handles
                    .get(&node)
                    .is_some_and(|handle| handle.generation == generation)
                {
                    self.handles.remove(&node);
                }
            }
            TransportEvent::Offer {
                node,
                generation,
                offer,
            } => {
                let peer = self.peer(node);
                // The offer may overtake the news of its session.
                peer.session_up(generation.max(peer.generation.unwrap_or(0)));
                if peer.generation == Some(generation) {
                    peer.offered_to_us(offer);
                }
            }
            TransportEvent::Ready {
                node,
                generation,
                epoch,
            } => {
                let peer = self.peer(node);
                if peer.generation == Some(generation) {
                    peer.ready = Some(epoch);
                }
            }
            TransportEvent::Retire { node, generation } => {
                let peer = self.peer(node);
                if peer.generation == Some(generation) {
                    peer.they_retired = true;
                }
            }
        }
    }

    fn on_started(&mut self, node: NodeNumber, keys: Keys, result: Result<(), KeydError>) {
        let peer = self.peer(node);
        peer.starting = false;
        match result {
            Ok(()) => {
                peer.sending = true;
                if peer.installed == Some(keys) {
                    peer.started = Some(keys);
                }
                tracing::info!(peer.node = node.get(), "encrypting towards the node");
            }
            Err(error) => self.peer_failed(node, &error),
        }
    }

    /// Notices a keyd that came back, or has another key than we have told the peers.
    async fn look_at_keyd(&mut self) {
        let standing = match self.keyd.standing().await {
            Ok(standing) => standing,
            Err(error) => {
                self.lost(&error);
                return;
            }
        };
        self.status.set_keyd_connected(true);
        let changed = self.ours.is_some_and(|ours| ours.key_epoch != standing.key_epoch);
        if self.acquainted && !changed {
            return;
        }
        self.acquainted = true;
        self.is_off = false;
        self.ours = None;
        for node in standing.peers.keys() {
            self.peers.entry(*node).or_default();
        }
        for (node, peer) in &mut self.peers {
            let known = standing.peers.get(node);
            peer.keyd_anew(known.is_some(), known.copied().unwrap_or(false));
        }
    }

    /// keyd does not answer: once it does again, it is asked what it has.
    fn lost(&mut self, error: &KeydError) {
        if self.status.keyd_connected() {
            tracing::info!(%error, "signet-keyd is away");
        }
        self.status.set_keyd_connected(false);
        self.acquainted = false;
    }

    /// A step towards a peer failed. The other peers go on, this one in a while.
    fn peer_failed(&mut self, node: NodeNumber, error: &KeydError) {
        self.peer(node).hold.failed(now().clock, random());
        if error.is_away() {
            self.lost(error);
        } else {
            self.status
                .fail("keyd", &anyhow::anyhow!("node {}: {error}", node.get()));
        }
    }

    fn mode_failed(&mut self, error: &KeydError) {
        self.hold.failed(now().clock, random());
        if error.is_away() {
            self.lost(error);
        } else {
            self.status.fail("keyd", &anyhow::anyhow!("{error}"));
        }
    }

    async fn advance(&mut self) {
        let Some(view) = self.view.borrow_and_update().clone() else {
            return;
        };
        let on = view.encryption() == Encryption::WireGuard;
        // Even while keyd is away: sessions take a moment to open. Turned off, they are needed until the last peer has said
        // that it has stopped.
        let has_keys = self.peers.values().any(|peer| peer.known);
        self.sessions.keep_all(on || has_keys);
        if !self.acquainted {
            return;
        }
        if on && self.ours.is_none() && self.hold.is_over(now().clock) {
            match self.keyd.on().await {
                Ok(ours) => {
                    tracing::info!(key.epoch = ours.key_epoch, "signet-keyd has a key");
                    self.ours = Some(ours);
                    self.hold = Hold::default();
                }
                Err(error) => self.mode_failed(&error),
            }
        }
        let nodes: Vec<_> = self.peers.keys().copied().collect();
        for node in nodes {
            if !self.peer(node).hold.is_over(now().clock) {
                continue;
            }
            if let Err(error) = self.advance_peer(&view, node, on).await {
                self.peer_failed(node, &error);
            }
        }
        if on {
            self.is_off = false;
        } else if !self.is_off && self.acquainted && self.hold.is_over(now().clock) {
            // The device goes with the last peer, so this is said until there is none.
            let is_last = self.peers.values().all(|peer| !peer.known);
            match self.keyd.off().await {
                Ok(()) => {
                    self.ours = None;
                    self.is_off = is_last;
                    self.hold = Hold::default();
                }
                Err(error) => self.mode_failed(&error),
            }
        }
    }

    async fn advance_peer(&mut self, view: &View, node: NodeNumber, on: bool) -> Result<(), KeydError> {
        let Some(known) = view.node_by_number(node) else {
            return self.forget(node).await;
        };
        self.peer(node).set_allowed(&known.pod_cidrs);
        for _ in 0..STEPS {
            let Some(peer) = self.peers.get(&node) else {
                return Ok(());
            };
            let step = match (on, self.ours) {
                (true, Some(ours)) => peer.next_on(ours.key_epoch),
                (true, None) => None,
                (false, _) => peer.next_off(),
            };
            let Some(step) = step else { return Ok(()) };
            if !self.take(view, node, step).await? {
                return Ok(());
            }
            self.peer(node).hold = Hold::default();
        }
        Ok(())
    }

    /// Takes a step; false if it has to wait.
    async fn take(&mut self, view: &View, node: NodeNumber, step: Step) -> Result<bool, KeydError> {
        match step {
            Step::Offer => {
                let (Some(ours), Some(handle)) = (self.ours, self.handles.get(&node)) else {
                    return Ok(false);
                };
                let offered = (handle.generation, ours.key_epoch);
                if !handle.command(Command::Offer(ours)) {
                    return Ok(false);
                }
                let peer = self.peer(node);
                peer.offered = Some(offered);
                peer.retired = None;
            }
            Step::Install(keys, offer) => {
                let allowed_ips = self.peer(node).allowed.clone();
                let Some(handle) = self
                    .handles
                    .get(&node)
                    .filter(|handle| handle.generation == keys.generation)
                else {
                    return Ok(false);
                };
                let Some(own) = view.own() else { return Ok(false) };
                let mut preshared = handle.preshared_key((own.number, keys.ours), keys.theirs);
                let request = InstallPeerRequest {
                    node_id: node.get(),
                    node: handle.node.name.to_string(),
                    public_key: offer.public_key.to_vec(),
                    endpoint: std::net::SocketAddr::new(handle.address.ip(), offer.port).to_string(),
                    preshared_key: preshared.to_vec(),
                    allowed_ips,
                };
                preshared.zeroize();
                let ready = handle.clone();
                self.keyd.install(request).await?;
                if !ready.command(Command::Ready(offer.key_epoch)) {
                    return Ok(false);
                }
                let peer = self.peer(node);
                peer.installed = Some(keys);
                peer.known = true;
                peer.unanswered = false;
                tracing::debug!(peer.node = node.get(), "can receive what the node encrypts");
            }
            Step::Confirm(epoch) => {
                let Some(handle) = self.handles.get(&node) else {
                    return Ok(false);
                };
                if !handle.command(Command::Ready(epoch)) {
                    return Ok(false);
                }
                self.peer(node).unanswered = false;
            }
            Step::Start => {
                let peer = self.peer(node);
                let Some(keys) = peer.installed else {
                    return Ok(false);
                };
                peer.starting = true;
                let keyd = self.keyd.clone();
                self.starts
                    .spawn((node, keys), async move { keyd.start_sending(node).await });
            }
            Step::Stop => {
                self.keyd.stop_sending(node).await?;
                let peer = self.peer(node);
                peer.sending = false;
                peer.started = None;
                tracing::info!(peer.node = node.get(), "no longer encrypting towards the node");
            }
            Step::Retire => {
                let Some(handle) = self.handles.get(&node) else {
                    return Ok(false);
                };
                let (generation, epoch) = (handle.generation, self.ours.map_or(0, |ours| ours.key_epoch));
                if !handle.command(Command::Retire(epoch)) {
                    return Ok(false);
                }
                let peer = self.peer(node);
                peer.retired = Some(generation);
                peer.offered = None;
                // From here on the peer may forget our key.
                peer.ready = None;
            }
            Step::Remove => {
                self.keyd.remove(node).await?;
                let peer = self.peer(node);
                peer.known = false;
                peer.installed = None;
            }
        }
        Ok(true)
    }

    /// A node has left the trust domain: nothing is sent to it or believed from it.
    async fn forget(&mut self, node: NodeNumber) -> Result<(), KeydError> {
        if self.peers.get(&node).is_some_and(|peer| peer.known) {
            self.keyd.stop_sending(node).await?;
            self.keyd.remove(node).await?;
        }
        self.peers.remove(&node);
        self.handles.remove(&node);
        Ok(())
    }

    fn peer(&mut self, node: NodeNumber) -> &mut Peer {
        self.peers.entry(node).or_default()
    }
}
