//! A test authority, an agent that is nothing but its two channels, and a client.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use prost::Message as _;
use prost_types::Any;
use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use signet_attest::{EndpointTable, RequiredSelectors};
use signet_authority::{Authority, RequestedKey, Serial, SigningKey};
use signet_proto::sds::data_source::Specifier;
use signet_proto::sds::secret::Type;
use signet_proto::sds::secret_discovery_service_client::SecretDiscoveryServiceClient;
use signet_proto::sds::{DataSource, Secret, SpiffeCertValidatorConfig};
use signet_spiffe::{Audience, BundleSet, SpiffeId, TrustDomain, UnixTime, X509Bundle};
use signet_workload_api::{
    Beside, Holdings, JwtSvid, Limits, NoJwtSvid, Offer, Offers, RevocationList, SvidSource, X509Svid,
    serve_beside,
};
use tokio::sync::watch;
use tonic::transport::Channel;

use crate::secret::SECRET;

/// Long enough for any answer on a loaded machine; reached only by a test that fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Signs for one trust domain.
pub(crate) struct Issuer {
    domain: TrustDomain,
    authority: Authority,
}

impl Issuer {
    pub(crate) fn new(domain: &str) -> Self {
        let domain = TrustDomain::parse(domain).unwrap();
        let (key, life) = (SigningKey::generate().unwrap(), Duration::from_hours(24));
        let authority = Authority::create(domain.clone(), key, serial(), UnixTime::now(), life).unwrap();
        Self { domain, authority }
    }

    pub(crate) fn bundle(&self) -> X509Bundle {
        self.authority.bundle().clone()
    }

    pub(crate) fn id(&self, path: &str) -> SpiffeId {
        SpiffeId::parse(&format!("spiffe://{}{path}", self.domain.as_str())).unwrap()
    }

    /// A new SVID, with a key and a serial of its own.
    pub(crate) fn svid(&self, path: &str) -> Arc<X509Svid> {
        let (id, key, life) = (
            self.id(path),
            KeyPair::generate().unwrap(),
            Duration::from_hours(1),
        );
        let request = CertificateParams::default().serialize_request(&key).unwrap();
        let requested = RequestedKey::from_request(request.der()).unwrap();
        let issued = self
            .authority
            .issue(&requested, &id, life, serial(), UnixTime::now())
            .unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        Arc::new(X509Svid::new(id, issued.chain, key).unwrap())
    }
}

fn serial() -> Serial {
    let mut bytes = [0; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).unwrap();
    Serial::from_random(bytes)
}

pub(crate) fn bundles(issuers: &[&Issuer]) -> Arc<BundleSet> {
    let mut set = BundleSet::default();
    for issuer in issuers {
        set.insert(issuer.bundle());
    }
    Arc::new(set)
}

/// Of a caller whose SVIDs are all there.
pub(crate) fn holdings(svids: &[&Arc<X509Svid>], issuers: &[&Issuer]) -> Holdings {
    Holdings {
        ids: svids.iter().map(|svid| svid.id().clone()).collect(),
        svids: svids.iter().map(|svid| Arc::clone(svid)).collect(),
        bundles: bundles(issuers),
        revocation_list: None,
    }
}

/// A resource as Envoy reads it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The chain and the key, DER.
    Certificate(Vec<Vec<u8>>, Vec<u8>),
    /// Trust domains and their authorities, DER.
    Validation(Vec<(String, Vec<Vec<u8>>)>),
}

pub(crate) fn seen(any: &Any) -> (String, Seen) {
    assert_eq!(any.type_url, SECRET);
    let secret = Secret::decode(any.value.as_slice()).unwrap();
    let seen = match secret.r#type.unwrap() {
        Type::TlsCertificate(certificate) => {
            let key = PrivatePkcs8KeyDer::from_pem_slice(&bytes(certificate.private_key)).unwrap();
            let key = key.secret_pkcs8_der().to_vec();
            Seen::Certificate(certificates(certificate.certificate_chain), key)
        }
        Type::ValidationContext(context) => {
            let validator = context.custom_validator_config.unwrap();
            assert_eq!(validator.name, "envoy.tls.cert_validator.spiffe");
            let config = validator.typed_config.unwrap();
            assert!(config.type_url.ends_with(".tls.v3.SPIFFECertValidatorConfig"));
            let config = SpiffeCertValidatorConfig::decode(config.value.as_slice()).unwrap();
            let domains = config.trust_domains.into_iter();
            Seen::Validation(
                domains
                    .map(|domain| (domain.name, certificates(domain.trust_bundle)))
                    .collect(),
            )
        }
    };
    (secret.name, seen)
}

fn certificates(pem: Option<DataSource>) -> Vec<Vec<u8>> {
    let pem = bytes(pem);
    let blocks = CertificateDer::pem_slice_iter(&pem);
    blocks.map(|block| block.unwrap().to_vec()).collect()
}

fn bytes(source: Option<DataSource>) -> Vec<u8> {
    let Specifier::InlineBytes(bytes) = source.unwrap().specifier.unwrap();
    bytes
}

/// What Envoy should read of an SVID.
pub(crate) fn as_seen(svid: &X509Svid) -> Seen {
    let chain = svid.chain().iter().map(|der| der.to_vec());
    Seen::Certificate(chain.collect(), svid.secret_key().to_vec())
}

/// What Envoy should read of bundles, in the order of their trust domains.
pub(crate) fn trusting(issuers: &[&Issuer]) -> Seen {
    let domain = |issuer: &&Issuer| {
        let authorities = issuer.authority.bundle().authorities().iter();
        let authorities = authorities.map(|der| der.to_vec()).collect();
        (issuer.domain.as_str().to_owned(), authorities)
    };
    Seen::Validation(issuers.iter().map(domain).collect())
}

/// Whether it is what takes the place of what was withdrawn: a certificate that names nobody and has ended, or trust in
/// nobody.
pub(crate) fn is_withdrawn(seen: &Seen) -> bool {
    use x509_parser::prelude::{FromDer as _, X509Certificate};
    match seen {
        Seen::Certificate(chain, _) => {
            let [leaf] = chain.as_slice() else {
                return false;
            };
            let (_, leaf) = X509Certificate::from_der(leaf).unwrap();
            leaf.subject_alternative_name().unwrap().is_none() && !leaf.validity().is_valid()
        }
        Seen::Validation(domains) => domains.iter().all(|(name, _)| name == "withdrawn.invalid"),
    }
}

pub(crate) struct FakeAgent {
    offers: watch::Sender<Arc<Offers>>,
    endpoints: watch::Sender<Option<Arc<EndpointTable>>>,
}

impl SvidSource for FakeAgent {
    fn offers(&self) -> watch::Receiver<Arc<Offers>> {
        self.offers.subscribe()
    }

    fn endpoints(&self) -> watch::Receiver<Option<Arc<EndpointTable>>> {
        self.endpoints.subscribe()
    }

    fn jwt_svid<'a>(
        &'a self,
        _: &'a SpiffeId,
        _: &'a Audience,
    ) -> BoxFuture<'a, Result<Arc<JwtSvid>, NoJwtSvid>> {
        Box::pin(async { Err(NoJwtSvid("none".to_owned())) })
    }
}

/// What this test process satisfies.
pub(crate) fn for_us() -> RequiredSelectors {
    let uid = rustix::process::geteuid().as_raw();
    RequiredSelectors::parse(&[format!("unix:uid:{uid}")]).unwrap()
}

pub(crate) type Client = SecretDiscoveryServiceClient<Channel>;

/// A running server on a socket of its own.
pub(crate) struct Served {
    _dir: tempfile::TempDir,
    socket: PathBuf,
    agent: Arc<FakeAgent>,
}

impl Served {
    pub(crate) fn new() -> Self {
        Self::with(Limits::default())
    }

    pub(crate) fn with(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("workload.sock");
        let agent = Arc::new(FakeAgent {
            offers: watch::Sender::new(Arc::new(Offers::starting())),
            endpoints: watch::Sender::new(Some(Arc::default())),
        });
        let (path, source, secrets) = (socket.clone(), Arc::clone(&agent), crate::service().unwrap());
        tokio::spawn(async move {
            serve_beside(&path, source, limits, secrets, std::future::pending())
                .await
                .unwrap();
        });
        Self {
            _dir: dir,
            socket,
            agent,
        }
    }

    /// Offers these SVIDs to this process.
    pub(crate) fn publish(&self, svids: &[&Arc<X509Svid>], issuers: &[&Issuer]) {
        let offer = |svid: &&Arc<X509Svid>| Offer::ready(for_us(), Arc::clone(svid));
        self.offer(svids.iter().map(offer).collect(), issuers);
    }

    pub(crate) fn offer(&self, offers: Vec<Offer>, issuers: &[&Issuer]) {
        let offers = Offers::new(offers, bundles(issuers)).unwrap();
        self.agent.offers.send_replace(Arc::new(offers));
    }

    /// The same with what the issuer has revoked.
    pub(crate) fn publish_with_list(&self, svid: &Arc<X509Svid>, issuer: &Issuer, der: Vec<u8>) {
        let list = RevocationList {
            trust_domain: issuer.domain.clone(),
            der,
            beside: Beside::default(),
        };
        let offers = Offers::new(vec![Offer::ready(for_us(), Arc::clone(svid))], bundles(&[issuer]));
        let offers = offers.unwrap().with_revocation_list(Some(Arc::new(list)));
        self.agent.offers.send_replace(Arc::new(offers));
    }

    /// A client that sends no security header: Envoy sends none.
    pub(crate) async fn client(&self) -> Client {
        SecretDiscoveryServiceClient::new(self.channel().await)
    }

    pub(crate) async fn channel(&self) -> Channel {
        let bound = async {
            while !self.socket.exists() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, bound).await.unwrap();
        signet_uds::connect(&self.socket).unwrap()
    }
}
