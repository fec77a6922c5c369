//! Nodes of one trust domain in this process: real sessions over loopback, `AUTH` in memory, no CA and no kernel.

#![expect(
    dead_code,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests: each binary uses its part, and what fails here is the test"
)]

mod authority;
pub(crate) mod liar;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls_pki_types::ServerName;
use signet_abi::{AuthKey, NodeId, SecurityIdentity, Signal};
use signet_agent::auth::MemoryAuth;
use signet_agent::ca::NodeAccess;
use signet_agent::leases::{Leases, MemoryLeases, keep};
use signet_agent::mesh::Endpoints;
use signet_agent::pairs::{Actor, Knowledge, PairReport, Pairs};
use signet_agent::sessions::{Context, Gate, Sessions, TransportEvent, listen};
use signet_agent::status::Status;
use signet_agent::svids::{Entry, SvidSet, WorkloadSvid};
use signet_agent::view::{KeptFile, ViewStore};
use signet_handshake::Credentials;
use signet_preauth::{Demand, Group, Place};
use signet_proto::view::v1 as wire;
use signet_session::{Hello, Instance, Limits, Message, NodeNumber, VERSION};
use signet_spiffe::{NodeName, SpiffeId};
use signet_tls::{Expect, FixedBundles, SvidKeyPair, client_config};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(crate) use authority::Authority;

/// Longer than any step may take: only a test that fails waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn node_name(number: u32) -> NodeName {
    NodeName::parse(&format!("n{number}")).expect("valid")
}

/// A workload by its service account; its number stands for it in kernel maps.
pub(crate) fn workload(number: u32) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://t.example/ns/a/sa/w{number}")).expect("valid")
}

/// What the CA would push: nodes `1..=nodes.len()` at these addresses, and workloads as (node, number).
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<SocketAddr>,
    pub(crate) workloads: Vec<(u32, u32)>,
    pub(crate) encryption: wire::EncryptionMode,
    pub(crate) revision: u64,
}

impl Cluster {
    pub(crate) fn snapshot(&self, ca: &Authority, for_node: u32) -> wire::Update {
        let nodes = (1..).zip(&self.nodes).map(|(number, address)| wire::Node {
            name: node_name(number).to_string(),
            id: number,
            addresses: vec![address.ip().to_string()],
            session_port: address.port().into(),
            pod_cidrs: vec![format!("10.244.{number}.0/24")],
        });
        let places = |w: u32| {
            let on = self.workloads.iter().filter(move |(_, other)| *other == w);
            on.map(|(node, _)| node_name(*node).to_string())
        };
        let identities = self.workloads.iter().map(|(_, w)| wire::Identity {
            spiffe_id: workload(*w).to_string(),
            number: *w,
            nodes: places(*w).collect(),
        });
        let registrations = self
            .workloads
            .iter()
            .filter(|(node, _)| *node == for_node)
            .map(|(node, w)| wire::Registration {
                id: format!("registration-{w}"),
                spiffe_id: workload(*w).to_string(),
                node: node_name(*node).to_string(),
                selectors: vec!["unix:uid:0".to_owned()],
                identity: *w,
                ttl: 0,
                ..wire::Registration::default()
            });
        wire::Update {
            revision: self.revision,
            snapshot: true,
            nodes: nodes.collect(),
            identities: identities.collect(),
            registrations: registrations.collect(),
            bundle: Some(wire::TrustBundle {
                trust_domain: ca.domain.to_string(),
                x509_authorities: vec![ca.root.to_vec()],
                sequence: 1,
                node_signers: vec![ca.signer()],
                ..wire::TrustBundle::default()
            }),
            cluster: Some(wire::Cluster {
                encryption: self.encryption.into(),
                ..wire::Cluster::default()
            }),
            self_node: node_name(for_node).to_string(),
            ..wire::Update::default()
        }
    }
}

/// How a node is set up.
pub(crate) struct Setup {
    pub(crate) limits: Limits,
    pub(crate) tls_deadline: Duration,
    pub(crate) gate: Gate,
    pub(crate) auth: MemoryAuth,
    pub(crate) leases: MemoryLeases,
    /// Whether the first view is of a history that nobody knows.
    pub(crate) reset: bool,
    /// Where revocations are kept, if anywhere.
    pub(crate) kept: Option<PathBuf>,
    /// How much is proven before anybody asks, if anything is.
    pub(crate) ahead: Option<signet_preauth::Bounds>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            tls_deadline: Duration::from_secs(10),
            gate: Gate::default(),
            auth: MemoryAuth::new(1000),
            leases: MemoryLeases::new(1000),
            reset: false,
            kept: None,
            ahead: None,
        }
    }
}

/// One node: everything of the agent but the CA, meshd and keyd.
pub(crate) struct TestNode {
    pub(crate) number: u32,
    pub(crate) view: Arc<ViewStore>,
    pub(crate) pairs: Pairs,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) auth: MemoryAuth,
    pub(crate) leases: MemoryLeases,
    pub(crate) status: Arc<Status>,
    pub(crate) endpoints: watch::Sender<Option<Arc<Endpoints>>>,
    /// What is worth a proof before anybody asks, as signet-meshd would say.
    pub(crate) demand: watch::Sender<Option<Arc<Demand>>>,
    pub(crate) transport: Option<mpsc::Receiver<TransportEvent>>,
    pub(crate) address: SocketAddr,
    /// Which numbering of identities all proofs in the map are of.
    pub(crate) cleared: watch::Receiver<u64>,
    reset: AtomicBool,
    svids: watch::Sender<Arc<SvidSet>>,
    _access: watch::Sender<Option<Arc<NodeAccess>>>,
    tasks: tokio::task::JoinSet<()>,
}

/// The nodes of one trust domain.
pub(crate) struct World {
    pub(crate) ca: Authority,
    pub(crate) cluster: Cluster,
    pub(crate) nodes: Vec<TestNode>,
}

impl World {
    /// As many nodes as set-ups; workloads as (node, number).
    pub(crate) async fn new(setups: Vec<Setup>, workloads: &[(u32, u32)]) -> Self {
        let mut world = Self::with(setups, workloads).await;
        world.push();
        world
    }

    async fn with(setups: Vec<Setup>, workloads: &[(u32, u32)]) -> Self {
        let ca = Authority::new("t.example");
        let mut listeners = Vec::new();
        for _ in &setups {
            listeners.push(TcpListener::bind("127.0.0.1:0").await.expect("a port"));
        }
        let cluster = Cluster {
            nodes: listeners
                .iter()
                .map(|listener| listener.local_addr().expect("bound"))
                .collect(),
            workloads: workloads.to_vec(),
            encryption: wire::EncryptionMode::Off,
            revision: 1,
        };
        let nodes = (1..).zip(setups.into_iter().zip(listeners));
        let nodes = nodes.map(|(number, (setup, listener))| TestNode::new(&ca, number, setup, listener));
        Self {
            nodes: nodes.collect(),
            ca,
            cluster,
        }
    }

    pub(crate) async fn two(workloads: &[(u32, u32)]) -> Self {
        Self::new(vec![Setup::default(), Setup::default()], workloads).await
    }

    /// Nodes that have heard nothing from the CA yet.
    pub(crate) async fn deaf(setups: Vec<Setup>) -> Self {
        Self::with(setups, &[]).await
    }

    /// A TLS connection to a node with another's own SVID: an authenticated, dishonest peer.
    pub(crate) async fn connect_as(&self, node: u32, to: u32) -> TlsStream<TcpStream> {
        let svid = self.ca.issue(&SpiffeId::node(&self.ca.domain, &node_name(node)));
        connect(&self.ca, self.node(to).address, &svid)
            .await
            .expect("connects")
    }

    pub(crate) fn node(&self, number: u32) -> &TestNode {
        self.nodes
            .iter()
            .find(|node| node.number == number)
            .expect("there")
    }

    /// The same to one node alone.
    pub(crate) fn push_to(&mut self, number: u32) {
        self.cluster.revision += 1;
        self.node(number).take(&self.ca, &self.cluster);
    }

    /// Pushes the cluster as it is now to every node, as the CA would, with SVIDs and endpoints for its workloads.
    pub(crate) fn push(&mut self) {
        self.cluster.revision += 1;
        for node in &self.nodes {
            node.take(&self.ca, &self.cluster);
        }
    }
}

impl TestNode {
    fn new(ca: &Authority, number: u32, setup: Setup, listener: TcpListener) -> Self {
        let name = node_name(number);
        let address = listener.local_addr().expect("bound");
        let mut view = ViewStore::new(name.clone(), ca.domain.clone(), ca.bundles());
        if let Some(directory) = &setup.kept {
            view = view.keeping(KeptFile::new(directory));
        }
        let view = Arc::new(view);
        let (access, access_watch) = watch::channel(Some(ca.access(&name)));
        let (svids, svids_watch) = watch::channel(Arc::new(SvidSet::default()));
        let (endpoints, endpoints_watch) = watch::channel(None);
        let knowledge = Knowledge::new(view.subscribe(), svids_watch, endpoints_watch);
        let (pairs, events) = Pairs::channel();
        let byte = u8::try_from(number).expect("small");
        let status = Arc::new(Status::default());
        // As if signet-meshd had just told of the endpoints.
        status.sight.open();
        let leases = Leases::new(view.subscribe(), setup.leases.clone(), status.clone());
        let keeping = keep(leases.clone(), view.subscribe(), knowledge.endpoints.clone());
        let context = Context {
            name,
            trust_domain: ca.domain.clone(),
            instance: Instance([byte; 16]),
            access: access_watch,
            bundles: view.clone(),
            knowledge: knowledge.clone(),
            leases: leases.clone(),
            limits: setup.limits,
            tls_deadline: setup.tls_deadline,
        };
        let (sessions, transport) = Sessions::new(context, pairs.clone());
        let auth = setup.auth;
        let actor = Actor::new(
            knowledge,
            sessions.clone(),
            view.clone(),
            auth.clone(),
            status.clone(),
        );
        let (demand, demands) = watch::channel(None);
        let actor = match setup.ahead {
            Some(bounds) => actor.proving_ahead(demands, bounds, None),
            None => actor,
        };
        let cleared = actor.cleared();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(actor.run(events));
        tasks.spawn(keeping);
        tasks.spawn(sessions.clone().end_revoked());
        tasks.spawn(listen(listener, sessions.clone(), Arc::new(setup.gate)));
        Self {
            number,
            view,
            pairs,
            sessions,
            auth,
            leases: setup.leases,
            status,
            endpoints,
            demand,
            transport: Some(transport),
            address,
            cleared,
            reset: AtomicBool::new(setup.reset),
            svids,
            _access: access,
            tasks,
        }
    }

    /// Makes the node believe this, with an SVID for each workload that it then takes for its own.
    pub(crate) fn take(&self, ca: &Authority, cluster: &Cluster) {
        let update = wire::Update {
            reset: self.reset.swap(false, Ordering::SeqCst),
            ..cluster.snapshot(ca, self.number)
        };
        self.view.apply(update).expect("applies");
        self.refresh(ca);
    }

    /// An SVID and an endpoint for each registration in the view.
    fn refresh(&self, ca: &Authority) {
        let view = self.view.current().expect("a view");
        let entries = view.registrations().map(|registration| {
            let id = &registration.spiffe_id;
            let svid = WorkloadSvid::new(ca.issue(id), id, view.bundles()).expect("an SVID");
            Entry {
                registration: registration.clone(),
                svid: Some(Arc::new(svid)),
                last_error: None,
                revoked: None,
                outdated: false,
                away: false,
            }
        });
        let access = ca.access(&node_name(self.number));
        let node = Credentials::new(access.identity.key_pair.clone(), &access.identity.svid);
        let set = SvidSet::new(entries.collect()).with_node(Some(Arc::new(node)));
        self.svids.send_replace(Arc::new(set));
        let number = self.number;
        let addresses = view.registrations().map(|registration| {
            (
                address(number, registration.identity.0),
                registration.spiffe_id.clone(),
            )
        });
        self.endpoints
            .send_replace(Some(Arc::new(Endpoints::with_addresses(addresses))));
    }

    /// Runs a future as long as the node lives.
    pub(crate) fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    pub(crate) async fn prove(&self, local: u32, remote: u32, node: u32) -> PairReport {
        tokio::time::timeout(PATIENCE, self.pairs.prove(key(local, remote, node)))
            .await
            .expect("answers in time")
            .expect("answers")
    }

    /// What the node knows at the moment.
    pub(crate) fn knowledge(&self) -> Knowledge {
        Knowledge::new(
            self.view.subscribe(),
            self.svids.subscribe(),
            self.endpoints.subscribe(),
        )
    }

    /// The SVID of a workload of this node.
    pub(crate) fn svid(&self, number: u32) -> Arc<WorkloadSvid> {
        let set = self.svids.borrow();
        let mut entries = set.entries().iter();
        let entry = entries.find(|entry| entry.registration.spiffe_id == workload(number));
        entry.and_then(|entry| entry.svid.clone()).expect("has one")
    }

    /// Gives it another SVID for what is registered as the workload `number`.
    pub(crate) fn hold(&self, number: u32, svid: WorkloadSvid) {
        let mut entries = self.svids.borrow().entries().to_vec();
        let mut of = entries.iter_mut();
        let entry = of.find(|entry| entry.registration.spiffe_id == workload(number));
        entry.expect("registered").svid = Some(Arc::new(svid));
        self.svids.send_replace(Arc::new(SvidSet::new(entries)));
    }

    /// Handshakes that were begun before anybody asked, and gave no proof.
    pub(crate) fn ahead_failed(&self) -> u64 {
        self.status.ahead.failed()
    }

    /// The same that gave one.
    pub(crate) fn ahead_proven(&self) -> u64 {
        self.status.ahead.proven()
    }

    /// What is worth a proof from now on: pairs of local number, remote number, node.
    pub(crate) fn want(&self, pairs: &[(u32, u32, u32)]) {
        let groups = pairs.iter().map(|(local, remote, node)| Group {
            locals: [SecurityIdentity(*local)].into(),
            remotes: [Place {
                identity: SecurityIdentity(*remote),
                node: NodeId(*node),
            }]
            .into(),
        });
        self.demand.send_replace(Some(Arc::new(Demand::new(groups))));
    }

    pub(crate) fn signal(&self, local: u32, remote: u32, node: u32) {
        let AuthKey { local, remote, node } = key(local, remote, node);
        assert!(self.pairs.signal(Signal {
            local,
            remote,
            node,
            family: 4,
            ..Signal::default()
        }));
    }
}

/// The address of a workload on a node.
pub(crate) fn address(node: u32, workload: u32) -> IpAddr {
    let last = u8::try_from(workload % 250 + 1).expect("small");
    IpAddr::from([10, 244, u8::try_from(node).expect("small"), last])
}

pub(crate) fn key(local: u32, remote: u32, node: u32) -> AuthKey {
    AuthKey {
        local: SecurityIdentity(local),
        remote: SecurityIdentity(remote),
        node: NodeId(node),
    }
}

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}

/// A TLS connection as somebody with this SVID would make it.
pub(crate) async fn connect(
    ca: &Authority,
    to: SocketAddr,
    svid: &SvidKeyPair,
) -> std::io::Result<TlsStream<TcpStream>> {
    let trusted = Arc::new(FixedBundles::new(ca.bundles()));
    let expect = Expect::AnyNode(ca.domain.clone());
    let config = client_config(Some(svid), trusted, expect).expect("a configuration");
    let stream = TcpStream::connect(to).await?;
    let name = ServerName::try_from("x.invalid").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// A well-formed hello of a start that no honest node has.
pub(crate) fn hello(node: u32) -> Message {
    Message::Hello(Hello {
        min_version: VERSION,
        max_version: VERSION,
        node: NodeNumber::new(node).expect("not zero"),
        instance: Instance([99; 16]),
    })
}

pub(crate) async fn send(stream: &mut TlsStream<TcpStream>, bytes: &[u8]) {
    stream.write_all(bytes).await.expect("sends");
    stream.flush().await.expect("sends");
}
