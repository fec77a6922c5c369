//! A CA, and clients of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use signet_ca::{Clock, Config, Database, Server, Storage};
use signet_proto::ca::v1::authority_service_client::AuthorityServiceClient;
use signet_proto::ca::v1::node_service_client::NodeServiceClient;
use signet_proto::ca::v1::operator_service_client::OperatorServiceClient;
use signet_proto::ca::v1::{
    AttestRequest, AttestResponse, CreateJoinTokenRequest, RegisterRequest, Svid, SyncRequest,
};
use signet_proto::view::v1::{Registration, Update};
use signet_spiffe::{BundleSet, CertificateDer, SpiffeId, TrustDomain, UnixTime};
use signet_tls::{Expect, FixedBundles, SvidKeyPair, client_config};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

pub(crate) const DOMAIN: &str = "td";

pub(crate) fn domain() -> TrustDomain {
    TrustDomain::parse(DOMAIN).unwrap()
}

/// A CA of the trust domain `td`, with a clock that tests can put forward.
pub(crate) struct Running {
    pub(crate) server: Server,
    pub(crate) operator: OperatorServiceClient<Channel>,
    pub(crate) authorities: AuthorityServiceClient<Channel>,
    ahead: Arc<AtomicU64>,
    pub(crate) directory: TempDir,
}

impl Running {
    pub(crate) async fn in_memory() -> Self {
        Self::start(Storage::Memory, tempfile::tempdir().unwrap()).await
    }

    /// With its data in the directory `data` of the given one.
    pub(crate) async fn on_disk(directory: TempDir) -> Self {
        Self::start(Storage::Directory(directory.path().join("data")), directory).await
    }

    /// With its key in the directory `data` of the given one, and its registry in a database.
    pub(crate) async fn on_database(directory: TempDir, database: Database) -> Self {
        let storage = Storage::Database {
            directory: directory.path().join("data"),
            database,
        };
        Self::start(storage, directory).await
    }

    /// As [`Running::on_disk`], where it may be that it does not start.
    pub(crate) async fn try_start(directory: TempDir) -> anyhow::Result<Self> {
        Self::begin(Storage::Directory(directory.path().join("data")), directory).await
    }

    async fn start(storage: Storage, directory: TempDir) -> Self {
        Self::begin(storage, directory).await.unwrap()
    }

    async fn begin(storage: Storage, directory: TempDir) -> anyhow::Result<Self> {
        Self::configured(storage, directory, |_| {}).await
    }

    /// With something else than all others.
    pub(crate) async fn configured(
        storage: Storage,
        directory: TempDir,
        change: impl FnOnce(&mut Config),
    ) -> anyhow::Result<Self> {
        let ahead = Arc::new(AtomicU64::new(0));
        let offset = Arc::clone(&ahead);
        let clock = Clock::new(move || {
            let seconds = UnixTime::now().as_secs() + offset.load(Ordering::SeqCst);
            UnixTime::since_unix_epoch(Duration::from_secs(seconds))
        });
        let socket = directory.path().join("ca.sock");
        let mut config = Config {
            clock,
            ..Config::new(domain(), storage, &socket)
        };
        change(&mut config);
        let server = Box::pin(Server::start(config)).await?;
        let operator = OperatorServiceClient::new(signet_uds::connect(&socket)?);
        Ok(Self {
            server,
            operator,
            authorities: AuthorityServiceClient::new(signet_uds::connect(&socket)?),
            ahead,
            directory,
        })
    }

    /// Ends the CA; what it kept on disk stays.
    pub(crate) async fn stop(self) -> TempDir {
        self.server.shutdown().await;
        self.directory
    }

    pub(crate) fn put_clock_ahead(&self, by: Duration) {
        self.ahead.fetch_add(by.as_secs(), Ordering::SeqCst);
    }

    /// By the CA's clock.
    pub(crate) fn now(&self) -> UnixTime {
        let seconds = UnixTime::now().as_secs() + self.ahead.load(Ordering::SeqCst);
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    pub(crate) fn bundles(&self) -> BundleSet {
        BundleSet::single(self.server.bundle())
    }

    /// For a node that may announce the addresses that tests announce.
    pub(crate) async fn token(&self, node: &str, pod_cidrs: &[&str]) -> Result<String, Status> {
        let request = CreateJoinTokenRequest {
            node: node.to_owned(),
            pod_cidrs: pod_cidrs.iter().map(ToString::to_string).collect(),
            ttl: 0,
            addresses: vec!["192.0.2.1".to_owned(), "192.0.2.2".to_owned()],
        };
        Ok(self
            .operator
            .clone()
            .create_join_token(request)
            .await?
            .into_inner()
            .token)
    }

    pub(crate) async fn register(
        &self,
        id: &str,
        node: &str,
        selector: &str,
    ) -> Result<Registration, Status> {
        let request = RegisterRequest {
            spiffe_id: id.to_owned(),
            node: node.to_owned(),
            selectors: vec![selector.to_owned()],
            ttl: 0,
            ..RegisterRequest::default()
        };
        Ok(self.operator.clone().register(request).await?.into_inner())
    }

    /// A client without a certificate.
    pub(crate) async fn anonymous(&self) -> NodeServiceClient<Channel> {
        self.client(None).await.unwrap()
    }

    pub(crate) async fn client(
        &self,
        identity: Option<&SvidKeyPair>,
    ) -> Result<NodeServiceClient<Channel>, tonic::transport::Error> {
        dial(self.server.address(), identity, self.bundles()).await
    }

    pub(crate) async fn attest_with(&self, token: &str) -> Result<(KeyPair, AttestResponse), Status> {
        let (key, csr) = request();
        let attest = AttestRequest {
            join_token: token.to_owned(),
            csr,
        };
        let answer = self.anonymous().await.attest(attest).await?.into_inner();
        Ok((key, answer))
    }

    /// A node that has attested.
    pub(crate) async fn node(&self, name: &str, pod_cidrs: &[&str]) -> TestNode {
        let token = self.token(name, pod_cidrs).await.unwrap();
        let (key, answer) = self.attest_with(&token).await.unwrap();
        let identity = pair(&key, answer.svid.as_ref().unwrap());
        let client = self.client(Some(&identity)).await.unwrap();
        TestNode {
            identity,
            client,
            answer,
        }
    }
}

/// A node that has attested.
pub(crate) struct TestNode {
    pub(crate) identity: SvidKeyPair,
    pub(crate) client: NodeServiceClient<Channel>,
    pub(crate) answer: AttestResponse,
}

impl TestNode {
    pub(crate) async fn follow(&self, seen: impl Into<Seen>) -> Follower {
        self.announce(seen, &["192.0.2.1"]).await.unwrap()
    }

    pub(crate) async fn announce(
        &self,
        seen: impl Into<Seen>,
        addresses: &[&str],
    ) -> Result<Follower, Status> {
        let addresses = addresses.iter().map(ToString::to_string).collect();
        let Seen { revision, mark } = seen.into();
        let request = SyncRequest {
            resume_revision: revision,
            resume_mark: mark,
            view_lost: false,
            addresses,
            session_port: 4250,
        };
        Ok(Follower(self.client.clone().sync(request).await?.into_inner()))
    }
}

/// What a node says that it has applied.
pub(crate) struct Seen {
    pub(crate) revision: u64,
    pub(crate) mark: Vec<u8>,
}

/// Of no history.
impl From<u64> for Seen {
    fn from(revision: u64) -> Self {
        Self {
            revision,
            mark: Vec::new(),
        }
    }
}

impl From<&Update> for Seen {
    fn from(update: &Update) -> Self {
        Self {
            revision: update.revision,
            mark: update.mark.clone(),
        }
    }
}

/// The stream of a node.
pub(crate) struct Follower(pub(crate) Streaming<Update>);

impl Follower {
    pub(crate) async fn next(&mut self) -> Update {
        self.0.message().await.unwrap().unwrap()
    }

    /// How the stream ends.
    pub(crate) async fn end(&mut self) -> Status {
        loop {
            match self.0.message().await {
                Ok(Some(_)) => {}
                Ok(None) => return Status::ok(""),
                Err(status) => return status,
            }
        }
    }
}

pub(crate) async fn dial(
    address: SocketAddr,
    identity: Option<&SvidKeyPair>,
    bundles: BundleSet,
) -> Result<NodeServiceClient<Channel>, tonic::transport::Error> {
    Ok(NodeServiceClient::new(channel(address, identity, bundles).await?))
}

/// A connection to the CA, whatever is spoken over it.
pub(crate) async fn channel(
    address: SocketAddr,
    identity: Option<&SvidKeyPair>,
    bundles: BundleSet,
) -> Result<Channel, tonic::transport::Error> {
    let expect = Expect::Exactly(SpiffeId::ca(&domain()));
    let mut config = client_config(identity, Arc::new(FixedBundles::new(bundles)), expect).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let connect = tower::service_fn(move |_| {
        let connector = connector.clone();
        async move {
            let tcp = TcpStream::connect(address).await?;
            tcp.set_nodelay(true)?;
            let tls = connector.connect("ca.invalid".try_into().unwrap(), tcp).await?;
            Ok::<_, std::io::Error>(TokioIo::new(tls))
        }
    });
    let channel = Endpoint::from_static("http://ca.invalid")
        .connect_with_connector(connect)
        .await?;
    Ok(channel)
}

/// A key, and a request for its certificate.
pub(crate) fn request() -> (KeyPair, Vec<u8>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let csr = params.serialize_request(&key).unwrap().der().to_vec();
    (key, csr)
}

pub(crate) fn chain(svid: &Svid) -> Vec<CertificateDer<'static>> {
    svid.chain
        .iter()
        .map(|certificate| CertificateDer::from(certificate.clone()))
        .collect()
}

pub(crate) fn pair(key: &KeyPair, svid: &Svid) -> SvidKeyPair {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    SvidKeyPair {
        chain: chain(svid),
        key,
    }
}
