//! Revocation: from the operator's command to the first packet that is refused.
//!
//! A client on one node sends numbered datagrams to a server on another, every tenth of a millisecond. Its SPIFFE ID is
//! revoked; the first datagram that does not arrive, nor any after it, is the first that was refused. Then the ID is
//! reopened, and once datagrams arrive again it is revoked again.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use signet_figures::{Aim, Figures};
use signet_proto::ca::v1::revoke_request::Subject;
use signet_proto::ca::v1::{ReopenRequest, RevokeRequest};

use super::lab::Bench;
use super::samples::Samples;

const ROUNDS: usize = 50;
const PORT: u16 = 7000;
/// Between two datagrams: the resolution of the measurement.
const SPACING: Duration = Duration::from_micros(100);
/// Nothing arrives for so long: it has stopped. Longer than any hiccup of the machine.
const SILENCE: Duration = Duration::from_millis(400);
/// For datagrams to arrive, and to cease.
const PATIENCE: Duration = Duration::from_mins(1);

const YAML: &str = "name: benchrevoke
nodes: [{name: n1}, {name: n2}]
workloads:
- {name: client, node: n1}
- {name: server, node: n2, labels: {app: server}}
policies:
- apiVersion: signet.io/v1alpha1
  kind: Policy
  metadata: {name: server, namespace: default}
  spec:
    endpointSelector: {matchLabels: {app: server}}
    ingress:
    - from: [{workload: {serviceAccount: client}}]
      authentication: required
";

/// Measures and prints.
pub(super) fn run(figures: &Path) -> anyhow::Result<()> {
    println!("\nRevocation of a SPIFFE ID under traffic");
    let bench = Bench::up(YAML, true)?;
    let traffic = Traffic::start(&bench)?;
    let plan = bench.lab.plan();
    let client = plan.workload("client").context("the lab has no client")?;
    let id = client.spiffe_id(&plan.trust_domain);
    let mut refused = Samples::default();
    let mut answered = Samples::default();
    for _ in 0..ROUNDS {
        traffic.wait_until_it_flows()?;
        let began = Instant::now();
        revoke(&bench, &id)?;
        answered.push(began.elapsed());
        refused.push(traffic.first_refused()?.saturating_duration_since(began));
        reopen(&bench, &id)?;
    }
    let figures = Figures::kept_in(figures, "revocation");
    println!("{} runs", refused.len());
    print(
        &figures,
        "command → first refused packet",
        &refused,
        Some(Aim::AtMost(100.0)),
    );
    print(&figures, "command → answered by the CA", &answered, None);
    Ok(())
}

fn print(figures: &Figures, what: &str, samples: &Samples, aim: Option<Aim>) {
    let ms = |time: Option<Duration>| time.map_or(f64::NAN, |time| time.as_secs_f64() * 1e3);
    figures.line(&format!("{what}, p50"), ms(samples.median()), "ms", None);
    figures.line(&format!("{what}, p99"), ms(samples.permille(990)), "ms", aim);
    figures.line(
        &format!("{what}, longest"),
        ms(samples.permille(1000)),
        "ms",
        None,
    );
}

fn revoke(bench: &Bench, id: &str) -> anyhow::Result<()> {
    let request = RevokeRequest {
        subject: Some(Subject::SpiffeId(id.to_owned())),
        reason: "bench".to_owned(),
        ..RevokeRequest::default()
    };
    let mut ca = {
        // Channels spawn tasks.
        let _in_runtime = bench.runtime.enter();
        bench.lab.ca()?
    };
    bench.runtime.block_on(ca.revoke(request))?;
    Ok(())
}

fn reopen(bench: &Bench, id: &str) -> anyhow::Result<()> {
    let request = ReopenRequest {
        spiffe_id: id.to_owned(),
    };
    let mut ca = {
        let _in_runtime = bench.runtime.enter();
        bench.lab.ca()?
    };
    bench.runtime.block_on(ca.reopen(request))?;
    Ok(())
}

/// Datagrams without end, and what arrives of them.
struct Traffic {
    /// When each was sent, by number.
    sent: Arc<Mutex<Vec<Instant>>>,
    /// The highest number that arrived.
    arrived: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Traffic {
    fn start(bench: &Bench) -> anyhow::Result<Self> {
        let to = bench.address("server", PORT)?;
        let any = SocketAddr::from(([0, 0, 0, 0], 0));
        let sender = bench.lab.within("client", move || UdpSocket::bind(any))??;
        let receiver = bench
            .lab
            .within("server", move || UdpSocket::bind(SocketAddr::new(any.ip(), PORT)))??;
        receiver.set_read_timeout(Some(Duration::from_millis(100)))?;
        let traffic = Self {
            sent: Arc::default(),
            arrived: Arc::default(),
            stop: Arc::default(),
        };
        let (sent, stop) = (Arc::clone(&traffic.sent), Arc::clone(&traffic.stop));
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let number = {
                    let mut sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
                    sent.push(Instant::now());
                    sent.len() as u64
                };
                // What is refused on the way out is lost like any other.
                let _ = sender.send_to(&number.to_be_bytes(), to);
                std::thread::park_timeout(SPACING);
            }
        });
        let (arrived, stop) = (Arc::clone(&traffic.arrived), Arc::clone(&traffic.stop));
        std::thread::spawn(move || {
            let mut number = [0; 8];
            while !stop.load(Ordering::Relaxed) {
                if receiver.recv(&mut number).is_ok_and(|read| read == number.len()) {
                    arrived.fetch_max(u64::from_be_bytes(number), Ordering::Relaxed);
                }
            }
        });
        Ok(traffic)
    }

    fn last(&self) -> u64 {
        self.arrived.load(Ordering::Relaxed)
    }

    fn wait_until_it_flows(&self) -> anyhow::Result<()> {
        let (before, until) = (self.last(), Instant::now() + PATIENCE);
        // A few hundred: it flows steadily.
        while self.last() < before + 300 {
            if Instant::now() > until {
                bail!("no datagrams arrive");
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        Ok(())
    }

    /// When the first datagram was sent that did not arrive, nor any after it.
    fn first_refused(&self) -> anyhow::Result<Instant> {
        let until = Instant::now() + PATIENCE;
        let (mut last, mut since) = (self.last(), Instant::now());
        while since.elapsed() < SILENCE {
            if Instant::now() > until {
                bail!("datagrams go on arriving");
            }
            std::thread::park_timeout(Duration::from_millis(5));
            if self.last() != last {
                (last, since) = (self.last(), Instant::now());
            }
        }
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        // They count from one: the number of the last that arrived is the place of the next.
        let next = usize::try_from(last).ok().and_then(|next| sent.get(next));
        next.copied().context("nothing was sent after the last one")
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
