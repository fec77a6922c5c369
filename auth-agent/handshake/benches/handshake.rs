//! Pair handshakes per second on one core, beside what rustls alone does with certificates of the same kind. Both
//! sides run on this thread, so one handshake is the work of two nodes.

#![expect(clippy::print_stdout, reason = "the result of a bench is its output")]
#![expect(
    clippy::expect_used,
    reason = "a bench that cannot go on has nothing to measure"
)]

#[path = "../tests/support/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod support;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use support::{Authority, id, meet, party};

/// How long each is measured.
const LONG_ENOUGH: Duration = Duration::from_secs(3);

fn main() {
    let raw = Rustls::new();
    let ca = Authority::new("t.example");
    let (client, server) = (
        id("spiffe://t.example/ns/a/sa/client"),
        id("spiffe://t.example/ns/a/sa/server"),
    );
    let (client_svid, server_svid) = (ca.issue(&client, 3600), ca.issue(&server, 3600));
    let pair = || {
        let meeting = meet(
            party(&ca, &client_svid, &server),
            party(&ca, &server_svid, &client),
        )
        .expect("complete");
        let (initiator, responder) = meeting.confirm();
        assert!(initiator.is_ok() && responder.is_ok());
    };
    // Once for the caches, then in turns, so that both meet the same machine.
    raw.handshake();
    pair();
    let (mut of_rustls, mut of_ours) = (Rate::default(), Rate::default());
    while of_ours.spent < LONG_ENOUGH {
        of_rustls.measure(|| raw.handshake());
        of_ours.measure(pair);
    }
    println!("rustls, mutual TLS 1.3, X25519MLKEM768   {of_rustls}");
    println!("pair handshake, to both proofs           {of_ours}");
    println!(
        "ratio                                    {:>7.2}",
        of_ours.per_second() / of_rustls.per_second()
    );
}

#[derive(Default)]
struct Rate {
    done: u32,
    spent: Duration,
}

impl Rate {
    fn measure(&mut self, mut run: impl FnMut()) {
        const BATCH: u32 = 50;
        let began = Instant::now();
        for _ in 0..BATCH {
            run();
        }
        self.spent += began.elapsed();
        self.done += BATCH;
    }

    fn per_second(&self) -> f64 {
        f64::from(self.done) / self.spent.as_secs_f64()
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let each = self.spent / self.done.max(1);
        write!(
            f,
            "{:>7.0} per second and core   {:>4} µs each",
            self.per_second(),
            each.as_micros()
        )
    }
}

/// rustls as anyone would use it: DNS names, its own verifiers, no resumption.
struct Rustls {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl Rustls {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut root = CertificateParams::default();
        root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let mut roots = RootCertStore::empty();
        roots
            .add(root.self_signed(&key).expect("a root").der().clone())
            .expect("a root");
        let (roots, issuer) = (Arc::new(roots), Issuer::new(root, key));
        let provider = signet_tls::provider();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().expect("TLS 1.3");
        let builder = builder.with_client_cert_verifier(verifier.build().expect("a verifier"));
        let (chain, leaf_key) = leaf(&issuer, "server.example");
        let mut server = builder.with_single_cert(chain, leaf_key).expect("a server");
        server.send_tls13_tickets = 0;
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder
            .with_safe_default_protocol_versions()
            .expect("TLS 1.3")
            .with_root_certificates(roots);
        let (chain, leaf_key) = leaf(&issuer, "client.example");
        let mut client = builder.with_client_auth_cert(chain, leaf_key).expect("a client");
        client.resumption = rustls::client::Resumption::disabled();
        Self {
            client: Arc::new(client),
            server: Arc::new(server),
        }
    }

    fn handshake(&self) {
        let name = ServerName::try_from("server.example").expect("a name");
        let mut client = ClientConnection::new(Arc::clone(&self.client), name).expect("a client");
        let mut server = ServerConnection::new(Arc::clone(&self.server)).expect("a server");
        while client.is_handshaking() || server.is_handshaking() {
            carry(|to| client.write_tls(to), |from| server.read_tls(from));
            server.process_new_packets().expect("the client is honest");
            carry(|to| server.write_tls(to), |from| client.read_tls(from));
            client.process_new_packets().expect("the server is honest");
        }
    }
}

fn leaf(
    issuer: &Issuer<'static, KeyPair>,
    name: &str,
) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, issuer).expect("a leaf");
    (
        vec![certificate.der().clone()],
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
    )
}

fn carry(
    mut write: impl FnMut(&mut dyn io::Write) -> io::Result<usize>,
    mut read: impl FnMut(&mut dyn io::Read) -> io::Result<usize>,
) {
    let mut wire = Vec::new();
    while write(&mut wire).expect("memory") > 0 {}
    let mut rest = wire.as_slice();
    while !rest.is_empty() {
        read(&mut rest).expect("memory");
    }
}
