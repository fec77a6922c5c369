//! The real daemon, as a process.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use signet_proto::ca::v1::operator_service_client::OperatorServiceClient;
use signet_proto::ca::v1::{AttestRequest, CreateJoinTokenRequest, RegisterRequest, StatusRequest};
use signet_spiffe::{BundleSet, X509Bundle};
use signet_tls::SvidKeyPair;
use tonic::transport::Channel;

use crate::running::{dial, domain, pair, request};

/// A CA of the trust domain `td` with its data below a directory; killed on drop.
pub(crate) struct Daemon {
    pub(crate) process: Child,
    pub(crate) address: SocketAddr,
    pub(crate) operator: OperatorServiceClient<Channel>,
    /// What it said before it was ready.
    pub(crate) said: Vec<String>,
}

impl Daemon {
    pub(crate) fn start(directory: &Path) -> Self {
        Self::start_with(directory, |_| {})
    }

    /// With something else than all others.
    pub(crate) fn start_with(directory: &Path, change: impl FnOnce(&mut Command)) -> Self {
        let socket = directory.join("ca.sock");
        let mut command = Command::new(env!("CARGO_BIN_EXE_signet-ca"));
        command
            .args([
                "run",
                "--trust-domain",
                "td",
                "--listen",
                "127.0.0.1:0",
                "--log-format",
                "json",
            ])
            .arg("--data-dir")
            .arg(directory.join("data"))
            .arg("--socket")
            .arg(&socket)
            .env("SIGNET_LOG", "info")
            .stderr(Stdio::piped());
        change(&mut command);
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        let ready = loop {
            let line = lines.next().unwrap().unwrap();
            if line.contains("the CA is ready") {
                break line;
            }
            said.push(line);
        };
        // The rest is read so that the daemon never waits for somebody to do so.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        let (_, rest) = ready.split_once("\"listen\":\"").unwrap();
        let address = rest.split('"').next().unwrap().parse().unwrap();
        Self {
            process,
            address,
            operator: OperatorServiceClient::new(signet_uds::connect(&socket).unwrap()),
            said,
        }
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub(crate) async fn bundles(&self) -> BundleSet {
        let status = self
            .operator
            .clone()
            .status(StatusRequest {})
            .await
            .unwrap()
            .into_inner();
        BundleSet::single(X509Bundle::from_pem(domain(), &status.bundle_pem).unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A node's identity, and a registration on it.
pub(crate) async fn prepare(ca: &Daemon) -> (SvidKeyPair, String) {
    let token = CreateJoinTokenRequest {
        node: "n1".to_owned(),
        ..CreateJoinTokenRequest::default()
    };
    let mut operator = ca.operator.clone();
    let token = operator
        .create_join_token(token)
        .await
        .unwrap()
        .into_inner()
        .token;
    let (key, csr) = request();
    let mut stranger = dial(ca.address, None, ca.bundles().await).await.unwrap();
    let attest = AttestRequest {
        join_token: token,
        csr,
    };
    let attested = stranger.attest(attest).await.unwrap().into_inner();
    let register = RegisterRequest {
        spiffe_id: "spiffe://td/web".to_owned(),
        node: "n1".to_owned(),
        selectors: vec!["unix:uid:1".to_owned()],
        ttl: 0,
        ..RegisterRequest::default()
    };
    let registration = operator.register(register).await.unwrap().into_inner().id;
    (pair(&key, &attested.svid.unwrap()), registration)
}
