//! Several CAs on one PostgreSQL, and agents that know of all of them.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test whose set-up fails has failed"
)]

#[path = "support/replicas.rs"]
mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use signet_agent::ca::{CaAddresses, CaChannel, channel};
use signet_ca::Config;
use signet_proto::ca::v1::node_service_client::NodeServiceClient;
use signet_proto::ca::v1::{AttestRequest, IssueX509SvidRequest, RenewNodeSvidRequest, Svid};
use signet_spiffe::BundleSet;
use signet_tls::{FixedBundles, SvidKeyPair};
use support::{Agent, PATIENCE, Process, Replica, Wire, database};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Response, Status};

/// Waits until so many nodes follow a CA.
async fn followed(ca: &Replica, is_so: impl Fn(u32) -> bool) {
    let wait = timeout(PATIENCE, async {
        while !is_so(ca.connected().await) {
            sleep(Duration::from_millis(50)).await;
        }
    });
    wait.await.unwrap();
}

/// They are renewed after eight seconds at the earliest, and nodes belong to another CA after sixteen.
fn short(config: &mut Config) {
    config.svid_ttl = Duration::from_secs(20);
    config.node_svid_ttl = Duration::from_secs(40);
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_spread_and_leave_a_ca_that_answers_and_can_do_nothing_and_return_to_it() {
    let Some(url) = database("agents_spread_and_leave_a_ca_that_answers_and_can_do_nothing") else {
        return;
    };
    let mut wire = Wire::new(&url);
    let sound = Replica::start(&url, None, short).await;
    let lame = Replica::start(&wire.url(&url), Some(&sound), short).await;
    let cas = [lame.server.address(), sound.server.address()];
    let end = CancellationToken::new();
    let _guard = end.clone().drop_guard();
    let mut agents = Vec::new();
    // By the dice: in the end both have some.
    while agents.len() < 4 || lame.connected().await == 0 || sound.connected().await == 0 {
        assert!(agents.len() < 40, "agents do not spread");
        let agent = Agent::start(&format!("n{}", agents.len()), &sound, &cas, end.clone()).await;
        let svid = timeout(PATIENCE, agent.other_than(None)).await.unwrap();
        agents.push((agent, svid));
    }
    let all = u32::try_from(agents.len()).unwrap();

    // It goes on to accept connections and to keep them.
    wire.cut();
    for (agent, svid) in &mut agents {
        *svid = agent.svid().await.unwrap_or_default();
        let renewed = timeout(PATIENCE, agent.other_than(Some(svid))).await;
        *svid = renewed.unwrap();
    }
    followed(&sound, |nodes| nodes == all).await;

    wire.mend();
    followed(&lame, |nodes| nodes > 0).await;
}

fn request() -> (KeyPair, Vec<u8>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let csr = params.serialize_request(&key).unwrap().der().to_vec();
    (key, csr)
}

/// As agents reach several CAs.
struct Node {
    cas: CaAddresses,
    bundles: BundleSet,
    client: NodeServiceClient<CaChannel>,
}

impl Node {
    async fn attest(name: &str, home: &Replica, cas: &[SocketAddr], random: u64) -> Self {
        let cas = CaAddresses::new(cas, random);
        let bundles = BundleSet::single(home.server.bundle());
        let (key, csr) = request();
        let join_token = home.token(name).await;
        let mut stranger = Self::client(&cas, &bundles, None);
        let answer = stranger.attest(AttestRequest { join_token, csr }).await.unwrap();
        let svid = answer.into_inner().svid.unwrap();
        let client = Self::client(&cas, &bundles, Some(&pair(&key, svid)));
        Self { cas, bundles, client }
    }

    fn client(
        cas: &CaAddresses,
        bundles: &BundleSet,
        identity: Option<&SvidKeyPair>,
    ) -> NodeServiceClient<CaChannel> {
        let bundles = Arc::new(FixedBundles::new(bundles.clone()));
        NodeServiceClient::new(channel(cas, identity, bundles, &"td".parse().unwrap(), None).unwrap())
    }

    /// So often a certificate for a workload, and one for itself, which it shows from then on.
    async fn work(mut self, registration: String, times: u32, done: Arc<AtomicU32>) {
        for _ in 0..times {
            let issue = IssueX509SvidRequest {
                registration: registration.clone(),
                csr: request().1,
            };
            let issued = retried(|| {
                let (mut client, issue) = (self.client.clone(), issue.clone());
                async move { client.issue_x509_svid(issue).await }
            });
            let issued = issued.await;
            assert!(!issued.chain.is_empty());
            let (key, csr) = request();
            let renew = RenewNodeSvidRequest { csr };
            let svid = retried(|| {
                let (mut client, renew) = (self.client.clone(), renew.clone());
                async move { client.renew_node_svid(renew).await }
            });
            let identity = pair(&key, svid.await);
            self.client = Self::client(&self.cas, &self.bundles, Some(&identity));
            done.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn pair(key: &KeyPair, svid: Svid) -> SvidKeyPair {
    SvidKeyPair {
        chain: svid.chain.into_iter().map(Into::into).collect(),
        key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
    }
}

/// The answer, at the second attempt perhaps.
async fn retried<F>(mut call: impl FnMut() -> F) -> Svid
where
    F: Future<Output = Result<Response<Svid>, Status>>,
{
    let mut last = None;
    for _ in 0..4 {
        match call().await {
            Ok(svid) => return svid.into_inner(),
            Err(status) => last = Some(status),
        }
        sleep(Duration::from_millis(250)).await;
    }
    panic!("a request was lost: {last:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn when_one_ca_is_killed_under_load_no_certificate_is_lost_after_a_retry() {
    const NODES: u32 = 8;
    const TIMES: u32 = 20;
    let Some(url) = database("when_one_ca_is_killed_under_load_no_certificate_is_lost") else {
        return;
    };
    let stays = Replica::start(&url, None, |_| {}).await;
    let mut dies = Process::start(&url, &stays).await;
    let cas = [dies.address, stays.server.address()];
    let done = Arc::new(AtomicU32::new(0));
    let mut working = JoinSet::new();
    for number in 0..NODES {
        let name = format!("n{number}");
        let node = Node::attest(&name, &stays, &cas, number.into()).await;
        let registration = stays.register(&format!("of/{name}"), &name).await;
        working.spawn(node.work(registration, TIMES, Arc::clone(&done)));
    }
    timeout(PATIENCE, async {
        while done.load(Ordering::SeqCst) < NODES * TIMES / 4 {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    assert!(
        done.load(Ordering::SeqCst) < NODES * TIMES,
        "nothing was under way"
    );
    dies.kill();
    while let Some(worked) = working.join_next().await {
        worked.unwrap();
    }
    assert_eq!(done.load(Ordering::SeqCst), NODES * TIMES);
}
