//! Agents drive the key daemons of their nodes: in an order that loses no packet, and again after any of them was away.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests: what fails here is the test"
)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use signet_agent::transport::{Driver, Keyd};
use signet_proto::keyd::v1::key_service_server::{KeyService, KeyServiceServer};
use signet_proto::keyd::v1::{
    InstallPeerRequest, PeerRequest, PeerResponse, PeerStatus, SetModeRequest, SetModeResponse,
    StatusRequest, StatusResponse,
};
use signet_proto::view::v1::EncryptionMode;
use signet_session::encode;
use signet_uds::{Access, serve_incoming};
use support::{Setup, World, eventually, hello, send};
use tokio::io::AsyncReadExt as _;
use tokio::task::JoinHandle;
use tonic::{Request, Response, Status};

/// What a key daemon was asked to do, in the order of all daemons together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Install,
    Start,
    Stop,
    Remove,
}

type Log = Arc<Mutex<Vec<(u32, Act, u32)>>>;

#[derive(Clone, Debug, Default)]
struct FakePeer {
    preshared_key: Vec<u8>,
    public_key: Vec<u8>,
    endpoint: String,
    allowed_ips: Vec<String>,
    sending: bool,
}

#[derive(Debug)]
struct State {
    on: bool,
    epoch: u64,
    peers: BTreeMap<u32, FakePeer>,
    /// Answers nothing.
    away: bool,
    /// How many times `StartSending` still refuses.
    refusals: u32,
}

/// A key daemon without keys.
#[derive(Clone, Debug)]
struct FakeKeyd {
    node: u32,
    state: Arc<Mutex<State>>,
    log: Log,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FakeKeyd {
    fn new(node: u32, log: &Log) -> Self {
        let state = State {
            on: false,
            epoch: 10,
            peers: BTreeMap::new(),
            away: false,
            refusals: 0,
        };
        Self {
            node,
            state: Arc::new(Mutex::new(state)),
            log: log.clone(),
        }
    }

    fn serve(&self, socket: &Path) -> JoinHandle<()> {
        let incoming = serve_incoming(socket, Access::Owner).expect("a socket");
        let server = tonic::transport::Server::builder().add_service(KeyServiceServer::new(self.clone()));
        tokio::spawn(async move {
            server.serve_with_incoming(incoming).await.expect("serves");
        })
    }

    /// The state, unless the daemon is away.
    fn answer(&self) -> Result<MutexGuard<'_, State>, Status> {
        let state = lock(&self.state);
        if state.away {
            return Err(Status::unavailable("gone"));
        }
        Ok(state)
    }

    fn note(&self, act: Act, peer: u32) {
        lock(&self.log).push((self.node, act, peer));
    }

    fn peer(&self, node: u32) -> Option<FakePeer> {
        lock(&self.state).peers.get(&node).cloned()
    }

    fn sends_to(&self, node: u32) -> bool {
        self.peer(node).is_some_and(|peer| peer.sending)
    }

    fn is_off(&self) -> bool {
        let state = lock(&self.state);
        !state.on && state.peers.is_empty()
    }

    /// As if the daemon was killed and its device with it: another key, no peers.
    fn lose_everything(&self) {
        let mut state = lock(&self.state);
        state.on = false;
        state.epoch += 1;
        state.peers.clear();
    }
}

#[tonic::async_trait]
impl KeyService for FakeKeyd {
    async fn set_mode(&self, request: Request<SetModeRequest>) -> Result<Response<SetModeResponse>, Status> {
        let mut state = self.answer()?;
        let on = request.into_inner().mode() == EncryptionMode::Wireguard;
        if !on && state.on && state.peers.is_empty() {
            state.on = false;
            state.epoch += 1;
        }
        state.on |= on;
        let number = u8::try_from(self.node).expect("small");
        Ok(Response::new(SetModeResponse {
            public_key: if on { vec![number; 32] } else { Vec::new() },
            port: 51871,
            key_epoch: state.epoch,
        }))
    }

    async fn install_peer(
        &self,
        request: Request<InstallPeerRequest>,
    ) -> Result<Response<PeerResponse>, Status> {
        let request = request.into_inner();
        self.note(Act::Install, request.node_id);
        let mut state = self.answer()?;
        let peer = state.peers.entry(request.node_id).or_default();
        peer.preshared_key = request.preshared_key;
        peer.public_key = request.public_key;
        peer.endpoint = request.endpoint;
        peer.allowed_ips = request.allowed_ips;
        Ok(Response::new(PeerResponse {}))
    }

    async fn start_sending(&self, request: Request<PeerRequest>) -> Result<Response<PeerResponse>, Status> {
        let node = request.into_inner().node_id;
        let mut state = self.answer()?;
        if state.refusals > 0 {
            state.refusals -= 1;
            return Err(Status::aborted("the peer does not answer yet"));
        }
        self.note(Act::Start, node);
        let peer = state.peers.get_mut(&node);
        peer.ok_or_else(|| Status::failed_precondition("no such peer"))?
            .sending = true;
        Ok(Response::new(PeerResponse {}))
    }

    async fn stop_sending(&self, request: Request<PeerRequest>) -> Result<Response<PeerResponse>, Status> {
        let node = request.into_inner().node_id;
        self.note(Act::Stop, node);
        if let Some(peer) = self.answer()?.peers.get_mut(&node) {
            peer.sending = false;
        }
        Ok(Response::new(PeerResponse {}))
    }

    async fn remove_peer(&self, request: Request<PeerRequest>) -> Result<Response<PeerResponse>, Status> {
        let node = request.into_inner().node_id;
        self.note(Act::Remove, node);
        self.answer()?.peers.remove(&node);
        Ok(Response::new(PeerResponse {}))
    }

    async fn status(&self, _request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let state = self.answer()?;
        let peers = state.peers.iter().map(|(node, peer)| PeerStatus {
            node_id: *node,
            state: if peer.sending { "sending" } else { "receiving" }.to_owned(),
            ..PeerStatus::default()
        });
        Ok(Response::new(StatusResponse {
            peers: peers.collect(),
            key_epoch: state.epoch,
            ..StatusResponse::default()
        }))
    }
}

/// Two nodes with their key daemons.
struct Pair {
    world: World,
    keyds: [FakeKeyd; 2],
    sockets: [std::path::PathBuf; 2],
    servers: [Option<JoinHandle<()>>; 2],
    log: Log,
    _directory: tempfile::TempDir,
}

impl Pair {
    async fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let log = Log::default();
        let mut world = World::new(vec![Setup::default(), Setup::default()], &[]).await;
        let keyds = [FakeKeyd::new(1, &log), FakeKeyd::new(2, &log)];
        let sockets = [directory.path().join("1.sock"), directory.path().join("2.sock")];
        for (node, socket) in world.nodes.iter_mut().zip(&sockets) {
            let events = node.transport.take().expect("unused");
            let keyd = Keyd::new(socket).expect("a client");
            let driver = Driver::new(
                keyd,
                node.sessions.clone(),
                node.view.subscribe(),
                node.status.clone(),
            );
            node.spawn(driver.run(events));
        }
        Self {
            world,
            keyds,
            sockets,
            servers: [None, None],
            log,
            _directory: directory,
        }
    }

    /// Starts both key daemons.
    fn serve(&mut self) {
        for at in 0..2 {
            self.servers[at] = Some(self.keyds[at].serve(&self.sockets[at]));
        }
    }

    fn toggle(&mut self, mode: EncryptionMode) {
        self.world.cluster.encryption = mode;
        self.world.push();
    }

    async fn encrypted(&self) {
        let [one, two] = &self.keyds;
        eventually("both encrypt under one key", || {
            let (at_one, at_two) = (one.peer(2).unwrap_or_default(), two.peer(1).unwrap_or_default());
            at_one.sending && at_two.sending && at_one.preshared_key == at_two.preshared_key
        })
        .await;
    }

    fn position(&self, node: u32, act: Act, peer: u32) -> usize {
        let log = lock(&self.log);
        let found = log.iter().position(|entry| *entry == (node, act, peer));
        found.unwrap_or_else(|| panic!("node {node} never did {act:?} with {peer}: {log:?}"))
    }

    fn count(&self, act: Act) -> usize {
        lock(&self.log).iter().filter(|entry| entry.1 == act).count()
    }

    /// Somebody with node 2's name and another start connects to node 1 and goes: the session of the two is gone.
    async fn break_session(&self) {
        let mut stream = self.world.connect_as(2, 1).await;
        send(&mut stream, &encode(&hello(2)).expect("encodes")).await;
        let mut byte = [0];
        let _ = stream.read(&mut byte).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn turned_on_each_side_encrypts_only_after_the_other_can_receive() {
    let mut pair = Pair::new().await;
    pair.serve();
    pair.toggle(EncryptionMode::Wireguard);
    pair.encrypted().await;
    assert!(pair.position(1, Act::Start, 2) > pair.position(2, Act::Install, 1));
    assert!(pair.position(2, Act::Start, 1) > pair.position(1, Act::Install, 2));
    let at_one = pair.keyds[0].peer(2).expect("installed");
    assert_eq!(at_one.preshared_key.len(), 32);
    assert_ne!(at_one.preshared_key, vec![0; 32]);
    assert_eq!(at_one.public_key, vec![2; 32]);
    assert_eq!(at_one.endpoint, "127.0.0.1:51871");
    assert_eq!(
        at_one.allowed_ips,
        vec!["10.244.2.0/24"],
        "from the view, not from the peer"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn turned_off_both_stop_before_either_forgets_a_key() {
    let mut pair = Pair::new().await;
    pair.serve();
    pair.toggle(EncryptionMode::Wireguard);
    pair.encrypted().await;
    pair.toggle(EncryptionMode::Off);
    eventually("off", || pair.keyds.iter().all(FakeKeyd::is_off)).await;
    let stopped = pair.position(1, Act::Stop, 2).max(pair.position(2, Act::Stop, 1));
    assert!(pair.position(1, Act::Remove, 2) > stopped);
    assert!(pair.position(2, Act::Remove, 1) > stopped);
    pair.toggle(EncryptionMode::Wireguard);
    pair.encrypted().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn turned_off_while_no_session_is_up_the_last_keys_go_once_the_nodes_meet_again() {
    let mut pair = Pair::new().await;
    pair.serve();
    pair.toggle(EncryptionMode::Wireguard);
    pair.encrypted().await;
    // Nobody listens where the nodes look for each other now.
    let nowhere = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    let addresses = std::mem::replace(&mut pair.world.cluster.nodes, vec![nowhere; 2]);
    pair.world.push();
    pair.break_session().await;
    eventually("no session", || {
        pair.world.nodes.iter().all(|node| node.sessions.count() == 0)
    })
    .await;
    pair.toggle(EncryptionMode::Off);
    eventually("both have stopped", || pair.count(Act::Stop) >= 2).await;
    assert_eq!(pair.count(Act::Remove), 0, "the other's word is missing");
    // What the toggle's first half still wanted is tried and has failed by then.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    pair.world.cluster.nodes = addresses;
    pair.world.push();
    eventually("off", || pair.keyds.iter().all(FakeKeyd::is_off)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_daemon_may_come_later_than_the_toggle() {
    let mut pair = Pair::new().await;
    pair.toggle(EncryptionMode::Wireguard);
    pair.servers[0] = Some(pair.keyds[0].serve(&pair.sockets[0]));
    eventually("one has a key", || lock(&pair.keyds[0].state).on).await;
    assert!(!pair.keyds[0].sends_to(2));
    pair.servers[1] = Some(pair.keyds[1].serve(&pair.sockets[1]));
    pair.encrypted().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_daemon_with_a_new_key_is_installed_anew_at_the_peer() {
    let mut pair = Pair::new().await;
    pair.serve();
    pair.toggle(EncryptionMode::Wireguard);
    pair.encrypted().await;
    let before = pair.keyds[1].peer(1).expect("installed").preshared_key;
    pair.keyds[0].lose_everything();
    eventually("the peer has other keys", || {
        pair.keyds[1]
            .peer(1)
            .is_some_and(|peer| peer.preshared_key != before)
    })
    .await;
    pair.encrypted().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_daemon_that_was_away_and_kept_its_key_is_brought_up_to_date() {
    let mut pair = Pair::new().await;
    pair.serve();
    pair.toggle(EncryptionMode::Wireguard);
    pair.encrypted().await;
    // Away before it had noted that it may send.
    {
        let mut state = lock(&pair.keyds[0].state);
        state.away = true;
        state.peers.get_mut(&2).expect("installed").sending = false;
    }
    let status = pair.world.node(1).status.clone();
    eventually("noticed", || !status.keyd_connected()).await;
    lock(&pair.keyds[0].state).away = false;
    pair.encrypted().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_session_brings_new_keys_and_nobody_stops_encrypting() {
    let mut pair = Pair::new().await;
    pair.serve();
    pair.toggle(EncryptionMode::Wireguard);
    pair.encrypted().await;
    let before = pair.keyds[0].peer(2).expect("installed").preshared_key;
    let stops = pair.count(Act::Stop);
    pair.break_session().await;
    eventually("other keys at one", || {
        pair.keyds[0]
            .peer(2)
            .is_some_and(|peer| peer.preshared_key != before)
    })
    .await;
    pair.encrypted().await;
    assert_eq!(pair.count(Act::Stop), stops);
    assert_eq!(pair.count(Act::Remove), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_is_refused_is_tried_again() {
    let mut pair = Pair::new().await;
    lock(&pair.keyds[0].state).refusals = 2;
    pair.serve();
    pair.toggle(EncryptionMode::Wireguard);
    pair.encrypted().await;
    assert!(
        pair.world
            .node(1)
            .status
            .last_error()
            .contains("does not answer yet")
    );
}
