//! Real agents that attest to a real CA without a join token, and serve their workloads.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test whose set-up fails has failed"
)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use clap::Parser as _;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SignatureAlgorithm,
};
use signet_agent::cli::{Cli, Command};
use signet_ca::{AttestationConfig, Config, NameRule, Server, Storage, X509Pop};
use signet_proto::ca::v1::operator_service_client::OperatorServiceClient;
use signet_proto::ca::v1::{AllowNodeRequest, EvictNodeRequest, ListNodesRequest, RegisterRequest};
use spiffe::WorkloadApiClient;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

/// Longer than any step may take: only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_mins(1);

/// Who gives machines their certificates.
struct Machines(Issuer<'static, KeyPair>);

impl Machines {
    /// Writes its certificate.
    fn new(to: &Path) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        std::fs::write(to, params.self_signed(&key).unwrap().pem()).unwrap();
        Self(Issuer::new(params, key))
    }

    /// Writes `node.pem` and `node.key` for a machine.
    fn equip(&self, dns: &str, algorithm: &'static SignatureAlgorithm, directory: &Path) {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let mut params = CertificateParams::new(vec![dns.to_owned()]).unwrap();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.0).unwrap();
        std::fs::write(directory.join("node.pem"), certificate.pem()).unwrap();
        std::fs::write(directory.join("node.key"), key.serialize_pem()).unwrap();
        std::fs::set_permissions(directory.join("node.key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    }
}

async fn ca(directory: &Path) -> Server {
    let config = Config {
        attestation: AttestationConfig {
            x509pop: Some(X509Pop {
                authorities: directory.join("machines.pem"),
                name: Some(NameRule::Dns),
            }),
            ..AttestationConfig::default()
        },
        ..Config::new(
            "td.example".parse().unwrap(),
            Storage::Memory,
            directory.join("ca.sock"),
        )
    };
    Server::start(config).await.unwrap()
}

fn operator(directory: &Path) -> OperatorServiceClient<Channel> {
    OperatorServiceClient::new(signet_uds::connect(&directory.join("ca.sock")).unwrap())
}

/// An agent with a certificate; ended by the token.
fn agent(node: &str, directory: &Path, ca: &Server) -> CancellationToken {
    let at = |name: &str| directory.join(name).display().to_string();
    std::fs::write(directory.join("bundle.pem"), ca.bundle().to_pem()).unwrap();
    let arguments = [
        "signet-agent".to_owned(),
        "run".to_owned(),
        format!("--node={node}"),
        format!("--ca={}", ca.address()),
        format!("--trust-bundle={}", at("bundle.pem")),
        format!("--x509pop-cert={}", at("node.pem")),
        format!("--x509pop-key={}", at("node.key")),
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

/// Until the agent serves us.
async fn served(directory: &Path) -> String {
    let socket = format!("unix://{}", directory.join("run/workload.sock").display());
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
    .unwrap_or_else(|_| panic!("the agent in {} serves nothing", directory.display()))
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_attest_with_every_kind_of_key_come_back_without_their_state_and_stay_out_once_evicted() {
    let home = tempfile::tempdir().unwrap();
    let machines = Machines::new(&home.path().join("machines.pem"));
    let server = ca(home.path()).await;
    let mut operator = operator(home.path());
    for (node, algorithm) in [
        ("n1", &rcgen::PKCS_ECDSA_P256_SHA256),
        ("n2", &rcgen::PKCS_ECDSA_P384_SHA384),
        ("n3", &rcgen::PKCS_ED25519),
        ("n4", &rcgen::PKCS_RSA_SHA256),
    ] {
        let directory = home.path().join(node);
        std::fs::create_dir(&directory).unwrap();
        machines.equip(&format!("{node}.example"), algorithm, &directory);
        let allow = AllowNodeRequest {
            node: node.to_owned(),
            ways: vec!["x509pop".to_owned()],
            ..AllowNodeRequest::default()
        };
        operator.allow_node(allow).await.unwrap();
        let stop = agent(node, &directory, &server);
        // A registration is of a node that is there.
        timeout(PATIENCE, async {
            loop {
                let listed = operator
                    .list_nodes(ListNodesRequest {})
                    .await
                    .unwrap()
                    .into_inner();
                if listed
                    .nodes
                    .iter()
                    .any(|entry| entry.node.as_ref().is_some_and(|known| known.name == node))
                {
                    break;
                }
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("{node} was not admitted"));
        let register = RegisterRequest {
            spiffe_id: format!("spiffe://td.example/on/{node}"),
            node: node.to_owned(),
            selectors: vec![format!("unix:uid:{}", rustix::process::getuid().as_raw())],
            ..RegisterRequest::default()
        };
        operator.register(register).await.unwrap();
        assert_eq!(served(&directory).await, format!("spiffe://td.example/on/{node}"));
        stop.cancel();
    }
    // The disk was lost: nothing but the machine's own key is left.
    let directory = home.path().join("n1");
    for lost in ["agent", "run"] {
        std::fs::remove_dir_all(directory.join(lost)).unwrap();
    }
    let stop = agent("n1", &directory, &server);
    assert_eq!(served(&directory).await, "spiffe://td.example/on/n1");
    stop.cancel();
    let evict = EvictNodeRequest {
        node: "n1".to_owned(),
        reason: "decommissioned".to_owned(),
        rehearse: false,
    };
    operator.evict_node(evict).await.unwrap();
    let listed = operator
        .list_nodes(ListNodesRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.nodes.len(), 3);
}
