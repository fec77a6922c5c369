//! Certificates per second of a SPIRE server and of `signet-ca`, one after the other, from one client on the same cores.
//!
//! `SPIRE_SERVER` is the path of SPIRE's `spire-server`; without it there is nothing to compare with. SPIRE mints over its Unix socket
//! (`MintX509SVID`, keys in memory, SQLite), which is the fastest way there is to it; Signet issues over mutual TLS, to a node for a registration,
//! and logs. Requests (P-256, signed) are made beforehand for both, and nothing is verified.

#![recursion_limit = "256"]
#![expect(clippy::print_stdout, reason = "the result of a bench is its output")]
#![expect(
    clippy::unwrap_used,
    reason = "a bench that cannot go on has nothing to measure"
)]

#[path = "load/callers.rs"]
mod callers;
#[path = "../tests/ca/daemon.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod daemon;
#[path = "../tests/ca/running.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod running;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair, SanType};
use signet_figures::{Aim, Figures, Scale};
use signet_proto::ca::v1::IssueX509SvidRequest;
use signet_tls::SvidKeyPair;
use tokio::time::sleep;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use callers::{Outcome, Span, measure};
use daemon::{Daemon, prepare};
use running::{dial, request};

/// Connections of the client, and calls at a time over each.
const CONNECTIONS: usize = 16;
const CALLS: [usize; 2] = [1, 8];

/// The aim: issue 4.
const AIM: Aim = Aim::AtLeast(3.5);

/// Until SPIRE answers.
const PATIENCE: Duration = Duration::from_mins(1);

fn main() {
    signet_figures::run("spire", |scale| {
        let Some(program) = std::env::var_os("SPIRE_SERVER") else {
            println!("SPIRE is not measured: SPIRE_SERVER is not set to the path of a spire-server");
            return;
        };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(compare(Path::new(&program), scale));
    });
}

async fn compare(program: &Path, scale: Scale) {
    let figures = Figures::of("spire");
    let span = Span::of(scale);
    let directory = tempfile::tempdir().unwrap();
    let spire = Spire::start(program, directory.path()).await;
    let mut theirs = Vec::new();
    for each in CALLS {
        let outcome = spire.mint(span, each).await;
        outcome.print(&figures, &format!("SPIRE, {CONNECTIONS} × {each}"), None);
        theirs.push(outcome.per_second);
    }
    drop(spire);
    let directory = tempfile::tempdir().unwrap();
    let ca = Daemon::start(directory.path());
    let node = prepare(&ca).await;
    for (each, theirs) in CALLS.into_iter().zip(theirs) {
        let outcome = issue(&ca, &node, span, each).await;
        outcome.print(&figures, &format!("Signet, {CONNECTIONS} × {each}"), None);
        let what = format!("Signet ÷ SPIRE, {CONNECTIONS} × {each}");
        figures.line(&what, outcome.per_second / theirs, "times", Some(AIM));
    }
}

async fn issue(ca: &Daemon, node: &(SvidKeyPair, String), span: Span, each: usize) -> Outcome {
    let (identity, registration) = node;
    let mut callers = Vec::new();
    for _ in 0..CONNECTIONS {
        let client = dial(ca.address, Some(identity), ca.bundles().await)
            .await
            .unwrap();
        for _ in 0..each {
            let call = IssueX509SvidRequest {
                registration: registration.clone(),
                csr: request().1,
            };
            let client = client.clone();
            callers.push(move || {
                let (mut client, call) = (client.clone(), call.clone());
                async move {
                    drop(client.issue_x509_svid(call).await.unwrap());
                    1
                }
            });
        }
    }
    measure(span, Some(ca.process.id()), callers).await
}

/// `spire.api.server.svid.v1.MintX509SVIDRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct MintRequest {
    #[prost(bytes = "vec", tag = "1")]
    csr: Vec<u8>,
    #[prost(int32, tag = "2")]
    ttl: i32,
}

/// Its answer, as far as it has to be read.
#[derive(Clone, PartialEq, prost::Message)]
struct MintResponse {
    #[prost(bytes = "vec", optional, tag = "1")]
    svid: Option<Vec<u8>>,
}

/// A SPIRE server; killed on drop.
struct Spire {
    process: Child,
    socket: PathBuf,
}

impl Drop for Spire {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Spire {
    async fn start(program: &Path, directory: &Path) -> Self {
        let socket = directory.join("api.sock");
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = port.local_addr().unwrap().port();
        let file = directory.join("server.conf");
        std::fs::write(&file, configuration(directory, &socket, port)).unwrap();
        let process = Command::new(program)
            .args(["run", "-config"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let spire = Self { process, socket };
        let until = Instant::now() + PATIENCE;
        let request = MintRequest {
            csr: csr(),
            ttl: 3600,
        };
        while let Err(status) = mint(spire.channel(), request.clone()).await {
            assert!(Instant::now() < until, "SPIRE does not mint: {status}");
            sleep(Duration::from_millis(100)).await;
        }
        spire
    }

    fn channel(&self) -> Channel {
        signet_uds::connect(&self.socket).unwrap()
    }

    async fn mint(&self, span: Span, each: usize) -> Outcome {
        let mut callers = Vec::new();
        for _ in 0..CONNECTIONS {
            let channel = self.channel();
            for _ in 0..each {
                let (channel, request) = (
                    channel.clone(),
                    MintRequest {
                        csr: csr(),
                        ttl: 3600,
                    },
                );
                callers.push(move || {
                    let (channel, request) = (channel.clone(), request.clone());
                    async move {
                        mint(channel, request).await.unwrap();
                        1
                    }
                });
            }
        }
        measure(span, Some(self.process.id()), callers).await
    }
}

async fn mint(channel: Channel, request: MintRequest) -> Result<(), Status> {
    let mut client = Grpc::new(channel);
    let ready = client.ready().await;
    ready.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::from_static("/spire.api.server.svid.v1.SVID/MintX509SVID");
    let codec = ProstCodec::<MintRequest, MintResponse>::default();
    let answer = client
        .unary(Request::new(request), path, codec)
        .await?
        .into_inner();
    answer
        .svid
        .map(drop)
        .ok_or_else(|| Status::internal("an answer without an SVID"))
}

/// SPIRE takes the SPIFFE ID from the request.
fn csr() -> Vec<u8> {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI("spiffe://td/web".try_into().unwrap())];
    params.serialize_request(&key).unwrap().der().to_vec()
}

fn configuration(directory: &Path, socket: &Path, port: u16) -> String {
    let (directory, socket) = (directory.display(), socket.display());
    format!(
        r#"server {{
    bind_address = "127.0.0.1"
    bind_port = "{port}"
    socket_path = "{socket}"
    trust_domain = "td"
    data_dir = "{directory}"
    log_level = "ERROR"
    default_x509_svid_ttl = "1h"
}}
plugins {{
    DataStore "sql" {{
        plugin_data {{
            database_type = "sqlite3"
            connection_string = "{directory}/datastore.sqlite3"
        }}
    }}
    KeyManager "memory" {{
        plugin_data {{}}
    }}
    NodeAttestor "join_token" {{
        plugin_data {{}}
    }}
}}
"#
    )
}
