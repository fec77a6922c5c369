//! The established path: raw veth, the same with every packet judged and proven, and the same encrypted.
//!
//! All paths lead through the same topology: two workloads on two nodes, each behind a veth, the nodes on a bridge.
//! Rounds take turns, so that what disturbs the machine disturbs all of them.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use signet_figures::{Aim, Figures};
use signet_proto::keyd::v1::StatusRequest;

use super::lab::Bench;
use super::samples::Samples;
use super::sockets::{self, CLOSE, ECHO, SINK};

const ROUND_TRIPS: usize = 5_000;
const CONNECTIONS: usize = 1_500;
const TRANSFER: Duration = Duration::from_secs(1);

/// `client` on n1, `server` on n2; the server takes only proven clients.
fn yaml(name: &str, encryption: &str) -> String {
    format!(
        "name: {name}
encryption: {encryption}
nodes: [{{name: n1}}, {{name: n2}}]
workloads:
- {{name: client, node: n1, labels: {{app: client}}}}
- {{name: server, node: n2, labels: {{app: server}}}}
policies:
- apiVersion: signet.io/v1alpha1
  kind: Policy
  metadata: {{name: server, namespace: default}}
  spec:
    endpointSelector: {{matchLabels: {{app: server}}}}
    ingress:
    - from: [{{workload: {{serviceAccount: client}}}}]
      authentication: required
"
    )
}

/// One path and what was measured on it.
struct Path {
    name: String,
    bench: Bench,
    arrived: Arc<AtomicU64>,
    round_trips: Samples,
    connections: Samples,
    /// Bytes per second, one of each round.
    throughput: Vec<f64>,
}

/// Measures and prints.
pub(super) fn run(figures: &std::path::Path, rounds: u32) -> anyhow::Result<()> {
    println!("\nPath between two workloads on two nodes, {rounds} rounds");
    let mut paths = vec![
        Path::up("raw veth".to_owned(), &yaml("benchraw", "off"), false)?,
        Path::up("enforced".to_owned(), &yaml("bench", "off"), true)?,
    ];
    let encrypted = Path::up(String::new(), &yaml("benchenc", "wireguard"), true)?;
    paths.push(encrypted.once_encrypted()?);
    for _ in 0..rounds {
        for path in &mut paths {
            path.measure()?;
        }
    }
    print(&Figures::kept_in(figures, "path"), &paths);
    Ok(())
}

impl Path {
    fn up(name: String, yaml: &str, daemons: bool) -> anyhow::Result<Self> {
        let bench = Bench::up(yaml, daemons)?;
        let arrived = bench.lab.within("server", sockets::serve)??;
        let path = Self {
            name,
            bench,
            arrived,
            round_trips: Samples::default(),
            connections: Samples::default(),
            throughput: Vec::new(),
        };
        // The first contact is measured elsewhere.
        path.within(ECHO, |to| sockets::round_trips(to, 100))?;
        Ok(path)
    }

    /// Waits until both nodes send encrypted, and says by which implementation.
    fn once_encrypted(mut self) -> anyhow::Result<Self> {
        let until = Instant::now() + Duration::from_mins(1);
        let mut sending = 0;
        while sending < 2 {
            if Instant::now() > until {
                bail!("the nodes did not begin to encrypt");
            }
            sending = 0;
            for node in ["n1", "n2"] {
                let mut client = {
                    // Channels spawn tasks.
                    let _in_runtime = self.bench.runtime.enter();
                    self.bench.lab.client(node)?
                };
                let status = self
                    .bench
                    .runtime
                    .block_on(client.keyd.status(StatusRequest {}))?
                    .into_inner();
                sending += usize::from(status.peers.iter().any(|peer| peer.state == "sending"));
                self.name = format!("encrypted ({} WireGuard)", status.implementation);
            }
        }
        Ok(self)
    }

    fn measure(&mut self) -> anyhow::Result<()> {
        self.round_trips
            .extend(self.within(ECHO, |to| sockets::round_trips(to, ROUND_TRIPS))?);
        self.connections
            .extend(self.within(CLOSE, |to| sockets::connections(to, CONNECTIONS))?);
        let arrived = Arc::clone(&self.arrived);
        self.throughput
            .push(self.within(SINK, move |to| sockets::throughput(to, &arrived, TRANSFER))?);
        Ok(())
    }

    fn within<T: Send>(
        &self,
        port: u16,
        run: impl FnOnce(std::net::SocketAddr) -> std::io::Result<T> + Send,
    ) -> anyhow::Result<T> {
        let to = self.bench.address("server", port)?;
        self.bench
            .lab
            .within("client", move || {
                sockets::stay_on(sockets::CLIENT)?;
                run(to)
            })?
            .with_context(|| format!("{}, to {to}", self.name))
    }

    /// The median of the rounds.
    fn bytes_per_second(&self) -> f64 {
        let mut rounds = self.throughput.clone();
        rounds.sort_by(f64::total_cmp);
        rounds.get(rounds.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

fn micros(time: Option<Duration>) -> f64 {
    time.map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
}

/// A row of the table: what, how to compute it, and what Signet aims at, as a share of raw veth.
struct Row {
    what: &'static str,
    of: fn(&Path) -> f64,
    aim: Option<Aim>,
}

const ROWS: [Row; 5] = [
    Row {
        what: "round trip p50, µs",
        of: |path| micros(path.round_trips.median()),
        aim: Some(Aim::AtMost(1.05)),
    },
    Row {
        what: "round trip p99, µs",
        of: |path| micros(path.round_trips.permille(990)),
        aim: None,
    },
    Row {
        what: "connect and close p50, µs",
        of: |path| micros(path.connections.median()),
        aim: Some(Aim::AtMost(1.10)),
    },
    Row {
        what: "connections per second",
        of: |path| 1e6 / micros(path.connections.median()),
        aim: None,
    },
    Row {
        what: "one flow, Gbit/s",
        of: |path| path.bytes_per_second() * 8.0 / 1e9,
        aim: Some(Aim::AtLeast(0.95)),
    },
];

fn print(figures: &Figures, paths: &[Path]) {
    print!("{:<28}", "");
    for path in paths {
        print!("{:>16}", path.name.split(" (").next().unwrap_or_default());
    }
    println!("   enforced/raw   aim");
    for row in ROWS {
        let Row { what, of, aim } = row;
        print!("{what:<28}");
        let values: Vec<f64> = paths.iter().map(of).collect();
        for value in &values {
            print!("{value:>16.1}");
        }
        if let [raw, enforced, ..] = values[..] {
            let aim = aim.map(|aim| aim.to_string()).unwrap_or_default();
            print!("{:>14.2}×   {aim}", enforced / raw);
        }
        println!();
        record(figures, paths, &row, &values);
    }
    for path in paths.iter().filter(|path| path.name.contains('(')) {
        println!(
            "{}: {} round trips, {} connections per path",
            path.name,
            path.round_trips.len(),
            path.connections.len()
        );
    }
}

fn record(figures: &Figures, paths: &[Path], row: &Row, values: &[f64]) {
    for (path, value) in paths.iter().zip(values) {
        figures.record(&format!("{}: {}", path.name, row.what), *value, "", None);
    }
    if let [raw, enforced, ..] = values {
        let what = format!("{}, enforced ÷ raw", row.what);
        figures.record(&what, enforced / raw, "times", row.aim);
    }
}
