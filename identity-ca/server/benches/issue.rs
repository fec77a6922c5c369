//! X.509-SVIDs and JWT-SVIDs per second through the CA's whole issue path, beside raw signing.
//!
//! "Whole" is: proof of possession, authorization, certificate, and its entry in the issuance log on disk (synced) before the
//! answer. Through the real daemon's gRPC over mutual TLS, its audit stream on, with the client on the same cores: it makes a new
//! P-256 key and a signed request for each certificate, as an agent does, unless a line says otherwise. It does not verify what it gets.

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
#[path = "load/keys.rs"]
mod keys;
#[path = "../tests/ca/running.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod running;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use signet_authority::{Authority, RequestedKey, Serial, SigningKey};
use signet_figures::{Aim, Figures, Scale, own_cpu};
use signet_proto::ca::v1::{IssueJwtSvidRequest, IssueX509SvidRequest};
use signet_spiffe::{SpiffeId, UnixTime};
use signet_test_postgres::Server;
use signet_tls::SvidKeyPair;

use callers::{Outcome, Span, measure};
use daemon::{Daemon, prepare};
use running::{dial, domain, request};

/// Connections of the client, as SPIRE was measured with.
const CONNECTIONS: usize = 16;

/// Calls at a time over each, where there are several.
const CALLS: usize = 8;

/// The aim: issue 4.
const AIM: Aim = Aim::AtLeast(10_000.0);

fn main() {
    signet_figures::run("issue", |scale| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        println!("{cores} cores, the client's included");
        let span = Span::of(scale);
        parts(Duration::from_millis(scale.pick(1_000, 25)), cores);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(databases(scale, span));
    });
}

/// What the certificates themselves cost, on all cores.
fn parts(long: Duration, cores: usize) {
    let figures = Figures::of("issue: parts");
    let now = UnixTime::now();
    let life = Duration::from_hours(24);
    let key = SigningKey::generate().unwrap();
    let authority = Authority::create(domain(), key, Serial::from_random([1; 16]), now, life).unwrap();
    let id = SpiffeId::parse("spiffe://td/ns/shop/sa/web").unwrap();
    let csr = request().1;
    let checked = RequestedKey::from_request(&csr).unwrap();
    let hour = Duration::from_hours(1);
    let issue = |key: &RequestedKey| {
        authority
            .issue(key, &id, hour, Serial::from_random([2; 16]), now)
            .unwrap()
    };
    on_all_cores(&figures, long, cores, "signing alone", || drop(issue(&checked)));
    on_all_cores(&figures, long, cores, "proof of possession and signing", || {
        let key = RequestedKey::from_request(&csr).unwrap();
        drop(issue(&key));
    });
    on_all_cores(&figures, long, cores, "the client's new key and request", || {
        drop(keys::fresh());
    });
}

fn on_all_cores(figures: &Figures, long: Duration, cores: usize, what: &str, run: impl Fn() + Sync) {
    let (began, cpu) = (Instant::now(), own_cpu());
    let done: u32 = std::thread::scope(|scope| {
        let count = || {
            let mut done = 0;
            while began.elapsed() < long {
                run();
                done += 1;
            }
            done
        };
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(count)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let used = own_cpu() - cpu;
    let outcome = Outcome::new(f64::from(done), began.elapsed().as_secs_f64(), used, None);
    outcome.print(figures, what, None);
    println!("    CPU of one: {:.1} µs", used / f64::from(done) * 1e6);
}

async fn databases(scale: Scale, span: Span) {
    let directory = tempfile::tempdir().unwrap();
    let audit = |command: &mut Command, directory: &Path| {
        command.arg("--audit-log").arg(directory.join("audit.log"));
    };
    let ca = Daemon::start_with(directory.path(), |command| audit(command, directory.path()));
    let bench = Bench::of("SQLite", &ca, span).await;
    bench.run(scale).await;
    drop(ca);
    match Server::start_durable() {
        Ok(server) => {
            let url = server.database().unwrap();
            let directory = tempfile::tempdir().unwrap();
            let ca = Daemon::start_with(directory.path(), |command| {
                command.env("SIGNET_CA_DATABASE", url);
                audit(command, directory.path());
            });
            let bench = Bench::of("PostgreSQL", &ca, span).await;
            bench.run(scale).await;
        }
        Err(missing) => println!("PostgreSQL is not measured: {missing}"),
    }
}

/// A CA that is measured.
struct Bench<'a> {
    ca: &'a Daemon,
    span: Span,
    identity: SvidKeyPair,
    registration: String,
    figures: Figures,
}

impl<'a> Bench<'a> {
    async fn of(database: &str, ca: &'a Daemon, span: Span) -> Self {
        println!("{database}");
        let (identity, registration) = prepare(ca).await;
        Self {
            ca,
            span,
            identity,
            registration,
            figures: Figures::of(&format!("issue: {database}")),
        }
    }

    async fn run(&self, scale: Scale) {
        let shapes = scale.pick(vec![(1, 1), (CONNECTIONS, 1), (CONNECTIONS, CALLS)], vec![(2, 2)]);
        for (connections, each) in shapes {
            let aim = (each == CALLS).then_some(AIM);
            let what = format!("X.509-SVIDs, connections × calls at a time: {connections} × {each}");
            let outcome = self.certificates(connections, each, true).await;
            outcome.print(&self.figures, &what, aim);
        }
        let outcome = self.certificates(CONNECTIONS, CALLS, false).await;
        let what = format!("the same, {CONNECTIONS} × {CALLS}, keys and requests made beforehand");
        outcome.print(&self.figures, &what, None);
        let outcome = self.tokens().await;
        let what = format!("JWT-SVIDs, {CONNECTIONS} × {CALLS}, each of another audience");
        outcome.print(&self.figures, &what, None);
    }

    async fn certificates(&self, connections: usize, each: usize, anew: bool) -> Outcome {
        let mut callers = Vec::new();
        for _ in 0..connections {
            let client = dial(self.ca.address, Some(&self.identity), self.ca.bundles().await)
                .await
                .unwrap();
            for _ in 0..each {
                let (client, registration, csr) =
                    (client.clone(), self.registration.clone(), keys::fresh().1);
                callers.push(move || {
                    let (mut client, registration, csr) = (client.clone(), registration.clone(), csr.clone());
                    async move {
                        let (_key, csr) = if anew { keys::fresh() } else { (Vec::new(), csr) };
                        let call = IssueX509SvidRequest { registration, csr };
                        drop(client.issue_x509_svid(call).await.unwrap());
                        1
                    }
                });
            }
        }
        measure(self.span, Some(self.ca.process.id()), callers).await
    }

    async fn tokens(&self) -> Outcome {
        let mut callers = Vec::new();
        for connection in 0..CONNECTIONS {
            let client = dial(self.ca.address, Some(&self.identity), self.ca.bundles().await)
                .await
                .unwrap();
            for each in 0..CALLS {
                let call = IssueJwtSvidRequest {
                    registration: self.registration.clone(),
                    audience: vec![format!("audience-{connection}-{each}")],
                };
                let client = client.clone();
                callers.push(move || {
                    let (mut client, call) = (client.clone(), call.clone());
                    async move {
                        drop(client.issue_jwt_svid(call).await.unwrap());
                        1
                    }
                });
            }
        }
        measure(self.span, Some(self.ca.process.id()), callers).await
    }
}
