//! X.509-SVIDs and JWT-SVIDs per second through the CA's whole issue path, beside raw signing.
//!
//! "Whole" is: proof of possession, authorization, certificate, and its entry in the issuance log on disk (SQLite, synced)
//! before the answer. Once within this process; once through the real daemon's gRPC over mutual TLS, its audit stream on,
//! with the client on the same cores. Keys and requests are made beforehand.

#![expect(clippy::print_stdout, reason = "the result of a bench is its output")]
#![expect(
    clippy::unwrap_used,
    reason = "a bench that cannot go on has nothing to measure"
)]

#[path = "../tests/ca/daemon.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod daemon;
#[path = "../tests/ca/running.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod running;

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

use signet_authority::{Authority, RequestedKey, Serial, SigningKey};
use signet_proto::ca::v1::{IssueJwtSvidRequest, IssueX509SvidRequest};
use signet_spiffe::{NodeName, SpiffeId, UnixTime};
use tokio::task::JoinSet;

use daemon::{Daemon, prepare};
use running::{Running, dial, domain, request};

/// How long each is measured.
const LONG_ENOUGH: Duration = Duration::from_secs(4);

/// Before that, for caches and for the write-ahead log to get its size.
const WARM_UP: Duration = Duration::from_secs(2);

const CALLERS: usize = 16;

/// The aim: issue 4.
const AIM: f64 = 10_000.0;

fn main() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{cores} cores, {CALLERS} callers; aim {AIM:.0} per second with client, log and storage");
    raw(cores);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(in_process());
    runtime.block_on(through_the_api());
}

fn line(what: impl Display, done: u64, spent: Duration) {
    let rate = f64::from(u32::try_from(done).unwrap()) / spent.as_secs_f64();
    println!("{what:<58} {rate:>8.0} per second");
}

/// What the certificates themselves cost, on all cores.
fn raw(cores: usize) {
    let now = UnixTime::now();
    let life = Duration::from_hours(24);
    let key = SigningKey::generate().unwrap();
    let authority = Authority::create(domain(), key, Serial::from_random([1; 16]), now, life).unwrap();
    let id = SpiffeId::parse("spiffe://td/ns/shop/sa/web").unwrap();
    let csr = request().1;
    let checked = RequestedKey::from_request(&csr).unwrap();
    let issue = |key: &RequestedKey| {
        authority
            .issue(
                key,
                &id,
                Duration::from_hours(1),
                Serial::from_random([2; 16]),
                now,
            )
            .unwrap()
    };
    let (done, spent) = on_all_cores(cores, || drop(issue(&checked)));
    line("signing alone", done, spent);
    let (done, spent) = on_all_cores(cores, || {
        let key = RequestedKey::from_request(&csr).unwrap();
        drop(issue(&key));
    });
    line("proof of possession and signing", done, spent);
}

fn on_all_cores(cores: usize, run: impl Fn() + Sync) -> (u64, Duration) {
    let began = Instant::now();
    let done = std::thread::scope(|scope| {
        let count = || {
            let mut done = 0;
            while began.elapsed() < LONG_ENOUGH {
                run();
                done += 1;
            }
            done
        };
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(count)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    (done, began.elapsed())
}

/// Callers that each do one after another, first to warm up, then measured.
async fn measure<F, Fut>(callers: Vec<F>) -> (u64, Duration)
where
    F: Fn() -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    let began = Instant::now() + WARM_UP;
    let mut tasks = JoinSet::new();
    for call in callers {
        tasks.spawn(async move {
            let mut done = 0;
            loop {
                call().await;
                let now = Instant::now();
                if now > began + LONG_ENOUGH {
                    return done;
                }
                done += u64::from(now > began);
            }
        });
    }
    (tasks.join_all().await.into_iter().sum(), LONG_ENOUGH)
}

async fn in_process() {
    let ca = Running::on_disk(tempfile::tempdir().unwrap()).await;
    ca.node("n1", &[]).await;
    let node = NodeName::parse("n1").unwrap();
    let registration = ca
        .register("spiffe://td/ns/shop/sa/web", "n1", "unix:uid:1")
        .await
        .unwrap()
        .id;
    let server = Arc::new(ca.server);
    for count in [1, CALLERS, 8 * CALLERS] {
        let caller = |_| {
            let (server, node, registration, csr) = (
                Arc::clone(&server),
                node.clone(),
                registration.clone(),
                request().1,
            );
            move || {
                let (server, node, registration, csr) = (
                    Arc::clone(&server),
                    node.clone(),
                    registration.clone(),
                    csr.clone(),
                );
                async move { drop(server.issue(&node, &registration, &csr).await.unwrap()) }
            }
        };
        let (done, spent) = measure((0..count).map(caller).collect()).await;
        line(format!("in process, {count} callers"), done, spent);
    }
    Arc::into_inner(server).unwrap().shutdown().await;
}

async fn through_the_api() {
    let directory = tempfile::tempdir().unwrap();
    let ca = Daemon::start(directory.path());
    let (identity, registration) = prepare(&ca).await;
    for (connections, each) in [(1, 1), (CALLERS, 1), (CALLERS, 8)] {
        let mut callers = Vec::new();
        for _ in 0..connections {
            let client = dial(ca.address, Some(&identity), ca.bundles().await)
                .await
                .unwrap();
            for _ in 0..each {
                let (client, call) = (
                    client.clone(),
                    IssueX509SvidRequest {
                        registration: registration.clone(),
                        csr: request().1,
                    },
                );
                callers.push(move || {
                    let (mut client, call) = (client.clone(), call.clone());
                    async move { drop(client.issue_x509_svid(call).await.unwrap()) }
                });
            }
        }
        let (done, spent) = measure(callers).await;
        line(
            format!("gRPC over mutual TLS, {connections} connections with {each} calls each"),
            done,
            spent,
        );
    }
    let mut callers = Vec::new();
    for number in 0..CALLERS {
        let client = dial(ca.address, Some(&identity), ca.bundles().await)
            .await
            .unwrap();
        for each in 0..8 {
            let (client, call) = (
                client.clone(),
                IssueJwtSvidRequest {
                    registration: registration.clone(),
                    audience: vec![format!("audience-{number}-{each}")],
                },
            );
            callers.push(move || {
                let (mut client, call) = (client.clone(), call.clone());
                async move { drop(client.issue_jwt_svid(call).await.unwrap()) }
            });
        }
    }
    let (done, spent) = measure(callers).await;
    line(
        format!("JWT-SVIDs over the same, {CALLERS} connections with 8 calls each"),
        done,
        spent,
    );
}
