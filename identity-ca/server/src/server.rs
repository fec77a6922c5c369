//! Starts and stops the daemon.

use std::convert::Infallible;
use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

use anyhow::{Context, bail};
use signet_authority::{DataDirectory, DirectoryError, IssuedSvid};
use signet_log::Caller;
use signet_proto::ca::v1::downstream_service_server::DownstreamServiceServer;
use signet_proto::ca::v1::node_attestation_server::NodeAttestationServer;
use signet_proto::ca::v1::node_service_server::NodeServiceServer;
use signet_proto::ca::v1::wit_service_server::WitServiceServer;
use signet_registry::Registry;
use signet_spiffe::{BundleSet, NodeName, X509Bundle};
use signet_telemetry::Throttle;
use signet_tls::{BundleSource, SharedBundles};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use crate::attestation::{Attestors, Exchanges};
use crate::audit::{Audit, Event, Gate, Gated, Record};
use crate::authorities::{self, Maker, Upstream};
use crate::bundle_endpoint::{BundleEndpoint, Endpoint, EndpointIdentity};
use crate::ca::Ca;
use crate::caller::Applicant;
use crate::config::{Config, Storage};
use crate::connected::Connected;
use crate::database::{self, Database};
use crate::federation;
use crate::fitness::{self, Fitness};
use crate::issue_wit::Wits;
use crate::keys::{GUARD, Keys};
use crate::known::Known;
use crate::limits::{
    AUDITED, AUDITED_PER, CALL, HEADERS, LOCK, PING, PONG, REQUEST, RESPONSE, SHUTDOWN, STREAMS, TOLD,
    TOLD_PER,
};
use crate::listener::{Listener, Welcome};
use crate::log::{self, Log};
use crate::log_service;
use crate::metrics;
use crate::nested::{self, Downstreams, Followers, Link};
use crate::node_service::Nodes;
use crate::operators;
use crate::outage;
use crate::own_svid::{self, Shows};
use crate::probe::probe;
use crate::refusal;
use crate::sync::{Feed, WithParts};

/// Pause after a failed `accept`, so that it does not spin.
const TURN_AWAY_PAUSE: Duration = Duration::from_millis(50);

/// A running CA.
#[derive(Debug)]
pub struct Server {
    ca: Arc<Ca>,
    address: SocketAddr,
    services: JoinSet<anyhow::Result<()>>,
    rest: Rest,
    /// Where other CAs may revoke, too.
    honouring: Option<JoinHandle<()>>,
    checkpoints: JoinHandle<()>,
    rotation: JoinHandle<()>,
    following: JoinHandle<()>,
    /// Where another Signet CA is above.
    nested: Option<JoinHandle<()>>,
    _locks: Locks,
}

impl Server {
    /// Opens the storage, binds both sockets and begins to serve. Where the authority that signs has ended and none can be made in its
    /// place, or where its key cannot be opened, nodes are turned away, and only what needs no SVID of the CA's own is served: operators on
    /// this host, who can do something about it, and a bundle endpoint with a web certificate. All else follows as soon as one signs.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        probe(&config).await?;
        let (ca, locks) = assemble(&config).await?;
        ca.honour().await.context("failed to read the revocations")?;
        let tcp = TcpListener::bind(config.listen)
            .await
            .with_context(|| format!("failed to listen on {}", config.listen))?;
        let address = tcp.local_addr()?;
        let mut services = JoinSet::new();
        operators::serve_socket(&mut services, &ca, &config.socket)?;
        listen_for_scrapes(&mut services, &ca, config.metrics).await?;
        let nested = ca.link.as_ref().map(|link| {
            let (ca, link) = (Arc::clone(&ca), Arc::clone(link));
            tokio::spawn(nested::run(ca, link))
        });
        let rotation = tokio::spawn(authorities::run(Arc::clone(&ca)));
        let web = listen_for_bundles(&mut services, &ca, &config, Web::Yes).await?;
        let mut rest = if authorities::signs_soon(&ca).await {
            serve_rest(&mut services, &ca, &config, tcp).await?
        } else {
            let (ca, config) = (Arc::clone(&ca), config.clone());
            services.spawn(async move {
                tokio::select! {
                    () = authorities::until_it_signs(&ca) => {}
                    never = turn_away(&tcp) => match never {},
                }
                let mut services = JoinSet::new();
                let _rest = serve_rest(&mut services, &ca, &config, tcp).await?;
                services.join_next().await.unwrap_or(Ok(Ok(())))?
            });
            Rest::default()
        };
        rest.endpoint = rest.endpoint.or(web);
        let following = tokio::spawn(federation::follow(Arc::clone(&ca)));
        let honouring = if config.storage.is_shared() {
            Some(tokio::spawn(among_others(Arc::clone(&ca))))
        } else if ca.link.is_some() {
            // What the CA above revokes is written down by whatever hears of it first.
            Some(tokio::spawn(database::honour_others(Arc::clone(&ca))))
        } else {
            None
        };
        let checkpoints = tokio::spawn(log_service::sign_now_and_then(Arc::clone(&ca)));
        info!(
            trust.domain = %ca.trust_domain(), listen = %address, socket = %config.socket.display(),
            key.storage = ca.key_storage, "the CA is ready"
        );
        Ok(Self {
            ca,
            address,
            services,
            rest,
            honouring,
            checkpoints,
            rotation,
            following,
            nested,
            _locks: locks,
        })
    }

    /// Where agents connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the bundle endpoint listens, if there is one.
    pub fn bundle_endpoint(&self) -> Option<SocketAddr> {
        self.rest.endpoint
    }

    /// Where operators connect over TLS, if they may.
    pub fn operators(&self) -> Option<SocketAddr> {
        self.rest.operators
    }

    /// Goes on in a new audit log if the old one was renamed.
    pub fn reopen_audit_log(&self) {
        self.ca.audit.reopen();
    }

    /// The trust bundle: what an agent is started with.
    pub fn bundle(&self) -> X509Bundle {
        self.ca.signing.latest().bundle.x509.clone()
    }

    /// What `IssueX509Svid` does for a node once its connection is verified, for whoever runs the CA in their own process:
    /// authorization, certificate, log.
    pub async fn issue(
        &self,
        node: &NodeName,
        registration: &str,
        csr: &[u8],
    ) -> Result<IssuedSvid, tonic::Status> {
        let known = self.ca.known.node(&self.ca.registry, node).await;
        let known = known.map_err(|error| refusal::storage("issue", &error))?;
        let known = known.ok_or_else(|| tonic::Status::not_found(format!("there is no node {node}")))?;
        let applicant = Applicant {
            node: node.clone(),
            number: known.number,
            logged: Caller::Node(node.clone()),
            shown: None,
        };
        self.ca.issue_registered(applicant, registration, csr).await
    }

    /// Ends with the first service that ends, which none does on its own.
    pub async fn failed(&mut self) -> anyhow::Error {
        match self.services.join_next().await {
            Some(Ok(Err(error))) => error,
            Some(Err(error)) => error.into(),
            Some(Ok(Ok(()))) | None => anyhow::anyhow!("a service ended on its own"),
        }
    }

    /// Ends streams, waits a while for open calls, and closes the registry.
    pub async fn shutdown(mut self) {
        self.ca.shutdown.cancel();
        if let Some(honouring) = &self.honouring {
            honouring.abort();
        }
        self.checkpoints.abort();
        self.rotation.abort();
        self.following.abort();
        if let Some(nested) = &self.nested {
            nested.abort();
        }
        let finished = timeout(SHUTDOWN, async {
            while self.services.join_next().await.is_some() {}
        })
        .await;
        if finished.is_err() {
            warn!("some calls did not end in time and were cut off");
            self.services.shutdown().await;
        }
        // What came since the last one is held to as well.
        if let Err(error) = self
            .ca
            .log
            .checkpoint(&self.ca.registry, self.ca.clock.now())
            .await
        {
            warn!(%error, "no last checkpoint of the issuance log was signed");
        }
        if self.ca.audit.keep(Record::new(Event::Closed)).await.is_err() {
            warn!("the end could not be written into the audit log");
        }
        self.ca.registry.close().await;
        info!("the CA has shut down");
    }
}

/// What is served with an SVID of the CA's own.
#[derive(Debug, Default)]
struct Rest {
    /// Ends with this.
    _renewal: Option<AbortOnDropHandle<()>>,
    endpoint: Option<SocketAddr>,
    operators: Option<SocketAddr>,
}

/// Nodes, operators from afar, and whoever asks for the bundle.
async fn serve_rest(
    services: &mut JoinSet<anyhow::Result<()>>,
    ca: &Arc<Ca>,
    config: &Config,
    tcp: TcpListener,
) -> anyhow::Result<Rest> {
    let bundles: Arc<dyn BundleSource> = ca.bundles.clone();
    let shows = Shows::to_nodes(ca);
    let own = own_svid::make(ca, &bundles, &shows).await?;
    let (tls, current) = watch::channel(Arc::clone(&own.config));
    let listener = Listener {
        tcp,
        tls: current,
        bundles: Arc::clone(&bundles),
        clock: config.clock.clone(),
        welcome: Welcome::Nodes(Arc::clone(ca)),
    };
    let operators = operators::serve_remote(services, ca, &bundles).await?;
    services.spawn(serve_nodes(Arc::clone(ca), listener));
    let endpoint = listen_for_bundles(services, ca, config, Web::No).await?;
    let renewal = tokio::spawn(own_svid::renew(Arc::clone(ca), bundles, shows, tls, own));
    Ok(Rest {
        _renewal: Some(AbortOnDropHandle::new(renewal)),
        endpoint,
        operators,
    })
}

/// Whether a bundle endpoint shows a web certificate, which it has without anybody's signature here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Web {
    Yes,
    No,
}

/// Ends each connection at once: who comes goes on to another CA sooner than if nobody answered.
async fn turn_away(tcp: &TcpListener) -> Infallible {
    loop {
        if tcp.accept().await.is_err() {
            sleep(TURN_AWAY_PAUSE).await;
        }
    }
}

/// Opens the storage, the keys and the issuance log, and makes a CA of them.
async fn assemble(config: &Config) -> anyhow::Result<(Arc<Ca>, Locks)> {
    config.rotation.check()?;
    let mut opened = open(config).await?;
    let audit = Audit::start(config.operations.audit.as_ref(), config.clock.clone())
        .context("the audit log cannot be written")?;
    opened.registry = audit.observe(&opened.registry);
    if opened.directory.is_some() {
        opened.registry = opened.registry.guarded(GUARD);
    }
    let directory = opened.directory.as_ref();
    let now = config.clock.now();
    let itself = opened.registry.acting(Caller::Ca, now);
    let keys = match directory {
        Some(directory) => Keys::open(&config.keys, directory, &itself).await?,
        None => Keys::in_memory(),
    };
    let directory = directory.map(|directory| &**directory);
    let key = log::key(&config.trust_domain, &keys, directory, &itself).await?;
    let (writer, writing) = opened.registry.log_writer();
    let log = Log::new(writer, key, directory);
    let lost = log
        .check(&opened.registry, config.accept_restored_registry)
        .await?;
    tokio::spawn(writing);
    if let Some(lost) = lost {
        log.restored(&opened.registry, lost, now).await?;
    }
    let link = match &config.upstream {
        Upstream::Signet(above) => {
            let link = Link::new(above.clone(), config.trust_domain.clone(), itself.clone(), now);
            Some(Arc::new(link.await?))
        }
        Upstream::None | Upstream::Disk(_) | Upstream::Files => None,
    };
    let maker = Maker {
        trust_domain: config.trust_domain.clone(),
        manager: keys.manager(),
        rotation: config.rotation,
        upstream: config.upstream.clone(),
        link: link.clone(),
    };
    let issuer = config
        .jwt_issuer
        .as_ref()
        .map(|issuer| issuer.as_str().to_owned());
    let signing = authorities::begin(&itself, maker, directory, issuer, now).await?;
    let bundle = signing.latest().bundle.x509.clone();
    let ca = Arc::new(Ca {
        trust_domain: config.trust_domain.clone(),
        signing,
        keys,
        upstream: config.upstream.clone(),
        link,
        registry: opened.registry,
        log,
        known: Known::default(),
        bundles: Arc::new(SharedBundles::new(BundleSet::single(bundle))),
        honouring: tokio::sync::Mutex::default(),
        honoured: watch::Sender::new(0),
        lists_for_all: tokio::sync::Mutex::default(),
        outage: tokio::sync::Mutex::default(),
        connected: Connected::default(),
        followers: Followers::default(),
        feed: Feed::default(),
        clock: config.clock.clone(),
        svid_ttl: config.svid_ttl,
        node_svid_ttl: config.node_svid_ttl,
        jwt_svid_ttl: config.jwt_svid_ttl,
        key_storage: match &config.storage {
            Storage::Memory => "memory".to_owned(),
            Storage::Directory(path) | Storage::Database { directory: path, .. } => {
                path.display().to_string()
            }
        },
        issued: AtomicU64::new(0),
        attestors: Attestors::new(&config.attestation)?,
        refused_tokens: Throttle::new(TOLD, TOLD_PER),
        issued_jwt: AtomicU64::new(0),
        serials: AtomicU32::new(0),
        audit,
        operations: config.operations.clone(),
        refused_operators: Throttle::new(AUDITED, AUDITED_PER),
        refused_calls: Throttle::new(AUDITED, AUDITED_PER),
        fitness: Fitness::default(),
        shutdown: CancellationToken::new(),
    });
    if let Some(link) = &ca.link {
        link.honour(&ca.bundles);
    }
    Ok((ca, (opened.directory, opened.lock)))
}

/// What keeps other CAs away, for as long as it lives.
type Locks = (Option<Arc<DataDirectory>>, Option<File>);

/// What a CA does for ever that is not the only one.
async fn among_others(ca: Arc<Ca>) {
    tokio::join!(database::honour_others(Arc::clone(&ca)), fitness::watch(&ca));
}

struct Opened {
    registry: Registry,
    /// Held for its lock.
    lock: Option<File>,
    directory: Option<Arc<DataDirectory>>,
}

async fn open(config: &Config) -> anyhow::Result<Opened> {
    outage::Lives::of(config).check()?;
    let (directory, database) = match &config.storage {
        Storage::Memory => (None, None),
        Storage::Directory(path) => (Some(path), None),
        Storage::Database { directory, database } => (Some(directory), Some(database)),
    };
    let opened = if let Some(path) = directory {
        let directory = lock(path).await?;
        let lock = match database {
            Some(database) => database::lock(database).await?,
            None => None,
        };
        Opened {
            lock,
            registry: open_registry(&directory, database).await?,
            directory: Some(Arc::new(directory)),
        }
    } else {
        warn!("keys and registry are in memory alone: a restart begins from nothing");
        Opened {
            lock: None,
            registry: Registry::in_memory().await?,
            directory: None,
        }
    };
    let registry = opened.registry.acting(Caller::Ca, config.clock.now());
    registry.bind_trust_domain(&config.trust_domain).await?;
    outage::announce_target(&registry, config.availability_target).await?;
    Ok(opened)
}

/// Opens the directory; gives a CA that is about to end some time to do so.
pub(crate) async fn lock(path: &Path) -> Result<DataDirectory, DirectoryError> {
    let until = Instant::now() + LOCK;
    loop {
        match DataDirectory::open(path) {
            Err(DirectoryError::Locked { .. }) if Instant::now() < until => sleep(LOCK / 20).await,
            opened => return opened,
        }
    }
}

/// The registry, in the data directory or elsewhere.
pub(crate) async fn open_registry(
    directory: &DataDirectory,
    database: Option<&Database>,
) -> anyhow::Result<Registry> {
    if let Some(database) = database {
        return database::open(database).await;
    }
    let file = directory.private_file("registry.db")?;
    Registry::open(&file)
        .await
        .with_context(|| format!("failed to open {}", file.display()))
}

pub(crate) fn limited() -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .timeout(CALL)
        .max_concurrent_streams(STREAMS)
        .http2_max_header_list_size(HEADERS)
        .http2_keepalive_interval(Some(PING))
        .http2_keepalive_timeout(Some(PONG))
}

async fn serve_nodes(ca: Arc<Ca>, listener: Listener) -> anyhow::Result<()> {
    let service = NodeServiceServer::new(Nodes(Arc::clone(&ca)))
        .max_decoding_message_size(REQUEST)
        .max_encoding_message_size(RESPONSE);
    let service = WithParts {
        ca: Arc::clone(&ca),
        others: service,
    };
    let attestation =
        NodeAttestationServer::new(Exchanges(Arc::clone(&ca))).max_decoding_message_size(REQUEST);
    let below = DownstreamServiceServer::new(Downstreams(Arc::clone(&ca)))
        .max_decoding_message_size(REQUEST)
        .max_encoding_message_size(RESPONSE);
    let wits = WitServiceServer::new(Wits(Arc::clone(&ca))).max_decoding_message_size(REQUEST);
    let serving = limited()
        .layer(Gate::new(Arc::clone(&ca), Gated::Nodes))
        .add_service(service)
        .add_service(wits)
        .add_service(attestation)
        .add_service(below)
        .serve_with_incoming_shutdown(listener.incoming(), ca.shutdown.cancelled());
    let feeding = ca.feed.run(ca.registry.watch(), || ca.connected.count());
    tokio::select! {
        served = serving => served.context("the service for nodes failed"),
        () = feeding => bail!("the registry is gone"),
    }
}

async fn listen_for_scrapes(
    services: &mut JoinSet<anyhow::Result<()>>,
    ca: &Arc<Ca>,
    address: Option<SocketAddr>,
) -> anyhow::Result<()> {
    if let Some(address) = address {
        let scrapes = TcpListener::bind(address)
            .await
            .with_context(|| format!("failed to listen on {address} for metrics"))?;
        services.spawn(serve_metrics(Arc::clone(ca), scrapes));
    }
    Ok(())
}

async fn listen_for_bundles(
    services: &mut JoinSet<anyhow::Result<()>>,
    ca: &Arc<Ca>,
    config: &Config,
    web: Web,
) -> anyhow::Result<Option<SocketAddr>> {
    let with = |endpoint: &&BundleEndpoint| match endpoint.identity {
        EndpointIdentity::Web { .. } => web == Web::Yes,
        EndpointIdentity::Spiffe => web == Web::No,
    };
    let Some(wanted) = config.bundle_endpoint.as_ref().filter(with) else {
        return Ok(None);
    };
    let endpoint = Endpoint::bind(ca, wanted, config.jwt_issuer.as_ref()).await?;
    let address = endpoint.address()?;
    services.spawn(endpoint.serve(Arc::clone(ca)));
    Ok(Some(address))
}

async fn serve_metrics(ca: Arc<Ca>, listener: TcpListener) -> anyhow::Result<()> {
    let ended = ca.shutdown.clone();
    let serving = signet_metrics::serve(listener, move || {
        let ca = Arc::clone(&ca);
        async move {
            ca.status(false)
                .await
                .ok()
                .map(|status| metrics::page(&status, ca.clock.now()))
        }
    });
    ended.run_until_cancelled(serving).await;
    Ok(())
}
