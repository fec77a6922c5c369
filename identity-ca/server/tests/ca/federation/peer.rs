//! The CA of another trust domain, and web certificates.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use signet_ca::{BundleEndpoint, Config, EndpointIdentity, JwtIssuer, Server, Storage};
use signet_proto::ca::v1::authority_service_client::AuthorityServiceClient;
use signet_proto::ca::v1::operator_service_client::OperatorServiceClient;
use signet_proto::ca::v1::{
    BundleRequest, BundleResponse, DefederateRequest, FederateRequest, FederationEntry,
    ListFederationRequest, RefreshFederationRequest,
};
use signet_spiffe::TrustDomain;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::Status;
use tonic::transport::Channel;

pub(crate) type Operator = OperatorServiceClient<Channel>;

/// Any free port.
pub(crate) fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

pub(crate) fn config(
    name: &str,
    directory: &Path,
    storage: Storage,
    endpoint: Option<BundleEndpoint>,
    issuer: Option<JwtIssuer>,
) -> Config {
    Config {
        bundle_endpoint: endpoint,
        jwt_issuer: issuer,
        ..Config::new(
            TrustDomain::parse(name).unwrap(),
            storage,
            directory.join("ca.sock"),
        )
    }
}

/// A CA with a bundle endpoint.
pub(crate) struct Peer {
    pub(crate) server: Server,
    pub(crate) operator: Operator,
    pub(crate) authorities: AuthorityServiceClient<Channel>,
    pub(crate) directory: TempDir,
}

impl Peer {
    /// With its SVID at its endpoint, and its data on disk.
    pub(crate) async fn spiffe(name: &str, directory: TempDir, listen: SocketAddr) -> Self {
        let storage = Storage::Directory(directory.path().join("data"));
        let endpoint = BundleEndpoint {
            listen,
            identity: EndpointIdentity::Spiffe,
        };
        let config = config(name, directory.path(), storage, Some(endpoint), None);
        Self::start(config, directory).await
    }

    /// With a web certificate.
    pub(crate) async fn web(name: &str, web: &WebPki, issuer: Option<&str>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        web.write(directory.path());
        let endpoint = BundleEndpoint {
            listen: anywhere(),
            identity: EndpointIdentity::Web {
                certificate: directory.path().join("web.pem"),
                key: directory.path().join("web.key"),
            },
        };
        let issuer = issuer.map(|issuer| issuer.parse().unwrap());
        let config = config(name, directory.path(), Storage::Memory, Some(endpoint), issuer);
        Self::start(config, directory).await
    }

    async fn start(config: Config, directory: TempDir) -> Self {
        let socket = config.socket.clone();
        let server = Server::start(config).await.unwrap();
        Self {
            server,
            operator: OperatorServiceClient::new(signet_uds::connect(&socket).unwrap()),
            authorities: AuthorityServiceClient::new(signet_uds::connect(&socket).unwrap()),
            directory,
        }
    }

    pub(crate) fn endpoint(&self) -> SocketAddr {
        self.server.bundle_endpoint().unwrap()
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}/", self.endpoint())
    }
}

pub(crate) async fn bundle(operator: &Operator) -> BundleResponse {
    operator
        .clone()
        .bundle(BundleRequest {})
        .await
        .unwrap()
        .into_inner()
}

pub(crate) fn by_spiffe(domain: &str, url: &str, id: &str, bundle: &str) -> FederateRequest {
    FederateRequest {
        trust_domain: domain.to_owned(),
        url: url.to_owned(),
        profile: "https_spiffe".to_owned(),
        endpoint_spiffe_id: id.to_owned(),
        bundle: bundle.as_bytes().to_vec(),
        ..FederateRequest::default()
    }
}

pub(crate) fn by_web(domain: &str, url: &str, authorities: &str) -> FederateRequest {
    FederateRequest {
        trust_domain: domain.to_owned(),
        url: url.to_owned(),
        profile: "https_web".to_owned(),
        web_ca: authorities.to_owned(),
        ..FederateRequest::default()
    }
}

pub(crate) async fn federate(
    operator: &Operator,
    request: FederateRequest,
) -> Result<FederationEntry, Status> {
    Ok(operator.clone().federate(request).await?.into_inner())
}

pub(crate) async fn refresh(operator: &Operator, domain: &str) -> Result<FederationEntry, Status> {
    let request = RefreshFederationRequest {
        trust_domain: domain.to_owned(),
    };
    Ok(operator.clone().refresh_federation(request).await?.into_inner())
}

pub(crate) async fn defederate(operator: &Operator, domain: &str) -> Result<FederationEntry, Status> {
    let request = DefederateRequest {
        trust_domain: domain.to_owned(),
    };
    Ok(operator.clone().defederate(request).await?.into_inner())
}

pub(crate) async fn list(operator: &Operator) -> Vec<FederationEntry> {
    let request = ListFederationRequest::default();
    let answer = operator.clone().list_federation(request).await;
    answer.unwrap().into_inner().entries
}

pub(crate) async fn show(operator: &Operator, domain: &str) -> Result<FederationEntry, Status> {
    let request = ListFederationRequest {
        trust_domain: domain.to_owned(),
    };
    let answer = operator.clone().list_federation(request).await?.into_inner();
    Ok(answer.entries.into_iter().next().unwrap())
}

/// A web CA, and a certificate of it for one host.
pub(crate) struct WebPki {
    root: CertificateDer<'static>,
    pub(crate) root_pem: String,
    chain_pem: String,
    key_pem: String,
}

impl WebPki {
    /// For `127.0.0.1`, where everything listens here.
    pub(crate) fn new() -> Self {
        Self::of(SanType::IpAddress(anywhere().ip()))
    }

    pub(crate) fn of(name: SanType) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "web root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let root = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        let leaf_key = KeyPair::generate().unwrap();
        let mut leaf = CertificateParams::default();
        leaf.distinguished_name = DistinguishedName::new();
        leaf.subject_alt_names = vec![name];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = leaf.signed_by(&leaf_key, &issuer).unwrap();
        Self {
            root: root.der().clone(),
            root_pem: root.pem(),
            chain_pem: leaf.pem(),
            key_pem: leaf_key.serialize_pem(),
        }
    }

    /// As `web.pem` and `web.key`.
    pub(crate) fn write(&self, directory: &Path) {
        for (name, text) in [("web.pem", &self.chain_pem), ("web.key", &self.key_pem)] {
            // As those do who renew certificates: a new file in the place of the old one.
            let new = directory.join("new");
            std::fs::write(&new, text).unwrap();
            std::fs::rename(&new, directory.join(name)).unwrap();
        }
    }

    pub(crate) fn chain(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain = CertificateDer::from_pem_slice(self.chain_pem.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).unwrap();
        (vec![chain], key)
    }

    /// A client that believes this CA alone.
    pub(crate) fn client(&self, version: &'static SupportedProtocolVersion) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }
}

/// What a server answers to a plain request, head and body.
pub(crate) async fn get(address: SocketAddr, config: ClientConfig, path: &str) -> std::io::Result<String> {
    String::from_utf8(get_bytes(address, config, path).await?).map_err(std::io::Error::other)
}

/// The same of something that is no text.
pub(crate) async fn get_bytes(
    address: SocketAddr,
    config: ClientConfig,
    path: &str,
) -> std::io::Result<Vec<u8>> {
    let tcp = TcpStream::connect(address).await?;
    let connector = TlsConnector::from(Arc::new(config));
    let mut tls = connector.connect(address.ip().into(), tcp).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    tls.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    // Some end without a goodbye.
    match tls.read_to_end(&mut answer).await {
        Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => Err(error),
        Ok(_) | Err(_) => Ok(answer),
    }
}

/// The body of an answer that was not cut into chunks.
pub(crate) fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}
