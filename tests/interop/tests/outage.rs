//! An availability target: a real CA, a real agent, and a SPIFFE client that others wrote.

#![expect(clippy::unwrap_used, reason = "a test whose set-up fails has failed")]

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use clap::Parser as _;
use futures::StreamExt as _;
use rustls_pki_types::{CertificateDer, UnixTime};
use signet_agent::cli::{Cli, Command};
use signet_ca::{Config, Server, Storage};
use signet_proto::ca::v1::operator_service_client::OperatorServiceClient;
use signet_proto::ca::v1::{CreateJoinTokenRequest, RegisterRequest, StatusRequest};
use signet_spiffe::{BundleSet, verify_x509_svid};
use spiffe::{WorkloadApiClient, X509Context};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

/// Longer than any step may take: only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_mins(2);

/// Agents renew SVIDs of this life after twelve seconds at the earliest; with the target after some two.
const LIFE: Duration = Duration::from_secs(30);
const TARGET: Duration = Duration::from_secs(27);
const EARLIEST_WITHOUT: u64 = 12;

async fn ca(directory: &Path, listen: SocketAddr, target: Duration) -> Server {
    let storage = Storage::Directory(directory.join("data"));
    let config = Config {
        listen,
        svid_ttl: LIFE,
        node_svid_ttl: Duration::from_hours(1),
        availability_target: target,
        ..Config::new("td".parse().unwrap(), storage, directory.join("ca.sock"))
    };
    Server::start(config).await.unwrap()
}

fn operator(directory: &Path) -> OperatorServiceClient<Channel> {
    OperatorServiceClient::new(signet_uds::connect(&directory.join("ca.sock")).unwrap())
}

/// Registers this process, and starts the agent that serves it.
async fn agent(directory: &Path, server: &Server, end: CancellationToken) -> WorkloadApiClient {
    let token = CreateJoinTokenRequest {
        node: "n1".to_owned(),
        ..CreateJoinTokenRequest::default()
    };
    let token = operator(directory).create_join_token(token).await.unwrap();
    std::fs::write(directory.join("token"), token.into_inner().token).unwrap();
    std::fs::write(directory.join("bundle.pem"), server.bundle().to_pem()).unwrap();
    let register = RegisterRequest {
        spiffe_id: "spiffe://td/web".to_owned(),
        node: "n1".to_owned(),
        selectors: vec![format!("unix:uid:{}", rustix::process::getuid().as_raw())],
        ..RegisterRequest::default()
    };
    operator(directory).register(register).await.unwrap();
    let at = |name: &str| directory.join(name).display().to_string();
    let arguments = [
        "signet-agent".to_owned(),
        "run".to_owned(),
        "--node=n1".to_owned(),
        format!("--ca={}", server.address()),
        format!("--trust-bundle={}", at("bundle.pem")),
        format!("--join-token-file={}", at("token")),
        format!("--data-dir={}", at("agent")),
        format!("--run-dir={}", at("run")),
        format!("--bpffs={}", at("none")),
        "--listen=127.0.0.1:0".to_owned(),
    ];
    let Command::Run(run) = Cli::parse_from(arguments).command;
    tokio::spawn(signet_agent::run::run(run, end));
    let socket = format!("unix://{}", at("run/workload.sock"));
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
    .unwrap()
}

fn ends(context: &X509Context, bundles: &BundleSet) -> u64 {
    let leaf = context.default_svid().unwrap().cert_chain()[0].as_bytes();
    let chain = [CertificateDer::from(leaf.to_vec())];
    let verified = verify_x509_svid(&chain, bundles, UnixTime::now()).unwrap();
    verified.not_after().as_secs()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_the_ca_is_restarted_with_makes_running_agents_renew_earlier() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path();
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = ca(home, anywhere, Duration::ZERO).await;
    let (address, end) = (server.address(), CancellationToken::new());
    let _guard = end.clone().drop_guard();
    let workload = agent(home, &server, end).await;
    let bundles = BundleSet::single(server.bundle().clone());
    server.shutdown().await;
    let server = ca(home, address, TARGET).await;

    let contexts = workload.stream_x509_contexts().await.unwrap();
    let mut contexts = std::pin::pin!(contexts);
    let mut next = async || {
        let context = timeout(PATIENCE, contexts.next()).await.unwrap();
        ends(&context.unwrap().unwrap(), &bundles)
    };
    // Two in a row that no agent without the target would ask for: the first may still be of the time before.
    let mut last = next().await;
    let mut early = 0;
    while early < 2 {
        let new = next().await;
        early += u32::from(new > last && new - last < EARLIEST_WITHOUT);
        last = new;
    }
    let status = operator(home)
        .status(StatusRequest {})
        .await
        .unwrap()
        .into_inner();
    let outage = status.outage.unwrap();
    assert_eq!(u64::from(outage.target), TARGET.as_secs());
    assert!(outage.classes.iter().all(|class| class.promised >= outage.target));
    drop(server);
}
