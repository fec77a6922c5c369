//! A trust domain, an agent that is nothing but what it publishes, and brokers with somebody else's definition of the API.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, unfold};
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use signet_attest::{Attestor, EndpointTable, RequiredSelectors, Unix, WorkloadAttestor};
use signet_spiffe::{
    Audience, BundleSet, Revocations, SerialNumber, SpiffeId, Subject, TrustDomain, UnixTime, X509Bundle,
};
use signet_tls::{BundleSource, Expect, FixedBundles, SvidKeyPair, client_config};
use signet_workload_api::{JwtSvid, NoJwtSvid, Offer, Offers, SvidSource, X509Svid};
use spiffe::broker_api::SecurityHeader;
use spiffe::broker_api::pb::spiffe::broker::api_client::ApiClient;
use spiffe::broker_api::pb::spiffe::broker::{WorkloadPidReference, WorkloadReference};
use tokio::net::UnixStream;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

use crate::pods::{PodAttestor, Pods};
use crate::service::Service;
use crate::{Brokers, Host, ServeError, server};

/// Long enough for any answer on a loaded machine; reached only by a test that fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Whom the node takes for a broker.
pub(crate) const BROKER: &str = "spiffe://td.test/ns/infra/sa/proxy";
/// The node's own ID.
pub(crate) const NODE: &str = "spiffe://td.test/signet/node/n1";

pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
    domain: TrustDomain,
}

impl Authority {
    pub(crate) fn new(domain: &str) -> Self {
        let mut params = params(&format!("spiffe://{domain}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().der().clone();
        Self {
            issuer: Issuer::new(params, key),
            root,
            domain: TrustDomain::parse(domain).unwrap(),
        }
    }

    pub(crate) fn bundle(&self) -> X509Bundle {
        X509Bundle::new(self.domain.clone(), vec![self.root.clone()]).unwrap()
    }

    pub(crate) fn bundles(&self) -> BundleSet {
        BundleSet::single(self.bundle())
    }

    pub(crate) fn issue(&self, id: &str) -> SvidKeyPair {
        self.issue_until(id, SystemTime::now() + Duration::from_hours(1))
    }

    pub(crate) fn issue_until(&self, id: &str, end: SystemTime) -> SvidKeyPair {
        let mut params = params(id);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.not_before = (SystemTime::now() - Duration::from_mins(1)).into();
        params.not_after = end.into();
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        SvidKeyPair {
            chain: vec![leaf],
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        }
    }

    /// An SVID as workloads get it.
    pub(crate) fn svid(&self, path: &str) -> Arc<X509Svid> {
        let id = SpiffeId::parse(&format!("spiffe://{}{path}", self.domain)).unwrap();
        let pair = self.issue(id.as_str());
        let key = PrivatePkcs8KeyDer::from(pair.key.secret_der().to_vec());
        Arc::new(X509Svid::new(id, pair.chain.clone(), key).unwrap())
    }
}

fn params(uri: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    params
}

/// What the agent is and publishes.
#[derive(Debug)]
pub(crate) struct FakeAgent {
    pub(crate) identity: watch::Sender<Option<SvidKeyPair>>,
    pub(crate) bundles: watch::Sender<Arc<BundleSet>>,
    pub(crate) offers: watch::Sender<Arc<Offers>>,
    pub(crate) endpoints: watch::Sender<Option<Arc<EndpointTable>>>,
    /// Pods, for whoever attests those.
    pub(crate) pods: Option<watch::Receiver<Pods>>,
}

impl FakeAgent {
    /// From now on these revocations, too.
    pub(crate) fn revoke(&self, subject: Subject) {
        let mut revocations = Revocations::clone(self.bundles.borrow().revocations());
        revocations.insert(subject, "stolen".into());
        self.bundles.send_modify(|set| {
            *set = Arc::new(BundleSet::clone(set).with_revocations(Arc::new(revocations)));
        });
    }

    pub(crate) fn publish(&self, offers: Vec<Offer>) {
        let bundles = Arc::clone(&self.bundles.borrow());
        let bundles = BundleSet::clone(&bundles).with_revocations(Arc::default());
        self.offers
            .send_replace(Arc::new(Offers::new(offers, Arc::new(bundles)).unwrap()));
    }
}

impl BundleSource for FakeAgent {
    fn bundles(&self) -> Arc<BundleSet> {
        Arc::clone(&self.bundles.borrow())
    }
}

impl Host for FakeAgent {
    fn identity(&self) -> Option<SvidKeyPair> {
        self.identity.borrow().clone()
    }

    fn changes(&self) -> BoxStream<'static, ()> {
        unfold(self.bundles.subscribe(), |mut watch| async move {
            watch.changed().await.ok().map(|()| ((), watch))
        })
        .boxed()
    }
}

impl SvidSource for FakeAgent {
    fn offers(&self) -> watch::Receiver<Arc<Offers>> {
        self.offers.subscribe()
    }

    fn endpoints(&self) -> watch::Receiver<Option<Arc<EndpointTable>>> {
        self.endpoints.subscribe()
    }

    fn attestor(&self) -> Attestor {
        let Some(pods) = self.pods.clone() else {
            return Attestor::of_node(self.endpoints());
        };
        let pods = Arc::new(PodAttestor(pods)) as Arc<dyn WorkloadAttestor>;
        Attestor::new([pods, Arc::new(Unix::default())])
    }

    fn jwt_svid<'a>(
        &'a self,
        id: &'a SpiffeId,
        audience: &'a Audience,
    ) -> BoxFuture<'a, Result<Arc<JwtSvid>, NoJwtSvid>> {
        // Nobody checks it here.
        let token = format!("token of {id} for {}", audience.first());
        let svid = JwtSvid::new(id.clone(), token.into(), UnixTime::now());
        Box::pin(async { Ok(Arc::new(svid)) })
    }
}

pub(crate) type Client = ApiClient<InterceptedService<Channel, SecurityHeader>>;

/// A running endpoint on a socket of its own.
pub(crate) struct Served {
    _dir: tempfile::TempDir,
    pub(crate) socket: PathBuf,
    pub(crate) authority: Authority,
    pub(crate) agent: Arc<FakeAgent>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Result<(), ServeError>>,
}

impl Served {
    pub(crate) fn new() -> Self {
        Self::bounded(1024, 2048)
    }

    /// With these bounds on calls: of each broker, and of all.
    pub(crate) fn bounded(each: usize, total: usize) -> Self {
        Self::start(each, total, None)
    }

    /// On a node where somebody knows of pods.
    pub(crate) fn with_pods(pods: watch::Receiver<Pods>) -> Self {
        Self::start(1024, 2048, Some(pods))
    }

    fn start(each: usize, total: usize, pods: Option<watch::Receiver<Pods>>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("broker.sock");
        let authority = Authority::new("td.test");
        let agent = Arc::new(FakeAgent {
            identity: watch::Sender::new(Some(authority.issue(NODE))),
            bundles: watch::Sender::new(Arc::new(authority.bundles())),
            offers: watch::Sender::new(Arc::new(Offers::starting())),
            endpoints: watch::Sender::new(Some(Arc::default())),
            pods,
        });
        let (serving, stopping) = watch::channel(());
        let limits = signet_workload_api::Limits::default();
        let workloads = signet_workload_api::Representation::new(agent.clone(), limits, stopping.clone());
        let domain = authority.domain.clone();
        let ids = [BROKER, "spiffe://td.test/other-broker"].map(|id| SpiffeId::parse(id).unwrap());
        let brokers = Brokers::new(&domain, ids).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn({
            let (socket, agent) = (socket.clone(), agent.clone());
            async move {
                let service = Service::bounded(workloads, each, total);
                let stop = async { drop(stopped.await) };
                server::run(
                    &socket,
                    domain,
                    brokers,
                    agent,
                    service,
                    (serving, stopping),
                    stop,
                )
                .await
            }
        });
        Self {
            _dir: dir,
            socket,
            authority,
            agent,
            stop,
            server,
        }
    }

    pub(crate) async fn stop(self) -> Result<(), ServeError> {
        self.stop.send(()).unwrap();
        tokio::time::timeout(PATIENCE, self.server)
            .await
            .unwrap()
            .unwrap()
    }

    pub(crate) async fn bound(&self) {
        let bound = async {
            while !self.socket.exists() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, bound).await.unwrap();
    }

    /// A connection of whoever shows this, if anything.
    pub(crate) async fn channel(
        &self,
        identity: Option<&SvidKeyPair>,
    ) -> Result<Channel, tonic::transport::Error> {
        self.bound().await;
        channel(&self.socket, identity, self.authority.bundles()).await
    }

    /// The broker.
    pub(crate) async fn broker(&self) -> Client {
        self.client(&self.authority.issue(BROKER)).await
    }

    pub(crate) async fn client(&self, identity: &SvidKeyPair) -> Client {
        let channel = self.channel(Some(identity)).await.unwrap();
        ApiClient::with_interceptor(channel, SecurityHeader::new())
    }

    /// Registers this for each of these users.
    pub(crate) fn register(&self, offers: &[(u32, &Arc<X509Svid>)]) {
        let offers = offers.iter().map(|(uid, svid)| {
            let selectors = RequiredSelectors::parse(&[format!("unix:uid:{uid}")]).unwrap();
            Offer::ready(selectors, Arc::clone(svid))
        });
        self.agent.publish(offers.collect());
    }
}

async fn channel(
    socket: &Path,
    identity: Option<&SvidKeyPair>,
    bundles: BundleSet,
) -> Result<Channel, tonic::transport::Error> {
    let node = Expect::Exactly(SpiffeId::parse(NODE).unwrap());
    let mut config = client_config(identity, Arc::new(FixedBundles::new(bundles)), node).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let socket = socket.to_owned();
    let connect = tower::service_fn(move |_| {
        let (connector, socket) = (connector.clone(), socket.clone());
        async move {
            let stream = UnixStream::connect(socket).await?;
            let stream = connector
                .connect(ServerName::try_from("broker").unwrap(), stream)
                .await?;
            Ok::<_, std::io::Error>(TokioIo::new(stream))
        }
    });
    Endpoint::from_static("http://broker")
        .connect_with_connector(connect)
        .await
}

/// A process of some user, killed when dropped.
pub(crate) struct Workload(pub(crate) Child);

impl Workload {
    pub(crate) fn of(uid: u32) -> Self {
        let mut child = Command::new("setpriv")
            .args([
                "--reuid",
                &uid.to_string(),
                "--regid",
                &uid.to_string(),
                "--clear-groups",
            ])
            .args(["sh", "-c", "echo; exec sleep 600"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // It has its user once it says something.
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        Self(child)
    }

    pub(crate) fn pid(&self) -> i32 {
        self.0.id().cast_signed()
    }

    pub(crate) fn end(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A reference to this process.
pub(crate) fn pid(pid: i32) -> WorkloadReference {
    WorkloadPidReference { pid }.into()
}

/// Means the SVID by its serial number.
pub(crate) fn serial(pair: &SvidKeyPair, authority: &Authority) -> Subject {
    let svid = signet_spiffe::verify_x509_svid(&pair.chain, &authority.bundles(), UnixTime::now()).unwrap();
    Subject::Serial(SerialNumber::new(svid.serial()).unwrap())
}
