//! What one request and one change cost with more and more registrations: both should stay what they are.
//!
//! In process, on SQLite and, where there is one, on PostgreSQL. `SIGNET_BENCH_REGISTRATIONS` is the largest count (100,000).

#![recursion_limit = "256"]
#![expect(clippy::print_stdout, reason = "the result of a bench is its output")]
#![expect(
    clippy::unwrap_used,
    reason = "a bench that cannot go on has nothing to measure"
)]

#[path = "../tests/ca/running.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod running;

use std::time::{Duration, Instant};

use signet_ca::Database;
use signet_figures::{Aim, Figures, Scale, own_cpu};
use signet_proto::ca::v1::{
    DeregisterRequest, IssueJwtSvidRequest, IssueX509SvidRequest, RegisterAllRequest, RegisterRequest,
};
use signet_test_postgres::Server;

use running::{Running, TestNode, request};

/// Other nodes that the registrations are spread over.
const NODES: u32 = 50;

/// With the most registrations nothing should take more than this many times what it takes with the least: flat, but for noise.
const FLAT: Aim = Aim::AtMost(1.5);

fn main() {
    signet_figures::run("scale", |scale| {
        let most = std::env::var("SIGNET_BENCH_REGISTRATIONS").ok();
        let most = most.and_then(|text| text.parse().ok()).unwrap_or(100_000);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        print!("{:<12}{:>14}", "", "registrations");
        for (column, _) in COLUMNS {
            print!("{column:>14}");
        }
        println!("{:>14}", "bytes");
        runtime.block_on(async {
            let ca = Running::on_disk(tempfile::tempdir().unwrap()).await;
            series("SQLite", ca, most, scale).await;
            match Server::start_durable() {
                Ok(server) => {
                    let database = Database::Postgres(server.database().unwrap());
                    let ca = Running::on_database(tempfile::tempdir().unwrap(), database).await;
                    series("PostgreSQL", ca, most, scale).await;
                }
                Err(missing) => println!("PostgreSQL is not measured: {missing}"),
            }
        });
    });
}

/// What is measured with each count, and its unit.
const COLUMNS: [(&str, &str); 6] = [
    ("X.509, ms", "ms"),
    ("token, ms", "ms"),
    ("X.509 CPU, ms", "ms"),
    ("register, ms", "ms"),
    ("→ agent, ms", "ms"),
    ("change CPU, ms", "ms"),
];

async fn series(name: &str, ca: Running, most: u32, scale: Scale) {
    let figures = Figures::of(&format!("scale: {name}"));
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
    let mut rows = Vec::new();
    for wanted in scale.pick([1_000, 10_000, 100_000], [10, 20, 30]) {
        if wanted > most {
            break;
        }
        fill(&ca, there, wanted).await;
        there = wanted;
        let (row, bytes) = row(&ca, &node, &own, scale).await;
        print!("{name:<12}{wanted:>14}");
        for (value, (column, unit)) in row.iter().zip(COLUMNS) {
            print!("{value:>14.2}");
            figures.record(
                &format!("{column}, with {wanted} registrations"),
                *value,
                unit,
                None,
            );
        }
        println!("{bytes:>14}");
        rows.push(row);
    }
    if let [first, .., last] = &rows[..] {
        for (at, what) in [(2, "CPU of one certificate"), (5, "CPU of one change")] {
            let what = format!("{what}, most registrations ÷ least");
            figures.line(&what, last[at] / first[at], "times", Some(FLAT));
        }
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

async fn row(ca: &Running, node: &TestNode, own: &str, scale: Scale) -> ([f64; 6], usize) {
    let csr = request().1;
    let mut client = node.client.clone();
    let requests = scale.pick(300, 3);
    let before = own_cpu();
    let mut x509 = Vec::new();
    for _ in 0..requests {
        let call = IssueX509SvidRequest {
            registration: own.to_owned(),
            csr: csr.clone(),
        };
        let began = Instant::now();
        client.issue_x509_svid(call).await.unwrap();
        x509.push(began.elapsed());
    }
    let of_request = (own_cpu() - before) / f64::from(requests);
    let mut jwt = Vec::new();
    for number in 0..requests {
        let call = IssueJwtSvidRequest {
            registration: own.to_owned(),
            audience: vec![format!("a{number}")],
        };
        let began = Instant::now();
        client.issue_jwt_svid(call).await.unwrap();
        jwt.push(began.elapsed());
    }
    let changes = Changes::make(ca, node, scale.pick(100, 2)).await;
    let row = [
        median(x509),
        median(jwt),
        of_request * 1e3,
        median(changes.register),
        median(changes.pushed),
        changes.cpu * 1e3,
    ];
    (row, changes.bytes)
}

/// What changes took, one after another.
struct Changes {
    register: Vec<Duration>,
    /// To the node's agent.
    pushed: Vec<Duration>,
    /// Seconds of one.
    cpu: f64,
    /// Of the last one to the agent.
    bytes: usize,
}

impl Changes {
    async fn make(ca: &Running, node: &TestNode, count: u32) -> Self {
        let mut stream = node.follow(0).await;
        let mut seen = stream.next().await;
        let (mut register, mut pushed, mut bytes) = (Vec::new(), Vec::new(), 0);
        let before = own_cpu();
        for number in 0..count {
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
        Self {
            register,
            pushed,
            cpu: (own_cpu() - before) / f64::from(2 * count),
            bytes,
        }
    }
}

/// Milliseconds.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}
