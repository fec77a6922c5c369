//! A fleet of agents on one `signet-ca`: how long a cold start of everything takes, and what the CA needs afterwards.
//!
//! The agents are simulated in this process, on the same cores, each with a TLS connection, a node SVID and a stream of its own.
//! `SIGNET_BENCH_AGENTS` says how many (5,000), each with two workloads. First with SQLite, then with PostgreSQL.

#![recursion_limit = "256"]
#![expect(clippy::print_stdout, reason = "the result of a bench is its output")]
#![expect(
    clippy::unwrap_used,
    reason = "a bench that cannot go on has nothing to measure"
)]

#[path = "../tests/ca/daemon.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod daemon;
#[path = "../tests/ca/running.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod running;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signet_figures::{Aim, Figures, Scale, Usage};
use signet_proto::ca::v1::node_service_client::NodeServiceClient;
use signet_proto::ca::v1::{
    AttestRequest, CreateJoinTokenRequest, IssueX509SvidRequest, RegisterAllRequest, RegisterRequest,
    SyncRequest,
};
use signet_proto::view::v1::Update;
use signet_spiffe::{BundleSet, SpiffeId};
use signet_test_postgres::Server;
use signet_tls::{Expect, FixedBundles, SvidKeyPair, client_config};
use tokio::net::TcpSocket;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

use daemon::Daemon;
use running::{domain, pair, request};

const WORKLOADS: usize = 2;

/// How long the quiet fleet is watched, seconds.
const WATCHED: u64 = 40;

/// Registrations that are made while everybody follows.
const CHANGES: u32 = 20;

/// One simulated agent.
#[derive(Clone)]
struct Agent {
    name: String,
    /// Each calls from an address of its own, as nodes do.
    from: Ipv4Addr,
    identity: Arc<SvidKeyPair>,
}

fn main() {
    signet_figures::run("fleet", |scale| {
        let agents = std::env::var("SIGNET_BENCH_AGENTS").ok();
        let agents = agents.and_then(|text| text.parse().ok());
        let agents = agents.unwrap_or_else(|| scale.pick(5_000, 8));
        let limit = getrlimit(Resource::Nofile);
        let open = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        setrlimit(Resource::Nofile, open).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        println!(
            "{agents} agents with {} workloads, simulated on the same cores",
            agents * WORKLOADS
        );
        runtime.block_on(measure("SQLite", None, agents, scale));
        match Server::start_durable() {
            Ok(server) => {
                let url = server.database().unwrap();
                runtime.block_on(measure("PostgreSQL", Some(&url), agents, scale));
            }
            Err(missing) => println!("PostgreSQL is not measured: {missing}"),
        }
    });
}

fn seconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64()
}

fn usage(ca: &Daemon) -> Usage {
    Usage::of(ca.process.id()).unwrap()
}

async fn measure(database: &str, url: Option<&str>, count: usize, scale: Scale) {
    println!("{database}");
    let figures = Figures::of(&format!("fleet: {database}"));
    let directory = tempfile::tempdir().unwrap();
    let start = || {
        Daemon::start_with(directory.path(), |command| {
            command.envs(url.map(|url| ("SIGNET_CA_DATABASE", url)));
        })
    };
    let ca = start();
    let began = Instant::now();
    let agents = join(&ca, count).await;
    let rate = as_f64(count) / seconds(began);
    figures.line("nodes joined for the first time", rate, "per second", None);
    let began = Instant::now();
    register(&ca, &agents).await;
    let rate = as_f64(count * WORKLOADS) / seconds(began);
    figures.line(
        "workloads registered, a thousand at a time",
        rate,
        "per second",
        None,
    );
    drop(ca);

    let began = Instant::now();
    let ca = start();
    let bundles = ca.bundles().await;
    let mut starting = JoinSet::new();
    for agent in &agents {
        starting.spawn(cold_start(agent.clone(), ca.address, bundles.clone()));
    }
    let mut served = Vec::new();
    while let Some(done) = starting.join_next().await {
        let mut started = done.unwrap();
        started.took = began.elapsed();
        served.push(started);
    }
    let took = seconds(began);
    let tries: u32 = served.iter().map(|started| started.tries).sum();
    let median = served[served.len() / 2].took.as_secs_f64();
    let aim = |most| Some(Aim::AtMost(most));
    figures.line("cold start until half are served", median, "s", None);
    figures.line("cold start until all are served", took, "s", aim(60.0));
    figures.line("attempts of an agent", f64::from(tries) / as_f64(count), "", None);
    let then = usage(&ca);
    figures.line("CPU of the CA until then", then.cpu, "s", None);
    figures.line("RSS of the CA then", then.rss, "MB", None);
    Fleet {
        figures,
        ca: &ca,
        watched: Duration::from_secs(scale.pick(WATCHED, 1)),
        changes: scale.pick(CHANGES, 2),
    }
    .quiet(served)
    .await;
}

/// Agents that are all served.
struct Fleet<'a> {
    figures: Figures,
    ca: &'a Daemon,
    watched: Duration,
    changes: u32,
}

impl Fleet<'_> {
    /// Follows everybody, renews as many SVIDs as a fleet with lives of an hour does, then changes something.
    async fn quiet(&self, served: Vec<Started>) {
        let (told, mut heard) = mpsc::unbounded_channel();
        let mut clients = BTreeMap::new();
        let mut renewals = Vec::new();
        for started in served {
            let Started {
                agent,
                client,
                mut stream,
                registrations,
                ..
            } = started;
            renewals.extend(registrations.into_iter().map(|id| (agent.name.clone(), id)));
            clients.insert(agent.name.clone(), client);
            let told = told.clone();
            tokio::spawn(async move {
                loop {
                    match stream.message().await {
                        Ok(Some(update)) => drop(told.send((agent.name.clone(), update, Instant::now()))),
                        // A real one would come back and go on; this one hears of nothing any more.
                        ended => {
                            println!("the stream of {} ended: {ended:?}", agent.name);
                            return;
                        }
                    }
                }
            });
        }
        sleep(self.watched.min(Duration::from_secs(5))).await;
        while heard.try_recv().is_ok() {}

        let pause = Duration::from_mins(30) / u32::try_from(renewals.len()).unwrap();
        let (before, began) = (usage(self.ca).cpu, Instant::now());
        for (number, (name, registration)) in renewals.iter().cycle().enumerate() {
            let due = began + pause * u32::try_from(number).unwrap();
            if due >= began + self.watched {
                break;
            }
            sleep(due.saturating_duration_since(Instant::now())).await;
            let call = IssueX509SvidRequest {
                registration: registration.clone(),
                csr: request().1,
            };
            clients[name].clone().issue_x509_svid(call).await.unwrap();
        }
        sleep(self.watched.saturating_sub(began.elapsed())).await;
        let then = usage(self.ca);
        let used = (then.cpu - before) / seconds(began) * 100.0;
        let aim = |most| Some(Aim::AtMost(most));
        self.figures.line(
            "CPU of the CA at a life of an hour",
            used,
            "% of a core",
            aim(10.0),
        );
        self.figures.line("RSS of the CA", then.rss, "MB", aim(150.0));
        self.told(&clients, &renewals, heard).await;
    }

    /// Registers something now and then, which everybody hears of.
    async fn told(
        &self,
        clients: &BTreeMap<String, NodeServiceClient<Channel>>,
        places: &[(String, String)],
        mut heard: mpsc::UnboundedReceiver<(String, Update, Instant)>,
    ) {
        let csr = request().1;
        let before = usage(self.ca).cpu;
        let (mut first, mut last, mut bytes, mut deaf) = (Vec::new(), Vec::new(), 0, 0);
        for number in 0..self.changes {
            let on = places[usize::try_from(number).unwrap() * 7].0.clone();
            let began = Instant::now();
            let order = registration(&on, 1_000 + number);
            let made = self.ca.operator.clone().register(order).await;
            let id = made.unwrap().into_inner().id;
            // By what each has heard of, not by how many updates there were: one may tell of two changes, or of half of what was new.
            let mut at_least = None;
            let mut others: BTreeSet<_> = clients.keys().cloned().collect();
            let mut reached = BTreeMap::new();
            while !others.is_empty() {
                let Ok(next) = timeout(Duration::from_secs(30), heard.recv()).await else {
                    println!(
                        "{} agents did not hear of change {number}: {others:?}",
                        others.len()
                    );
                    deaf += others.len();
                    break;
                };
                let (name, update, at) = next.unwrap();
                bytes = prost::Message::encoded_len(&update);
                let is_it = update
                    .registrations
                    .iter()
                    .any(|registration| registration.id == id);
                if at_least.is_some_and(|least| update.revision >= least) {
                    others.remove(&name);
                } else {
                    reached.insert(name.clone(), update.revision);
                }
                if name == on && is_it {
                    let least = *at_least.insert(update.revision);
                    others.retain(|other| reached.get(other).is_none_or(|reached| *reached < least));
                    let call = IssueX509SvidRequest {
                        registration: id.clone(),
                        csr: csr.clone(),
                    };
                    clients[&name].clone().issue_x509_svid(call).await.unwrap();
                    first.push((at - began).as_secs_f64() * 1e3);
                }
                if others.is_empty() {
                    last.push((at - began).as_secs_f64() * 1e3);
                }
            }
        }
        for (what, mut times) in [
            ("registration → its agent, median", first),
            ("registration → the last agent, median", last),
        ] {
            times.sort_by(f64::total_cmp);
            let median = times.get(times.len() / 2).copied().unwrap_or(f64::NAN);
            self.figures.line(what, median, "ms", None);
        }
        let none = Some(Aim::AtMost(0.0));
        self.figures
            .line("not told of a change within 30 s", as_f64(deaf), "", none);
        self.figures
            .line("one change to one agent", as_f64(bytes), "bytes", None);
        let used = (usage(self.ca).cpu - before) / f64::from(self.changes) * 1e3;
        self.figures
            .line("CPU of the CA for one change, told to all", used, "ms", None);
    }
}

fn as_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}

async fn join(ca: &Daemon, count: usize) -> Vec<Agent> {
    let places = Arc::new(Semaphore::new(16));
    let mut joining = JoinSet::new();
    let (address, bundles) = (ca.address, ca.bundles().await);
    for number in 0..count {
        let (places, mut operator, bundles) = (Arc::clone(&places), ca.operator.clone(), bundles.clone());
        joining.spawn(async move {
            let _place = places.acquire_owned().await.unwrap();
            let number = u32::try_from(number).unwrap();
            let name = format!("n{number}");
            let [_, _, high, low] = number.to_be_bytes();
            let token = CreateJoinTokenRequest {
                node: name.clone(),
                pod_cidrs: vec![format!("10.{high}.{low}.0/24")],
                ..CreateJoinTokenRequest::default()
            };
            let join_token = operator
                .create_join_token(token)
                .await
                .unwrap()
                .into_inner()
                .token;
            let (key, csr) = request();
            let from = Ipv4Addr::new(127, 80 + high, low, 1);
            let mut stranger = connect(address, from, None, &bundles).await.unwrap();
            let attested = stranger.attest(AttestRequest { join_token, csr }).await.unwrap();
            let identity = Arc::new(pair(&key, &attested.into_inner().svid.unwrap()));
            Agent { name, from, identity }
        });
    }
    joining.join_all().await
}

fn registration(on: &str, number: u32) -> RegisterRequest {
    RegisterRequest {
        spiffe_id: format!("spiffe://td/ns/{on}/sa/w{number}"),
        node: on.to_owned(),
        selectors: vec![format!("unix:uid:{number}")],
        ..RegisterRequest::default()
    }
}

async fn register(ca: &Daemon, agents: &[Agent]) {
    let all: Vec<_> = agents
        .iter()
        .flat_map(|agent| {
            (0..WORKLOADS).map(|number| registration(&agent.name, u32::try_from(number).unwrap()))
        })
        .collect();
    for part in all.chunks(1_000) {
        let order = RegisterAllRequest {
            registrations: part.to_vec(),
            ..RegisterAllRequest::default()
        };
        ca.operator.clone().register_all(order).await.unwrap();
    }
}

/// An agent that has all that it needs.
struct Started {
    agent: Agent,
    client: NodeServiceClient<Channel>,
    stream: Streaming<Update>,
    registrations: Vec<String>,
    tries: u32,
    took: Duration,
}

/// With nothing but the node's SVID: the whole view, and an SVID for each registration. Comes back like a real one where it is
/// turned away.
async fn cold_start(agent: Agent, address: SocketAddr, bundles: BundleSet) -> Started {
    let csr = request().1;
    let mut tries = 0;
    loop {
        tries += 1;
        if let Ok((client, stream, registrations)) = attempt(&agent, address, &bundles, &csr).await {
            return Started {
                agent,
                client,
                stream,
                registrations,
                tries,
                took: Duration::ZERO,
            };
        }
        let spread = u64::from(u32::from(agent.from) % 1_000);
        sleep(Duration::from_millis((250 << tries.min(4)) + spread)).await;
    }
}

type Served = (NodeServiceClient<Channel>, Streaming<Update>, Vec<String>);

async fn attempt(
    agent: &Agent,
    address: SocketAddr,
    bundles: &BundleSet,
    csr: &[u8],
) -> Result<Served, Status> {
    let failed = |error: &dyn std::fmt::Display| Status::unavailable(error.to_string());
    let client = connect(address, agent.from, Some(&agent.identity), bundles).await;
    let mut client = client
        .map_err(|error| failed(&error))?
        .max_decoding_message_size(64 << 20);
    let call = SyncRequest {
        session_port: 4250,
        ..SyncRequest::default()
    };
    let mut stream = client.sync(call).await?.into_inner();
    let snapshot = stream.message().await?.ok_or_else(|| failed(&"no snapshot"))?;
    let ids: Vec<_> = snapshot
        .registrations
        .iter()
        .map(|registration| registration.id.clone())
        .collect();
    drop(snapshot);
    assert_eq!(ids.len(), WORKLOADS, "all is registered");
    for id in &ids {
        let call = IssueX509SvidRequest {
            registration: id.clone(),
            csr: csr.to_vec(),
        };
        client.issue_x509_svid(call).await?;
    }
    Ok((client, stream, ids))
}

async fn connect(
    address: SocketAddr,
    from: Ipv4Addr,
    identity: Option<&SvidKeyPair>,
    bundles: &BundleSet,
) -> Result<NodeServiceClient<Channel>, tonic::transport::Error> {
    let expect = Expect::Exactly(SpiffeId::ca(&domain()));
    let bundles = Arc::new(FixedBundles::new(bundles.clone()));
    let mut config = client_config(identity, bundles, expect).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let dial = tower::service_fn(move |_| {
        let connector = connector.clone();
        async move {
            let socket = TcpSocket::new_v4()?;
            socket.bind((from, 0).into())?;
            let tcp = socket.connect(address).await?;
            tcp.set_nodelay(true)?;
            let tls = connector.connect("ca.invalid".try_into().unwrap(), tcp).await?;
            Ok::<_, std::io::Error>(TokioIo::new(tls))
        }
    });
    let endpoint = Endpoint::from_static("http://ca.invalid");
    Ok(NodeServiceClient::new(
        endpoint.connect_with_connector(dial).await?,
    ))
}
