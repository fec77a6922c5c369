//! What one request and one change cost with more and more registrations: both should stay what they are.
//!
//! In process, on SQLite and, where there is one, on PostgreSQL. `SIGNET_BENCH_REGISTRATIONS` is the largest count (100,000).

#![expect(clippy::print_stdout, reason = "the result of a bench is its output")]
#![expect(
    clippy::unwrap_used,
    reason = "a bench that cannot go on has nothing to measure"
)]

#[path = "../tests/ca/running.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod running;

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use signet_ca::Database;
use signet_proto::ca::v1::{
    DeregisterRequest, IssueJwtSvidRequest, IssueX509SvidRequest, RegisterAllRequest, RegisterRequest,
};

use running::{Running, TestNode, request};

const REQUESTS: usize = 200;
const CHANGES: usize = 50;
/// Other nodes that the registrations are spread over.
const NODES: u32 = 50;

fn main() {
    let most = std::env::var("SIGNET_BENCH_REGISTRATIONS").ok();
    let most = most.and_then(|text| text.parse().ok()).unwrap_or(100_000);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    println!(
        "{:<12}{:>14}{:>14}{:>14}{:>14}{:>14}{:>14}{:>12}",
        "", "registrations", "X.509, ms", "token, ms", "register, ms", "→ agent, ms", "CPU, ms", "bytes"
    );
    runtime.block_on(async {
        let ca = Running::on_disk(tempfile::tempdir().unwrap()).await;
        series("SQLite", ca, most).await;
        match signet_test_postgres::shared() {
            Ok(server) => {
                let database = Database::Postgres(server.database().unwrap());
                let ca = Running::on_database(tempfile::tempdir().unwrap(), database).await;
                series("PostgreSQL", ca, most).await;
            }
            Err(missing) => println!("PostgreSQL is not measured: {missing}"),
        }
    });
}

async fn series(name: &str, ca: Running, most: u32) {
    let node = ca.node("n0", &[]).await;
    for number in 1..=NODES {
        ca.node(&format!("n{number}"), &[]).await;
    }
    let own = ca
        .register("spiffe://td/own", "n0", "unix:uid:1")
        .await
        .unwrap()
        .id;
    let mut there = 0;
    for wanted in [1_000, 10_000, 100_000] {
        if wanted > most {
            break;
        }
        fill(&ca, there, wanted).await;
        there = wanted;
        row(name, &ca, &node, &own, wanted).await;
    }
    ca.server.shutdown().await;
}

async fn fill(ca: &Running, from: u32, to: u32) {
    let all: Vec<_> = (from..to)
        .map(|number| RegisterRequest {
            spiffe_id: format!("spiffe://td/ns/x/sa/w{number}"),
            node: format!("n{}", 1 + number % NODES),
            selectors: vec![format!("unix:uid:{number}")],
            ..RegisterRequest::default()
        })
        .collect();
    for part in all.chunks(1_000) {
        let order = RegisterAllRequest {
            registrations: part.to_vec(),
            ..RegisterAllRequest::default()
        };
        ca.operator.clone().register_all(order).await.unwrap();
    }
}

async fn row(name: &str, ca: &Running, node: &TestNode, own: &str, registrations: u32) {
    let csr = request().1;
    let mut client = node.client.clone();
    let mut x509 = Vec::new();
    let mut jwt = Vec::new();
    for number in 0..REQUESTS {
        let call = IssueX509SvidRequest {
            registration: own.to_owned(),
            csr: csr.clone(),
        };
        let began = Instant::now();
        client.issue_x509_svid(call).await.unwrap();
        x509.push(began.elapsed());
        let call = IssueJwtSvidRequest {
            registration: own.to_owned(),
            audience: vec![format!("a{number}")],
        };
        let began = Instant::now();
        client.issue_jwt_svid(call).await.unwrap();
        jwt.push(began.elapsed());
    }
    let mut stream = node.follow(0).await;
    let mut seen = stream.next().await;
    let (mut register, mut pushed, mut bytes) = (Vec::new(), Vec::new(), 0);
    let before = cpu();
    for number in 0..CHANGES {
        let began = Instant::now();
        let made = ca
            .register(&format!("spiffe://td/change/{number}"), "n0", "unix:uid:1")
            .await
            .unwrap();
        register.push(began.elapsed());
        while !seen
            .registrations
            .iter()
            .any(|registration| registration.id == made.id)
        {
            seen = stream.next().await;
        }
        pushed.push(began.elapsed());
        bytes = prost::Message::encoded_len(&seen);
        let gone = DeregisterRequest { id: made.id.clone() };
        ca.operator.clone().deregister(gone).await.unwrap();
        while !seen.removed_registrations.contains(&made.id) {
            seen = stream.next().await;
        }
    }
    let used = (cpu() - before) / f64::from(u32::try_from(2 * CHANGES).unwrap());
    println!(
        "{name:<12}{registrations:>14}{:>14.2}{:>14.2}{:>14.2}{:>14.2}{:>14.2}{bytes:>12}",
        median(x509),
        median(jwt),
        median(register),
        median(pushed),
        used * 1e3,
    );
}

/// Milliseconds.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}

/// Seconds that this process has computed for.
fn cpu() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap(),
        u32::try_from(time.tv_nsec).unwrap(),
    )
    .as_secs_f64()
}
