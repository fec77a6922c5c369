//! The engine over a device and a map in memory: orders, failures, restarts.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use signet_abi::{NodeId, node_flags::SEND_ENCRYPTED};
use signet_proto::keyd::v1::InstallPeerRequest;
use signet_toggle::{Mode, Refusal, State};
use signet_wireguard::DeviceError;
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::engine::{Engine, Offer};
use crate::error::EngineError;
use crate::fake::{World, locked};
use crate::memory::MemoryFile;
use crate::ready::start_sending;
use crate::request::{self, Install};

/// A node whose daemon can be killed and started again.
struct Node {
    world: Arc<World>,
    dir: TempDir,
    engine: Mutex<Engine>,
}

impl Node {
    async fn start(kernel: bool) -> Self {
        let world = Arc::new(World::default());
        world.kernel.store(kernel, Relaxed);
        world.pin_nodes();
        let dir = tempfile::tempdir().unwrap();
        let engine = Self::engine(&world, &dir).await;
        Self {
            world,
            dir,
            engine: Mutex::new(engine),
        }
    }

    async fn engine(world: &Arc<World>, dir: &TempDir) -> Engine {
        let memory = MemoryFile::new(dir.path().join("keyd.json"));
        Engine::start(world.opener(), world.nodes(), memory).await
    }

    /// SIGKILL, and the next start.
    async fn restart(&mut self) {
        self.engine = Mutex::new(Self::engine(&self.world, &self.dir).await);
    }

    async fn mode(&self, mode: Mode) -> Result<Option<Offer>, EngineError> {
        self.engine.lock().await.set_mode(mode).await
    }

    async fn install(&self, node: u32, key: u8) -> Result<(), EngineError> {
        self.engine.lock().await.install(peer(node, key)).await
    }

    async fn ready(&self, node: u32) -> Result<(), EngineError> {
        start_sending(&self.engine, NodeId(node)).await
    }

    async fn stop(&self, node: u32) -> Result<(), EngineError> {
        self.engine.lock().await.stop_sending(NodeId(node))
    }

    async fn remove(&self, node: u32) -> Result<(), EngineError> {
        self.engine.lock().await.remove(NodeId(node)).await
    }

    async fn state(&self, node: u32) -> State {
        let engine = self.engine.lock().await;
        engine
            .peers
            .get(&NodeId(node))
            .map_or(State::Off, |peer| peer.machine.state())
    }

    /// Encrypting towards node 2, with the key 2.
    async fn sending(kernel: bool) -> (Self, Offer) {
        let node = Self::start(kernel).await;
        let offer = node.mode(Mode::WireGuard).await.unwrap().unwrap();
        node.install(2, 2).await.unwrap();
        node.ready(2).await.unwrap();
        assert_eq!(node.world.flags(2), Some(SEND_ENCRYPTED));
        (node, offer)
    }
}

fn peer(node: u32, key: u8) -> Install {
    request::install(InstallPeerRequest {
        node_id: node,
        node: format!("n{node}"),
        public_key: vec![key; 32],
        endpoint: format!("192.0.2.{node}:51871"),
        preshared_key: vec![key; 32],
        allowed_ips: vec![format!("10.244.{node}.0/24")],
    })
    .unwrap()
}

#[tokio::test]
async fn switching_on_and_off_goes_through_every_step_and_leaves_nothing() {
    let node = Node::start(true).await;
    let offer = node.mode(Mode::WireGuard).await.unwrap().unwrap();
    assert_eq!(
        node.mode(Mode::WireGuard).await.unwrap(),
        Some(offer),
        "again is no change"
    );
    node.install(2, 2).await.unwrap();
    assert_eq!(
        (node.state(2).await, node.world.flags(2)),
        (State::Receiving, Some(0))
    );
    node.ready(2).await.unwrap();
    node.ready(2).await.unwrap();
    assert_eq!(
        (node.state(2).await, node.world.flags(2)),
        (State::Sending, Some(SEND_ENCRYPTED))
    );

    assert_eq!(node.mode(Mode::Off).await.unwrap(), None);
    assert_eq!(
        node.world.flags(2),
        Some(SEND_ENCRYPTED),
        "the agent says when to stop"
    );
    node.stop(2).await.unwrap();
    assert_eq!(
        (node.state(2).await, node.world.flags(2)),
        (State::Receiving, Some(0))
    );
    assert!(
        !node.world.device().destroyed.load(Relaxed),
        "the peer may still send"
    );
    node.remove(2).await.unwrap();
    node.remove(2).await.unwrap();
    assert_eq!(node.world.flags(2), None);
    assert!(node.world.device().destroyed.load(Relaxed));
    assert!(locked(&node.world.device().peers).is_empty());
}

#[tokio::test]
async fn requests_in_a_wrong_order_change_nothing() {
    let node = Node::start(true).await;
    assert!(matches!(
        node.install(2, 2).await,
        Err(EngineError::Refused(Refusal::ModeOff))
    ));
    node.mode(Mode::WireGuard).await.unwrap();
    assert!(matches!(
        node.ready(2).await,
        Err(EngineError::Refused(Refusal::NotInstalled))
    ));
    node.stop(2).await.unwrap();
    node.install(2, 2).await.unwrap();
    node.mode(Mode::Off).await.unwrap();
    assert!(matches!(
        node.ready(2).await,
        Err(EngineError::Refused(Refusal::ModeOff))
    ));
    assert_eq!(node.world.flags(2), Some(0));
}

#[tokio::test]
async fn a_peer_that_answers_no_handshake_is_put_afresh_and_then_encrypted_to_all_the_same() {
    let node = Node::start(true).await;
    node.mode(Mode::WireGuard).await.unwrap();
    node.install(2, 2).await.unwrap();
    node.world.device().answers.store(false, Relaxed);
    node.ready(2).await.unwrap();
    assert_eq!(node.world.device().puts.load(Relaxed), 2);
    assert_eq!(node.world.flags(2), Some(SEND_ENCRYPTED), "encrypted or nothing");
}

#[tokio::test]
async fn two_nodes_cannot_have_one_key_or_one_prefix() {
    let node = Node::start(true).await;
    let offer = node.mode(Mode::WireGuard).await.unwrap().unwrap();
    node.install(2, 2).await.unwrap();
    let same_key = node.install(3, 2).await;
    assert!(
        matches!(same_key, Err(EngineError::KeyTaken { node: NodeId(2) })),
        "{same_key:?}"
    );
    let mut other = peer(3, 3);
    other.config.allowed_ips = vec!["10.0.0.0/8".parse().unwrap()];
    let overlap = node.engine.lock().await.install(other).await;
    assert!(
        matches!(overlap, Err(EngineError::Overlap { node: NodeId(2), .. })),
        "{overlap:?}"
    );
    let mut own = peer(3, 3);
    own.config.public_key = offer.public_key;
    assert!(matches!(
        node.engine.lock().await.install(own).await,
        Err(EngineError::OwnKey)
    ));
    assert_eq!(node.state(3).await, State::Off);
    assert_eq!(locked(&node.world.device().peers).len(), 1);
}

#[tokio::test]
async fn a_peers_new_key_replaces_the_old_one_and_never_falls_back_to_plaintext() {
    let (node, _) = Node::sending(true).await;
    node.install(2, 9).await.unwrap();
    assert_eq!(
        (node.state(2).await, node.world.flags(2)),
        (State::Rekeying, Some(SEND_ENCRYPTED))
    );
    let keys: Vec<_> = locked(&node.world.device().peers)
        .keys()
        .map(|key| key.as_bytes()[0])
        .collect();
    assert_eq!(keys, [9]);
    node.ready(2).await.unwrap();
    assert_eq!(node.state(2).await, State::Sending);
}

#[tokio::test]
async fn a_failing_device_leaves_the_state_as_it_was() {
    let node = Node::start(true).await;
    node.mode(Mode::WireGuard).await.unwrap();
    node.world.device().fails.store(true, Relaxed);
    assert!(matches!(
        node.install(2, 2).await,
        Err(EngineError::Device(DeviceError::Unsupported))
    ));
    assert_eq!((node.state(2).await, node.world.flags(2)), (State::Off, None));
    node.world.device().fails.store(false, Relaxed);
    node.install(2, 2).await.unwrap();
    node.ready(2).await.unwrap();
    node.world.device().fails.store(true, Relaxed);
    assert!(node.remove(2).await.is_err());
    assert_eq!(node.state(2).await, State::Sending);
}

#[tokio::test]
async fn a_full_map_is_an_error_and_the_peer_stays_receiving() {
    let node = Node::start(true).await;
    node.mode(Mode::WireGuard).await.unwrap();
    node.install(2, 2).await.unwrap();
    node.world.map_is_full.store(true, Relaxed);
    assert!(matches!(node.ready(2).await, Err(EngineError::Nodes(_))));
    assert_eq!(node.state(2).await, State::Receiving);
    node.world.map_is_full.store(false, Relaxed);
    node.ready(2).await.unwrap();
    assert_eq!(node.world.flags(2), Some(SEND_ENCRYPTED));
}

#[tokio::test]
async fn a_map_that_is_pinned_later_or_anew_is_brought_up_to_date() {
    let node = Node::start(true).await;
    *locked(&node.world.nodes) = None;
    node.mode(Mode::WireGuard).await.unwrap();
    node.install(2, 2).await.unwrap();
    node.ready(2).await.unwrap();
    assert_eq!(node.world.flags(2), None);
    for _ in 0..2 {
        node.world.pin_nodes();
        node.engine.lock().await.reconcile().await;
        assert_eq!(node.world.flags(2), Some(SEND_ENCRYPTED));
        *locked(&node.world.nodes) = None;
    }
}

#[tokio::test]
async fn a_restart_with_a_kernel_device_changes_nothing() {
    let (mut node, offer) = Node::sending(true).await;
    node.install(3, 3).await.unwrap();
    let before = locked(&node.world.nodes).clone();
    node.restart().await;
    assert_eq!(*locked(&node.world.nodes), before);
    assert_eq!(
        (node.state(2).await, node.state(3).await),
        (State::Sending, State::Receiving)
    );
    assert_eq!(
        node.mode(Mode::WireGuard).await.unwrap(),
        Some(offer),
        "same key, same epoch"
    );
    node.ready(3).await.unwrap();
    node.remove(2).await.unwrap();
    assert_eq!(locked(&node.world.device().peers).len(), 1);
}

#[tokio::test]
async fn a_restart_in_user_space_holds_packets_back_until_the_peer_has_the_new_key() {
    let (mut node, offer) = Node::sending(false).await;
    node.restart().await;
    assert_eq!(
        (node.state(2).await, node.world.flags(2)),
        (State::Held, Some(SEND_ENCRYPTED))
    );
    let again = node.mode(Mode::WireGuard).await.unwrap().unwrap();
    assert_ne!(again.public_key, offer.public_key);
    assert!(again.key_epoch > offer.key_epoch);
    node.install(2, 2).await.unwrap();
    assert_eq!(
        (node.state(2).await, node.world.flags(2)),
        (State::Rekeying, Some(SEND_ENCRYPTED))
    );
    node.ready(2).await.unwrap();
    assert_eq!(node.state(2).await, State::Sending);
}

#[tokio::test]
async fn held_packets_go_plain_only_when_the_agent_says_off() {
    let (mut node, _) = Node::sending(false).await;
    // Not even the memory that encryption was on is left.
    std::fs::remove_file(node.dir.path().join("keyd.json")).unwrap();
    *locked(&node.world.device) = None;
    node.restart().await;
    node.engine.lock().await.reconcile().await;
    assert_eq!(
        (node.state(2).await, node.world.flags(2)),
        (State::Held, Some(SEND_ENCRYPTED))
    );
    node.mode(Mode::Off).await.unwrap();
    assert_eq!((node.state(2).await, node.world.flags(2)), (State::Off, None));
}

#[tokio::test]
async fn a_device_that_cannot_be_opened_at_a_restart_is_adopted_later_with_its_peers() {
    let (mut node, offer) = Node::sending(true).await;
    node.world.open_fails.store(true, Relaxed);
    node.restart().await;
    assert_eq!(
        (node.state(2).await, node.world.flags(2)),
        (State::Held, Some(SEND_ENCRYPTED))
    );
    assert!(node.mode(Mode::WireGuard).await.is_err());
    assert!(node.engine.lock().await.last_error.is_some());
    node.restart().await;
    node.world.open_fails.store(false, Relaxed);
    assert_eq!(node.mode(Mode::WireGuard).await.unwrap(), Some(offer));
    assert_eq!(
        (node.state(2).await, node.world.flags(2)),
        (State::Sending, Some(SEND_ENCRYPTED))
    );
    assert!(node.engine.lock().await.last_error.is_none());
}

#[tokio::test]
async fn a_peer_in_the_device_that_nobody_knows_is_removed_at_a_restart() {
    let (mut node, _) = Node::sending(true).await;
    let stranger = peer(7, 7).config;
    locked(&node.world.device().peers).insert(stranger.public_key, stranger);
    node.restart().await;
    let keys: Vec<_> = locked(&node.world.device().peers)
        .keys()
        .map(|key| key.as_bytes()[0])
        .collect();
    assert_eq!(keys, [2]);
}

#[tokio::test]
async fn a_lost_device_is_made_again_with_a_new_key_while_packets_are_held_back() {
    let (node, offer) = Node::sending(true).await;
    node.world.device().gone.store(true, Relaxed);
    *locked(&node.world.device) = None;
    node.engine.lock().await.reconcile().await;
    assert_eq!(
        (node.state(2).await, node.world.flags(2)),
        (State::Held, Some(SEND_ENCRYPTED))
    );
    let again = node.mode(Mode::WireGuard).await.unwrap().unwrap();
    assert!(again.key_epoch > offer.key_epoch && again.public_key != offer.public_key);
    let ifindex = locked(&node.world.nodes).as_ref().unwrap()[&NodeId(2)].tunnel_ifindex;
    assert_eq!(
        ifindex, 101,
        "held packets go into the new tunnel, not into whatever gets the old number"
    );
}

#[tokio::test]
async fn a_peer_that_is_replaced_while_its_session_is_awaited_is_not_sent_to() {
    let node = Arc::new(Node::start(true).await);
    node.mode(Mode::WireGuard).await.unwrap();
    node.install(2, 2).await.unwrap();
    // The wait releases the lock; here the replacement comes right at its end.
    let guard = node.engine.lock().await;
    let waiting = tokio::spawn({
        let node = Arc::clone(&node);
        async move { node.ready(2).await }
    });
    drop(guard);
    let mut engine = node.engine.lock().await;
    engine.install(peer(2, 9)).await.unwrap();
    drop(engine);
    match waiting.await.unwrap() {
        Err(EngineError::Changed) => assert_eq!(node.world.flags(2), Some(0)),
        // It came before or after the replacement as a whole.
        other => assert!(other.is_ok(), "{other:?}"),
    }
}
