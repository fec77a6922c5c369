//! Two CAs, one below the other, and a node of each.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use signet_ca::{Config, SignetUpstream, Storage, Upstream};
use signet_proto::ca::v1::downstream_service_client::DownstreamServiceClient;
use signet_proto::ca::v1::{
    IssueJwtSvidRequest, IssueX509SvidRequest, RegisterRequest, StatusRequest, StatusResponse,
};
use signet_proto::view::v1::revocation::Subject as WireSubject;
use signet_proto::view::v1::{TrustBundle, Update};
use signet_spiffe::{
    BundleSet, CertificateDer, JwtBundle, JwtBundleSet, KeyId, Revocations, Subject, SvidError, UnixTime,
    VerifiedSvid, X509Bundle, verify_jwt_svid, verify_x509_svid,
};
use signet_tls::SvidKeyPair;
use tokio::time::{sleep, timeout};
use tonic::transport::Channel;

use super::agent::FakeAgent;
use crate::running::{Follower, Running, TestNode, channel, domain, pair, request};

pub(crate) const LOWER: &str = "spiffe://td/ca/lower";

/// For what should be there at once, on a machine that is busy.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// The upper CA, with the lower one's node and registration.
pub(crate) struct Upper {
    pub(crate) ca: Running,
    pub(crate) node: TestNode,
    pub(crate) registration: String,
    pub(crate) agent: FakeAgent,
    _run: tempfile::TempDir,
}

/// An upper CA that does nothing by itself.
pub(crate) fn quiet(config: &mut Config) {
    config.rotation.publish_interval = Duration::ZERO;
    config.rotation.automatic = false;
}

impl Upper {
    pub(crate) async fn start(storage: Storage, change: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ca = Running::configured(storage, directory, |config| {
            quiet(config);
            change(config);
        });
        let ca = ca.await.unwrap();
        let node = ca.node("n1", &[]).await;
        let registration = register(&ca, LOWER, true).await;
        let run = tempfile::tempdir().unwrap();
        let agent = FakeAgent::start(run.path(), &node.client, &ca.operator, &registration);
        Self {
            ca,
            node,
            registration,
            agent,
            _run: run,
        }
    }

    pub(crate) fn upstream(&self) -> Upstream {
        self.upstream_at(self.ca.server.address())
    }

    pub(crate) fn upstream_at(&self, address: SocketAddr) -> Upstream {
        Upstream::Signet(SignetUpstream {
            addresses: vec![address],
            workload_socket: self.agent.socket.clone(),
            identity: None,
        })
    }

    pub(crate) async fn lower(&self, storage: Storage) -> anyhow::Result<Running> {
        self.lower_with(storage, |_| {}).await
    }

    pub(crate) async fn lower_with(
        &self,
        storage: Storage,
        change: impl FnOnce(&mut Config),
    ) -> anyhow::Result<Running> {
        let upstream = self.upstream();
        Running::configured(storage, tempfile::tempdir()?, |config| {
            quiet(config);
            change(config);
            config.upstream = upstream;
        })
        .await
    }

    /// A client with the SVID of a registration on the node.
    pub(crate) async fn client(&self, registration: &str) -> DownstreamServiceClient<Channel> {
        let identity = identity(&self.node, registration).await;
        self.client_as(&identity).await
    }

    pub(crate) async fn client_as(&self, identity: &SvidKeyPair) -> DownstreamServiceClient<Channel> {
        let there = channel(self.ca.server.address(), Some(identity), self.ca.bundles()).await;
        DownstreamServiceClient::new(there.unwrap())
    }
}

pub(crate) async fn register(ca: &Running, id: &str, downstream: bool) -> String {
    let request = RegisterRequest {
        spiffe_id: id.to_owned(),
        node: "n1".to_owned(),
        selectors: vec!["unix:uid:7".to_owned()],
        downstream,
        ..RegisterRequest::default()
    };
    ca.operator
        .clone()
        .register(request)
        .await
        .unwrap()
        .into_inner()
        .id
}

pub(crate) async fn identity(node: &TestNode, registration: &str) -> SvidKeyPair {
    let (key, csr) = request();
    let call = IssueX509SvidRequest {
        registration: registration.to_owned(),
        csr,
    };
    let svid = node
        .client
        .clone()
        .issue_x509_svid(call)
        .await
        .unwrap()
        .into_inner();
    pair(&key, &svid)
}

/// Both, with a node and a workload each.
pub(crate) struct Stage {
    pub(crate) upper: Upper,
    pub(crate) lower: Running,
    pub(crate) lower_node: TestNode,
    pub(crate) high: String,
    pub(crate) low: String,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        let upper = Box::pin(Upper::start(Storage::Memory, |_| {})).await;
        let lower = Box::pin(upper.lower(Storage::Memory)).await.unwrap();
        Box::pin(Self::with(upper, lower)).await
    }

    pub(crate) async fn with(upper: Upper, lower: Running) -> Self {
        // Numbers of nodes are each CA's own; a first one stands before, so that they differ here.
        lower.node("n0", &[]).await;
        let lower_node = lower.node("n1", &[]).await;
        let high = register(&upper.ca, "spiffe://td/high", false).await;
        let low = register(&lower, "spiffe://td/low", false).await;
        Self {
            upper,
            lower,
            lower_node,
            high,
            low,
        }
    }

    pub(crate) async fn low_svid(&self) -> Vec<CertificateDer<'static>> {
        identity(&self.lower_node, &self.low).await.chain.clone()
    }

    pub(crate) async fn high_svid(&self) -> Vec<CertificateDer<'static>> {
        identity(&self.upper.node, &self.high).await.chain.clone()
    }

    /// The lower CA's authority that signs: its subject key identifier.
    pub(crate) async fn signing(&self) -> String {
        let all = self.lower.authorities_of("x509").await;
        all.into_iter().find(|one| one.state == "active").unwrap().id
    }
}

/// What a node knows after updates.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) bundle: TrustBundle,
    pub(crate) authorities: BTreeSet<KeyId>,
    pub(crate) revocations: Revocations,
}

impl Known {
    pub(crate) fn apply(&mut self, update: Update) {
        if let Some(bundle) = update.bundle {
            self.bundle = bundle;
        }
        for revocation in update.revocations {
            let reason: Arc<str> = revocation.reason.as_str().into();
            if let Some(WireSubject::Authority(key)) = revocation.subject {
                let key = KeyId::new(&key).unwrap();
                self.authorities.insert(key.clone());
                self.revocations.insert(Subject::Authority(key), reason);
            }
        }
    }

    pub(crate) fn verify(&self, chain: &[CertificateDer<'_>]) -> Result<VerifiedSvid, SvidError> {
        let roots = self
            .bundle
            .x509_authorities
            .iter()
            .cloned()
            .map(CertificateDer::from);
        let bundle = X509Bundle::new(domain(), roots.collect()).unwrap();
        let revocations = Arc::new(self.revocations.clone());
        let bundles = BundleSet::single(bundle).with_revocations(revocations);
        verify_x509_svid(chain, &bundles, UnixTime::now())
    }

    pub(crate) fn keys(&self) -> JwtBundle {
        if self.bundle.jwt_keys.is_empty() {
            return JwtBundle::empty(domain());
        }
        let text = std::str::from_utf8(&self.bundle.jwt_keys).unwrap();
        JwtBundle::from_jwks(domain(), text).unwrap()
    }

    pub(crate) fn verifies_token(&self, token: &str) -> bool {
        let bundles = JwtBundleSet::single(self.keys());
        verify_jwt_svid(token, &bundles, "there", UnixTime::now()).is_ok()
    }
}

/// Follows what a node is told until it knows enough.
pub(crate) async fn until(follower: &mut Follower, known: &mut Known, enough: impl Fn(&Known) -> bool) {
    let told = timeout(SOON, async {
        while !enough(known) {
            known.apply(follower.next().await);
        }
    });
    assert!(told.await.is_ok(), "not told in time: {known:?}");
}

pub(crate) async fn token(node: &TestNode, registration: &str) -> String {
    let call = IssueJwtSvidRequest {
        registration: registration.to_owned(),
        audience: vec!["there".to_owned()],
    };
    let token = node.client.clone().issue_jwt_svid(call).await.unwrap();
    token.into_inner().token
}

pub(crate) async fn status(ca: &Running) -> StatusResponse {
    ca.operator
        .clone()
        .status(StatusRequest {})
        .await
        .unwrap()
        .into_inner()
}

/// Asks again and again.
pub(crate) async fn soon<T>(what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
    let asked = timeout(SOON, async {
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            sleep(Duration::from_millis(20)).await;
        }
    });
    match asked.await {
        Ok(found) => found,
        Err(late) => panic!("{what}: {late}"),
    }
}

/// The key identifiers of certificates.
pub(crate) fn key_of(certificate: &CertificateDer<'static>) -> KeyId {
    let alone = X509Bundle::new(domain(), vec![certificate.clone()]).unwrap();
    alone.key_ids().next().unwrap().clone()
}
