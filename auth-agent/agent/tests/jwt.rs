//! JWT-SVIDs between a CA and those who ask for them, over a real connection.

#![expect(clippy::expect_used, reason = "a test that cannot be set up has failed")]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use futures::future::join_all;
use futures::stream::Empty;
use signet_agent::ca::NodeAccess;
use signet_agent::jwt::JwtSvids;
use signet_agent::status::Status as AgentStatus;
use signet_agent::view::ViewStore;
use signet_proto::ca::v1::node_service_server::{NodeService, NodeServiceServer};
use signet_proto::ca::v1::{
    AcknowledgeBundleRequest, AcknowledgeBundleResponse, AttestRequest, AttestResponse, GetCrlRequest,
    GetCrlResponse, IssueJwtSvidRequest, IssueX509SvidRequest, JwtSvid, RenewNodeSvidRequest, Svid,
    SyncRequest,
};
use signet_proto::view::v1::revocation::Subject;
use signet_proto::view::v1::{EncryptionMode, Revocation, Update};
use signet_spiffe::{
    Audience, JwtAlgorithm, JwtBundle, JwtKey, JwtSigner, JwtSignerError, JwtSvidClaims, JwtSvidError,
    SpiffeId, TokenError, UnixTime, sign_jwt_svid, verify_jwt_svid,
};
use signet_uds::{Access, connect, serve_incoming};
use support::{Authority, Cluster, eventually, node_name, workload};
use tokio::sync::{Semaphore, watch};
use tonic::{Request, Response, Status};

/// Number of the workload on this node.
const WEB: u32 = 300;

struct Signer {
    pair: EcdsaKeyPair,
    public: JwtKey,
}

impl Signer {
    fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        let public = JwtKey::p256(pair.public_key().as_ref()).expect("its public half");
        Self { pair, public }
    }
}

impl JwtSigner for Signer {
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

/// What the CA signs, wanted or not.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Says {
    WhatWasAsked,
    AnotherIdentity,
    AnotherAudience,
    Expired,
    Nothing,
}

struct FakeCa {
    signer: Mutex<Arc<Signer>>,
    says: Mutex<Says>,
    calls: AtomicUsize,
    /// A permit for each answer.
    answers: Semaphore,
}

impl FakeCa {
    fn token(&self, request: &IssueJwtSvidRequest) -> Result<JwtSvid, Status> {
        let says = *self.says.lock().expect("whole");
        let (number, now) = (self.calls.load(SeqCst), UnixTime::now().as_secs());
        let (id, life) = match says {
            Says::Nothing => return Err(Status::unavailable("closed")),
            Says::AnotherIdentity => (workload(WEB + 1), 300),
            Says::Expired => (workload(WEB), 0),
            Says::WhatWasAsked | Says::AnotherAudience => (workload(WEB), 300),
        };
        let mut audience = request.audience.clone();
        if says == Says::AnotherAudience {
            audience.push("another".to_owned());
        }
        let claims = JwtSvidClaims {
            id: &id,
            audience: &Audience::new(&audience).expect("valid"),
            issued_at: UnixTime::since_unix_epoch(Duration::from_secs(now)),
            expires: UnixTime::since_unix_epoch(Duration::from_secs(now + life)),
            token_id: &number.to_string(),
            issuer: None,
        };
        let signer = self.signer.lock().expect("whole").clone();
        Ok(JwtSvid {
            spiffe_id: id.to_string(),
            token: sign_jwt_svid(&*signer, &claims).expect("signs"),
            expires: 0,
        })
    }
}

struct Service(Arc<FakeCa>);

#[tonic::async_trait]
impl NodeService for Service {
    type SyncStream = Empty<Result<Update, Status>>;

    async fn attest(&self, _: Request<AttestRequest>) -> Result<Response<AttestResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn renew_node_svid(&self, _: Request<RenewNodeSvidRequest>) -> Result<Response<Svid>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn issue_x509_svid(&self, _: Request<IssueX509SvidRequest>) -> Result<Response<Svid>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn issue_jwt_svid(
        &self,
        request: Request<IssueJwtSvidRequest>,
    ) -> Result<Response<JwtSvid>, Status> {
        self.0.calls.fetch_add(1, SeqCst);
        self.0.answers.acquire().await.expect("open").forget();
        assert_eq!(request.get_ref().registration, format!("registration-{WEB}"));
        self.0.token(request.get_ref()).map(Response::new)
    }

    async fn acknowledge_bundle(
        &self,
        _: Request<AcknowledgeBundleRequest>,
    ) -> Result<Response<AcknowledgeBundleResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_crl(&self, _: Request<GetCrlRequest>) -> Result<Response<GetCrlResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn sync(&self, _: Request<SyncRequest>) -> Result<Response<Self::SyncStream>, Status> {
        Err(Status::unimplemented(""))
    }
}

/// A CA, a view with one workload registered on this node, and its tokens.
struct World {
    ca: Arc<FakeCa>,
    authority: Authority,
    cluster: Cluster,
    view: ViewStore,
    tokens: JwtSvids,
    _access: watch::Sender<Option<Arc<NodeAccess>>>,
    _directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let ca = Arc::new(FakeCa {
            signer: Mutex::new(Arc::new(Signer::new())),
            says: Mutex::new(Says::WhatWasAsked),
            calls: AtomicUsize::new(0),
            answers: Semaphore::new(1000),
        });
        let socket = directory.path().join("ca.sock");
        let incoming = serve_incoming(&socket, Access::Owner).expect("a socket");
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(NodeServiceServer::new(Service(ca.clone())))
                .serve_with_incoming(incoming),
        );
        let authority = Authority::new("t.example");
        let access = NodeAccess {
            identity: authority.identity(&node_name(1)),
            channel: connect(&socket).expect("a channel").into(),
        };
        let (access, access_watch) = watch::channel(Some(Arc::new(access)));
        let view = ViewStore::new(node_name(1), authority.domain.clone(), authority.bundles());
        let tokens = JwtSvids::new(view.subscribe(), access_watch, Arc::new(AgentStatus::default()));
        tokio::spawn(tokens.clone().run());
        let cluster = Cluster {
            nodes: vec![([127, 0, 0, 1], 4250).into()],
            workloads: vec![(1, WEB)],
            encryption: EncryptionMode::Off,
            revision: 0,
        };
        let mut world = Self {
            ca,
            authority,
            cluster,
            view,
            tokens,
            _access: access,
            _directory: directory,
        };
        world.push();
        world
    }

    /// Pushes the view with the CA's key of the moment.
    fn push(&mut self) {
        self.cluster.revision += 1;
        let mut update = self.cluster.snapshot(&self.authority, 1);
        let key = self.ca.signer.lock().expect("whole").public.clone();
        let keys = JwtBundle::new(self.authority.domain.clone(), vec![key]).expect("a bundle");
        if let Some(bundle) = &mut update.bundle {
            bundle.jwt_keys = keys.to_jwks().into_bytes();
        }
        self.view.apply(update).expect("applies");
    }

    fn says(&self, says: Says) {
        *self.ca.says.lock().expect("whole") = says;
    }

    fn calls(&self) -> usize {
        self.ca.calls.load(SeqCst)
    }

    async fn get(&self, audience: &str) -> Result<String, String> {
        let audience = Audience::new(&[audience.to_owned()]).expect("valid");
        let id: SpiffeId = workload(WEB);
        let svid = self.tokens.get(&id, &audience).await;
        svid.map(|svid| svid.secret_token().to_owned())
            .map_err(|error| error.to_string())
    }
}

#[tokio::test]
async fn a_hundred_callers_at_once_are_one_call_to_the_ca_and_later_ones_are_none() {
    let world = World::new();
    world.ca.answers.forget_permits(1000);
    let callers = join_all((0..100).map(|_| world.get("db")));
    let answer = async {
        eventually("the CA is asked", || world.calls() > 0).await;
        world.ca.answers.add_permits(1000);
    };
    let (tokens, ()) = tokio::join!(callers, answer);
    let first = tokens[0].clone().expect("a token");
    assert!(tokens.iter().all(|token| token.as_ref() == Ok(&first)));
    assert_eq!(world.get("db").await, Ok(first.clone()));
    assert_eq!(world.calls(), 1);
    assert_ne!(world.get("cache").await, Ok(first), "another audience");
    assert_eq!(world.calls(), 2);
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_take_the_call_with_it() {
    let world = World::new();
    world.ca.answers.forget_permits(1000);
    tokio::select! {
        biased;
        _ = world.get("db") => unreachable!("nobody answers yet"),
        () = eventually("the CA is asked", || world.calls() > 0) => {}
    }
    world.ca.answers.add_permits(1000);
    world.get("db").await.expect("a token");
    assert_eq!(world.calls(), 1);
}

#[tokio::test]
async fn without_the_ca_what_is_there_serves_and_nothing_else_does() {
    let world = World::new();
    let token = world.get("db").await.expect("a token");
    world.says(Says::Nothing);
    assert_eq!(world.get("db").await, Ok(token));
    assert_eq!(world.get("cache").await, Err("the CA refused: closed".to_owned()));
}

#[tokio::test]
async fn an_answer_that_a_peer_would_refuse_or_that_was_not_asked_for_is_not_given_out() {
    for says in [Says::AnotherIdentity, Says::AnotherAudience, Says::Expired] {
        let world = World::new();
        world.says(says);
        world.get("db").await.expect_err("refused");
    }
    let world = World::new();
    *world.ca.signer.lock().expect("whole") = Arc::new(Signer::new());
    let error = world.get("db").await.expect_err("refused");
    assert!(error.contains("does not verify"), "{error}");
}

#[tokio::test]
async fn a_token_that_is_revoked_with_its_identity_or_by_itself_does_not_verify_here_and_is_not_given_out() {
    for by_itself in [false, true] {
        let world = World::new();
        let token = world.get("db").await.expect("a token");
        let verify = || {
            let view = world.view.current().expect("a view");
            verify_jwt_svid(&token, view.jwt_bundles(), "db", UnixTime::now()).map(|svid| svid.id().clone())
        };
        assert_eq!(verify(), Ok(workload(WEB)));
        let subject = if by_itself {
            Subject::Serial(vec![1])
        } else {
            Subject::SpiffeId(workload(WEB).to_string())
        };
        let now = UnixTime::now().as_secs().cast_signed();
        let revoked = Revocation {
            id: "it".to_owned(),
            subject: Some(subject),
            at: now,
            until: now + 3600,
            version: 1,
            ..Revocation::default()
        };
        let update = Update {
            revision: world.cluster.revision + 1,
            revocations: vec![revoked],
            ..Update::default()
        };
        world.view.apply(update).expect("applies");
        assert!(
            matches!(verify(), Err(JwtSvidError::Token(TokenError::Revoked(_)))),
            "{by_itself}"
        );
        eventually_asks_again(&world).await;
    }
}

#[tokio::test]
async fn a_later_revocation_that_reaches_the_same_certificates_takes_the_tokens_since_the_first() {
    let mut world = World::new();
    let now = UnixTime::now().as_secs().cast_signed();
    for (version, at) in [(1, now - 600), (2, now + 600)] {
        let revoked = Revocation {
            id: "it".to_owned(),
            subject: Some(Subject::SpiffeId(workload(WEB).to_string())),
            not_before: now - 900,
            at,
            until: now + 3600,
            version,
            ..Revocation::default()
        };
        world.cluster.revision += 1;
        let update = Update {
            revision: world.cluster.revision,
            revocations: vec![revoked],
            ..Update::default()
        };
        world.view.apply(update).expect("applies");
        if version == 1 {
            // Issued after the first revocation, so it stands once that has been dealt with.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            world.get("db").await.expect("a token");
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            world.get("db").await.expect("the same");
            assert_eq!(world.calls(), 1);
        }
    }
    eventually_asks_again(&world).await;
}

/// Until what was kept is forgotten.
async fn eventually_asks_again(world: &World) {
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
        let _ = world.get("db").await;
        if world.calls() > 1 {
            break;
        }
    }
    assert!(world.calls() > 1, "the revoked token is still given out");
}

#[tokio::test]
async fn a_token_goes_with_its_registration_and_with_its_key() {
    let mut world = World::new();
    let first = world.get("db").await.expect("a token");
    *world.ca.signer.lock().expect("whole") = Arc::new(Signer::new());
    world.push();
    let mut second = first.clone();
    while second == first {
        tokio::task::yield_now().await;
        second = world.get("db").await.expect("a token");
    }
    assert_eq!(world.calls(), 2, "renewed once, under the new key");

    world.cluster.workloads.clear();
    world.push();
    let refused = loop {
        tokio::task::yield_now().await;
        if let Err(error) = world.get("db").await {
            break error;
        }
    };
    assert!(refused.contains("not registered"), "{refused}");
}
