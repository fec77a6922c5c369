//! The CA's signing keys change under workloads that go on: a real CA, two real agents, and a SPIFFE client that others wrote as the
//! workload of both.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test whose set-up fails has failed"
)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use clap::Parser as _;
use rustls_pki_types::{CertificateDer, UnixTime};
use signet_agent::cli::{Cli, Command};
use signet_ca::{Config, Server, Storage};
use signet_proto::ca::v1::authority_service_client::AuthorityServiceClient;
use signet_proto::ca::v1::operator_service_client::OperatorServiceClient;
use signet_proto::ca::v1::{
    ActivateAuthorityRequest, Authority, CreateJoinTokenRequest, ListAuthoritiesRequest,
    PrepareAuthorityRequest, RegisterRequest, RevokeAuthorityRequest, TaintAuthorityRequest,
};
use signet_spiffe::{BundleSet, X509Bundle, verify_x509_svid};
use spiffe::WorkloadApiClient;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

const DOMAIN: &str = "a.example";

/// Longer than any step may take: only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_mins(1);

struct World {
    server: Server,
    directory: TempDir,
    operator: OperatorServiceClient<Channel>,
    authorities: AuthorityServiceClient<Channel>,
}

/// An agent that serves us.
struct Agent {
    name: &'static str,
    workload: WorkloadApiClient,
    stop: CancellationToken,
    running: JoinHandle<anyhow::Result<()>>,
}

impl World {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("ca.sock");
        let storage = Storage::Directory(directory.path().join("data"));
        let config = Config::new(DOMAIN.parse().unwrap(), storage, &socket);
        Self {
            server: Server::start(config).await.unwrap(),
            operator: OperatorServiceClient::new(signet_uds::connect(&socket).unwrap()),
            authorities: AuthorityServiceClient::new(signet_uds::connect(&socket).unwrap()),
            directory,
        }
    }

    /// Admits a node on which we are a workload.
    async fn admit(&self, name: &'static str) {
        let home = self.directory.path().join(name);
        std::fs::create_dir(&home).unwrap();
        let token = CreateJoinTokenRequest {
            node: name.to_owned(),
            ..CreateJoinTokenRequest::default()
        };
        let token = self.operator.clone().create_join_token(token).await.unwrap();
        std::fs::write(home.join("token"), token.into_inner().token).unwrap();
        std::fs::write(home.join("bundle.pem"), self.server.bundle().to_pem()).unwrap();
        let register = RegisterRequest {
            spiffe_id: format!("spiffe://{DOMAIN}/on/{name}"),
            node: name.to_owned(),
            selectors: vec![format!("unix:uid:{}", rustix::process::getuid().as_raw())],
            ..RegisterRequest::default()
        };
        self.operator.clone().register(register).await.unwrap();
    }

    async fn agent(&self, name: &'static str) -> Agent {
        let home = self.directory.path().join(name);
        let at = |file: &str| home.join(file).display().to_string();
        let arguments = [
            "signet-agent".to_owned(),
            "run".to_owned(),
            format!("--node={name}"),
            format!("--ca={}", self.server.address()),
            format!("--trust-bundle={}", at("bundle.pem")),
            format!("--join-token-file={}", at("token")),
            format!("--data-dir={}", at("agent")),
            format!("--run-dir={}", at("run")),
            format!("--bpffs={}", at("none")),
            "--listen=127.0.0.1:0".to_owned(),
        ];
        let Command::Run(run) = Cli::parse_from(arguments).command;
        let stop = CancellationToken::new();
        let running = tokio::spawn(signet_agent::run::run(run, stop.clone()));
        Agent {
            name,
            workload: client(&home.join("run/workload.sock")).await,
            stop,
            running,
        }
    }

    async fn of(&self, kind: &str) -> Vec<Authority> {
        let list = self
            .authorities
            .clone()
            .list_authorities(ListAuthoritiesRequest {})
            .await;
        let mut all = list.unwrap().into_inner().authorities;
        all.retain(|one| one.kind == kind);
        all
    }

    /// Another one signs as soon as both agents have it. The one that did.
    async fn turn(&self, kind: &str) -> String {
        let active = self
            .of(kind)
            .await
            .into_iter()
            .find(|one| one.state == "active")
            .unwrap();
        let prepare = PrepareAuthorityRequest {
            kind: kind.to_owned(),
        };
        self.authorities.clone().prepare_authority(prepare).await.unwrap();
        let activate = ActivateAuthorityRequest {
            kind: kind.to_owned(),
            acknowledged: true,
            ..ActivateAuthorityRequest::default()
        };
        soon("both agents acknowledge the bundle", async || {
            self.authorities
                .clone()
                .activate_authority(activate.clone())
                .await
                .is_ok()
        })
        .await;
        active.id
    }

    async fn taint(&self, kind: &str, id: &str) {
        let request = TaintAuthorityRequest {
            kind: kind.to_owned(),
            id: id.to_owned(),
            rehearse: false,
        };
        self.authorities.clone().taint_authority(request).await.unwrap();
    }

    async fn revoke(&self, kind: &str, id: &str) {
        let request = RevokeAuthorityRequest {
            kind: kind.to_owned(),
            id: id.to_owned(),
            reason: "key-compromise".to_owned(),
            rehearse: false,
            force: false,
        };
        soon("no node has an SVID of the old one any more", async || {
            self.authorities
                .clone()
                .revoke_authority(request.clone())
                .await
                .is_ok()
        })
        .await;
    }
}

impl Agent {
    async fn end(self) {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
    }

    async fn chain(&self) -> Vec<CertificateDer<'static>> {
        let svid = self.workload.fetch_x509_svid().await.unwrap();
        let chain = svid.cert_chain().iter();
        chain
            .map(|one| CertificateDer::from(one.as_bytes().to_vec()))
            .collect()
    }

    /// What the workload checks others against.
    async fn bundles(&self) -> BundleSet {
        let context = self.workload.fetch_x509_context().await.unwrap();
        let bundle = context
            .bundle_set()
            .get(&spiffe::TrustDomain::new(DOMAIN).unwrap())
            .unwrap();
        let authorities = bundle.authorities().iter();
        let authorities = authorities
            .map(|one| CertificateDer::from(one.as_bytes().to_vec()))
            .collect();
        BundleSet::single(X509Bundle::new(DOMAIN.parse().unwrap(), authorities).unwrap())
    }

    /// Which authority signed what the workload shows.
    async fn signer(&self) -> String {
        let verified = verify_x509_svid(&self.chain().await, &self.bundles().await, UnixTime::now());
        verified.unwrap().authorities()[0].to_string()
    }
}

async fn client(socket: &Path) -> WorkloadApiClient {
    let socket = format!("unix://{}", socket.display());
    timeout(PATIENCE, async {
        loop {
            // Until the agent has an SVID for us, it asks us to try again.
            if let Ok(client) = WorkloadApiClient::connect_to(&socket).await
                && client.fetch_x509_context().await.is_ok()
            {
                return client;
            }
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("nobody serves {socket}"))
}

async fn soon(what: &str, is_so: impl AsyncFn() -> bool) {
    let is_so = async {
        while !is_so().await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, is_so)
        .await
        .unwrap_or_else(|_| panic!("it never came that {what}"));
}

/// Each shows itself to the other, again and again.
async fn traffic(one: Arc<Agent>, other: Arc<Agent>, end: Arc<AtomicBool>, times: Arc<AtomicU32>) {
    while !end.load(Ordering::SeqCst) {
        // The bundle of before: whoever connects has had it for a while.
        let bundles = other.bundles().await;
        let chain = one.chain().await;
        let verified = verify_x509_svid(&chain, &bundles, UnixTime::now());
        assert!(
            verified.is_ok(),
            "an SVID of {} is refused at {}: {verified:?}",
            one.name,
            other.name
        );
        let token = one.workload.fetch_jwt_token(["x"], None).await.unwrap();
        other.workload.validate_jwt_token("x", &token).await.unwrap();
        times.fetch_add(1, Ordering::SeqCst);
        // An agent counts how often one process asks.
        sleep(Duration::from_millis(25)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn spiffe_row_62_signing_keys_change_under_workloads_that_go_on_and_a_compromised_one_is_gone_in_the_end()
 {
    let world = World::new().await;
    world.admit("n1").await;
    world.admit("n2").await;
    let one = Arc::new(world.agent("n1").await);
    let other = Arc::new(world.agent("n2").await);
    let (end, times) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let run = |from: &Arc<Agent>, to: &Arc<Agent>| {
        tokio::spawn(traffic(
            Arc::clone(from),
            Arc::clone(to),
            Arc::clone(&end),
            Arc::clone(&times),
        ))
    };
    let running = [run(&one, &other), run(&other, &one)];
    // Planned turns of both kinds, while everybody goes on.
    for _ in 0..2 {
        world.turn("x509").await;
        world.turn("jwt").await;
        let before = times.load(Ordering::SeqCst);
        soon("traffic goes on", async || {
            times.load(Ordering::SeqCst) > before + 4
        })
        .await;
    }
    // What signed so far has leaked.
    let first = one.signer().await;
    world.turn("x509").await;
    // Serial numbers count in seconds: what was renewed in the second of the turn cannot be told from what was signed before.
    sleep(Duration::from_millis(1100)).await;
    let (mut leaked, mut active) = (Vec::new(), String::new());
    for authority in world.of("x509").await {
        match authority.state.as_str() {
            "old" => leaked.push(authority.id),
            _ => active = authority.id,
        }
    }
    assert!(leaked.contains(&first) && leaked.len() == 3);
    for leaked in &leaked {
        world.taint("x509", leaked).await;
    }
    for agent in [&one, &other] {
        soon("its workload has a new SVID", async || {
            agent.signer().await == active
        })
        .await;
    }
    let before = times.load(Ordering::SeqCst);
    soon("traffic goes on", async || {
        times.load(Ordering::SeqCst) > before + 4
    })
    .await;
    end.store(true, Ordering::SeqCst);
    for running in running {
        running.await.unwrap();
    }
    for leaked in &leaked {
        world.revoke("x509", leaked).await;
    }
    soon("nothing else is published", async || {
        one.bundles()
            .await
            .get(&DOMAIN.parse().unwrap())
            .unwrap()
            .authorities()
            .len()
            == 1
    })
    .await;
    assert_eq!(other.signer().await, active);
    // An agent that comes back knows the CA although the bundle that it is started with does not.
    drop(one);
    Arc::try_unwrap(other).ok().unwrap().end().await;
    let other = world.agent("n2").await;
    assert_eq!(other.signer().await, active);
}
