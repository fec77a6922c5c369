//! A node with a TPM, from an empty disk to a workload that is served: the commands that people type, real agents, a real CA.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test whose set-up fails has failed"
)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Output};
use std::time::Duration;

use clap::Parser as _;
use signet_agent::cli::{Cli, Command};
use signet_ca::{AttestationConfig, Config, NameRule, Server, Storage, TpmDevid};
use signet_proto::ca::v1::operator_service_client::OperatorServiceClient;
use signet_proto::ca::v1::{AllowNodeRequest, BanNodeRequest, ListNodesRequest, RegisterRequest};
use signet_swtpm::{Authority, Swtpm};
use spiffe::WorkloadApiClient;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

/// Longer than any step may take: only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_mins(1);

async fn ca(directory: &Path) -> Server {
    let attestation = AttestationConfig {
        x509pop: None,
        tpm_devid: Some(TpmDevid {
            authorities: directory.join("owner.pem"),
            endorsements: directory.join("makers.pem"),
            name: Some(NameRule::CommonName),
        }),
    };
    let config = Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        attestation,
        ..Config::new(
            "td.example".parse().unwrap(),
            Storage::Memory,
            directory.join("ca.sock"),
        )
    };
    Server::start(config).await.unwrap()
}

/// The agent's program, which lies beside those of the tests.
fn program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.ancestors().nth(2).unwrap().join("signet-agent");
    assert!(
        path.exists(),
        "{} was not built: cargo build -p signet-agent",
        path.display()
    );
    path
}

fn devid(arguments: &[&str], home: &Path, tpm: &Swtpm) -> Output {
    Process::new(program())
        .arg("devid")
        .args(arguments)
        .arg("--dir")
        .arg(home.join("devid"))
        .args(["--tpm", &tpm.address()])
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// An agent with a TPM; ended by the token.
fn agent(home: &Path, tpm: &Swtpm, ca: &Server) -> CancellationToken {
    let at = |name: &str| home.join(name).display().to_string();
    std::fs::write(home.join("bundle.pem"), ca.bundle().to_pem()).unwrap();
    let arguments = [
        "signet-agent".to_owned(),
        "run".to_owned(),
        "--node=n1".to_owned(),
        format!("--ca={}", ca.address()),
        format!("--trust-bundle={}", at("bundle.pem")),
        format!("--tpm={}", tpm.address()),
        format!("--tpm-devid={}", at("devid")),
        format!("--data-dir={}", at("agent")),
        format!("--run-dir={}", at("run")),
        format!("--bpffs={}", at("none")),
        "--listen=127.0.0.1:0".to_owned(),
    ];
    let Command::Run(run) = Cli::parse_from(arguments).command;
    let stop = CancellationToken::new();
    tokio::spawn(signet_agent::run::run(run, stop.clone()));
    stop
}

async fn nodes(operator: &mut OperatorServiceClient<Channel>) -> usize {
    let listed = operator.list_nodes(ListNodesRequest {}).await.unwrap();
    listed.into_inner().nodes.len()
}

/// Until the agent serves us.
async fn served(home: &Path) -> String {
    let socket = format!("unix://{}", home.join("run/workload.sock").display());
    timeout(PATIENCE, async {
        loop {
            if let Ok(client) = WorkloadApiClient::connect_to(&socket).await
                && let Ok(svid) = client.fetch_x509_svid().await
            {
                return svid.spiffe_id().to_string();
            }
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("the agent serves nothing"))
}

/// The commands of docs/attestation.md, and what they say.
fn provision(home: &Path, tpm: &Swtpm, owner: &Authority) -> String {
    let early = devid(&["show"], home, tpm);
    assert!(!early.status.success());
    let early = String::from_utf8(early.stdout).unwrap();
    assert!(
        early.starts_with("ek-sha256:"),
        "the TPM is known before: {early}"
    );
    let request = text(&devid(&["create", "--name", "n1"], home, tpm));
    assert!(
        request.starts_with("-----BEGIN CERTIFICATE REQUEST-----"),
        "{request}"
    );
    let again = devid(&["create", "--name", "n1"], home, tpm);
    assert!(!again.status.success());
    let again = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(again.contains("already"), "no identity is written over: {again}");
    let without = devid(&["show"], home, tpm);
    assert!(!without.status.success());
    assert!(String::from_utf8_lossy(&without.stderr).contains("devid.pem"));
    std::fs::write(home.join("devid/devid.pem"), owner.grant(&request).unwrap()).unwrap();
    let shown = text(&devid(&["show"], home, tpm));
    let endorsement = text(&devid(&["show", "--ek-sha256"], home, tpm));
    assert_eq!(
        shown.lines().next(),
        Some(format!("ek-sha256:{}", endorsement.trim()).as_str())
    );
    endorsement.trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_with_a_tpm_is_admitted_comes_back_without_its_disk_and_stays_out_once_banned() {
    let home = tempfile::tempdir().unwrap();
    let tpm = Swtpm::manufactured().unwrap();
    let owner = Authority::new("owner").unwrap();
    std::fs::write(home.path().join("owner.pem"), owner.pem()).unwrap();
    std::fs::copy(tpm.issuer(), home.path().join("makers.pem")).unwrap();
    let server = ca(home.path()).await;
    let mut operator = OperatorServiceClient::new(signet_uds::connect(&home.path().join("ca.sock")).unwrap());
    let endorsement = provision(home.path(), &tpm, &owner);
    let allow = AllowNodeRequest {
        node: "n1".to_owned(),
        ways: vec![format!("tpm_devid ek-sha256:{endorsement}")],
        ..AllowNodeRequest::default()
    };
    operator.allow_node(allow).await.unwrap();
    let stop = agent(home.path(), &tpm, &server);
    timeout(PATIENCE, async {
        while nodes(&mut operator).await == 0 {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    let register = RegisterRequest {
        spiffe_id: "spiffe://td.example/on/n1".to_owned(),
        node: "n1".to_owned(),
        selectors: vec![format!("unix:uid:{}", rustix::process::getuid().as_raw())],
        ..RegisterRequest::default()
    };
    operator.register(register).await.unwrap();
    assert_eq!(served(home.path()).await, "spiffe://td.example/on/n1");
    stop.cancel();
    // The disk was lost but for what belongs to the TPM.
    for lost in ["agent", "run"] {
        std::fs::remove_dir_all(home.path().join(lost)).unwrap();
    }
    let stop = agent(home.path(), &tpm, &server);
    assert_eq!(served(home.path()).await, "spiffe://td.example/on/n1");
    stop.cancel();
    let ban = BanNodeRequest {
        node: "n1".to_owned(),
        reason: "stolen".to_owned(),
        rehearse: false,
    };
    operator.ban_node(ban).await.unwrap();
    std::fs::remove_dir_all(home.path().join("agent")).unwrap();
    // The files are of no use to another TPM.
    let other = Swtpm::manufactured().unwrap();
    let foreign = devid(&["show"], home.path(), &other);
    let said = String::from_utf8_lossy(&foreign.stderr).into_owned();
    assert!(
        !foreign.status.success() && said.contains("not of this TPM"),
        "{said}"
    );
}
