//! A test authority, an agent that is nothing but its two channels, and a client.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use futures::future::BoxFuture;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use signet_attest::{EndpointTable, RequiredSelectors};
use signet_proto::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use signet_spiffe::{
    Audience, BundleSet, JwtAlgorithm, JwtBundle, JwtBundleSet, JwtKey, JwtSigner, JwtSignerError,
    JwtSvidClaims, Revocations, SpiffeId, TrustDomain, UnixTime, X509Bundle, sign_jwt_svid,
};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tonic::metadata::MetadataValue;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::places::Patience;
use crate::server::serve_with;
use crate::{JwtSvid, Limits, NoJwtSvid, Offer, Offers, ServeError, SvidSource, X509Svid};

/// Long enough for any answer on a loaded machine; reached only by a test that fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Signs for one trust domain.
pub(crate) struct Authority {
    domain: TrustDomain,
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pub(crate) jwt: JwtKeyPair,
}

/// Signs JWT-SVIDs.
pub(crate) struct JwtKeyPair {
    pair: EcdsaKeyPair,
    public: JwtKey,
}

impl JwtSigner for JwtKeyPair {
    fn algorithm(&self) -> JwtAlgorithm {
        JwtAlgorithm::Es256
    }

    fn key_id(&self) -> &str {
        self.public.id()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, JwtSignerError> {
        let signature = self.pair.sign(&SystemRandom::new(), message);
        Ok(signature.map_err(|_| JwtSignerError)?.as_ref().to_vec())
    }
}

impl Authority {
    pub(crate) fn new(domain: &str) -> Self {
        let mut params = params(&format!("spiffe://{domain}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self {
            domain: TrustDomain::parse(domain).unwrap(),
            issuer: Issuer::new(params, key),
            certificate,
            jwt: JwtKeyPair::new(),
        }
    }

    pub(crate) fn jwt_bundle(&self) -> JwtBundle {
        JwtBundle::new(self.domain.clone(), vec![self.jwt.public.clone()]).unwrap()
    }

    /// A token with these claims beside `sub`, `aud` and `exp`.
    pub(crate) fn token(&self, id: &SpiffeId, audience: &Audience, expires: UnixTime) -> String {
        let claims = JwtSvidClaims {
            id,
            audience,
            issued_at: UnixTime::now(),
            expires,
            token_id: "t1",
            issuer: None,
        };
        sign_jwt_svid(&self.jwt, &claims).unwrap()
    }

    pub(crate) fn bundle(&self) -> X509Bundle {
        X509Bundle::new(self.domain.clone(), vec![self.certificate.clone()]).unwrap()
    }

    /// A new SVID, with a key and a serial of its own.
    pub(crate) fn svid(&self, path: &str) -> Arc<X509Svid> {
        let id = SpiffeId::parse(&format!("spiffe://{}{path}", self.domain.as_str())).unwrap();
        let mut params = params(id.as_str());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Arc::new(X509Svid::new(id, vec![leaf], PrivatePkcs8KeyDer::from(key.serialize_der())).unwrap())
    }
}

fn params(uri: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(uri).unwrap())];
    params
}

impl JwtKeyPair {
    fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let public = JwtKey::p256(pair.public_key().as_ref()).unwrap();
        Self { pair, public }
    }
}

/// What the agent publishes.
pub(crate) struct FakeAgent {
    pub(crate) offers: watch::Sender<Arc<Offers>>,
    pub(crate) endpoints: watch::Sender<Option<Arc<EndpointTable>>>,
    /// Signs tokens; without one there are none.
    pub(crate) tokens: watch::Sender<Option<Arc<Authority>>>,
    wit_svids: AtomicBool,
}

impl SvidSource for FakeAgent {
    fn offers(&self) -> watch::Receiver<Arc<Offers>> {
        self.offers.subscribe()
    }

    fn endpoints(&self) -> watch::Receiver<Option<Arc<EndpointTable>>> {
        self.endpoints.subscribe()
    }

    fn serves_wit_svids(&self) -> bool {
        self.wit_svids.load(Ordering::Relaxed)
    }

    fn jwt_svid<'a>(
        &'a self,
        id: &'a SpiffeId,
        audience: &'a Audience,
    ) -> BoxFuture<'a, Result<Arc<JwtSvid>, NoJwtSvid>> {
        let authority = self.tokens.borrow().clone();
        Box::pin(async move {
            let authority = authority.ok_or_else(|| NoJwtSvid("the CA is away".to_owned()))?;
            let expires = in_five_minutes();
            let token = authority.token(id, audience, expires).into();
            Ok(Arc::new(JwtSvid::new(id.clone(), token, expires)))
        })
    }
}

/// When a token made now ends.
pub(crate) fn in_five_minutes() -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(UnixTime::now().as_secs() + 300))
}

impl FakeAgent {
    /// Knows its endpoints, of which there are none, and waits for the CA.
    pub(crate) fn starting() -> Arc<Self> {
        Arc::new(Self {
            offers: watch::Sender::new(Arc::new(Offers::starting())),
            endpoints: watch::Sender::new(Some(Arc::default())),
            tokens: watch::Sender::default(),
            wit_svids: AtomicBool::new(false),
        })
    }

    pub(crate) fn serve_wit_svids(&self) {
        self.wit_svids.store(true, Ordering::Relaxed);
    }

    pub(crate) fn publish(&self, offers: Vec<Offer>, bundles: impl IntoIterator<Item = X509Bundle>) {
        let mut set = BundleSet::default();
        bundles.into_iter().for_each(|bundle| set.insert(bundle));
        self.offers
            .send_replace(Arc::new(Offers::new(offers, Arc::new(set)).unwrap()));
    }
}

impl FakeAgent {
    pub(crate) fn publish_offers(&self, offers: Offers) {
        self.offers.send_replace(Arc::new(offers));
    }

    /// Publishes offers, the keys of these authorities, and tokens of the first.
    pub(crate) fn publish_jwt(&self, offers: Vec<Offer>, authorities: &[&Arc<Authority>]) {
        self.publish_revoking(offers, authorities, Revocations::default());
    }

    /// The same while some tokens are revoked.
    pub(crate) fn publish_revoking(
        &self,
        offers: Vec<Offer>,
        authorities: &[&Arc<Authority>],
        revocations: Revocations,
    ) {
        let (mut bundles, mut keys) = (BundleSet::default(), JwtBundleSet::default());
        for authority in authorities {
            bundles.insert(authority.bundle());
            keys.insert(authority.jwt_bundle());
        }
        self.tokens
            .send_replace(authorities.first().map(|first| Arc::clone(first)));
        let offers = Offers::new(offers, Arc::new(bundles)).unwrap();
        self.offers.send_replace(Arc::new(
            offers.with_jwt_bundles(Arc::new(keys.with_revocations(Arc::new(revocations)))),
        ));
    }
}

/// What this test process satisfies.
pub(crate) fn for_us() -> RequiredSelectors {
    let uid = rustix::process::geteuid().as_raw();
    RequiredSelectors::parse(&[format!("unix:uid:{uid}")]).unwrap()
}

/// What no process of the tests satisfies.
pub(crate) fn for_others() -> RequiredSelectors {
    RequiredSelectors::parse(&["unix:uid:4242424242"]).unwrap()
}

pub(crate) type Client =
    SpiffeWorkloadApiClient<InterceptedService<Channel, fn(Request<()>) -> Result<Request<()>, Status>>>;

/// A running server on a socket of its own.
pub(crate) struct Served {
    _dir: tempfile::TempDir,
    pub(crate) socket: PathBuf,
    pub(crate) agent: Arc<FakeAgent>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Result<(), ServeError>>,
}

impl Served {
    pub(crate) fn new() -> Self {
        Self::with(Limits::default())
    }

    pub(crate) fn with(limits: Limits) -> Self {
        Self::with_patience(limits, Patience::default())
    }

    pub(crate) fn with_patience(limits: Limits, patience: Patience) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("workload.sock");
        let agent = FakeAgent::starting();
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn({
            let (socket, agent) = (socket.clone(), Arc::clone(&agent));
            let stop = async { drop(stopped.await) };
            async move { serve_with(&socket, agent, limits, patience, |_| Routes::default(), stop).await }
        });
        Self {
            _dir: dir,
            socket,
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

    /// A client that sends the security header.
    pub(crate) async fn client(&self) -> Client {
        SpiffeWorkloadApiClient::with_interceptor(self.channel().await, |mut request| {
            request
                .metadata_mut()
                .insert("workload.spiffe.io", MetadataValue::from_static("true"));
            Ok(request)
        })
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
