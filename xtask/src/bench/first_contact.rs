//! First contact: from a client's first packet to the answer, for a pair that nobody has proven yet, and what becomes of the
//! first packets of many pairs at once.
//!
//! Plain: the same two workloads over a port that no rule asks a proof for. Cold: the two nodes have no session yet. Warm: they have.
//! Preauth: the pair was proven before anybody sent. The client sends a datagram anew every half millisecond, so that the
//! time is Signet's and not that of a retransmission timer. In the part with many pairs each sends one, once.

mod burst;
mod stage;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use signet_figures::{Aim, Figures};
use signet_lab::traffic::{Probe, Transport, probe};
use signet_proto::agent::v1::proof_entry::State;
use signet_proto::agent::v1::{ListProofsRequest, ProofEntry};

use self::stage::{PLAIN, PROVEN, Stage};
use super::lab::Bench;
use super::samples::Samples;

/// Nodes besides the clients' own: one cold contact each.
const SERVERS: usize = 4;
const CLIENTS: usize = 30;
/// Pairs whose first packets are counted, unless `SIGNET_BENCH_PAIRS` says another number; rounded down to a square.
const PAIRS: usize = 64;
/// For proofs that nobody asks for.
const PATIENCE: Duration = Duration::from_mins(5);

/// Measures and prints.
pub(super) fn run(figures: &Path) -> anyhow::Result<()> {
    let figures = Figures::kept_in(figures, "first contact");
    println!("\nFirst contact of a pair");
    asked(&figures)?;
    ahead(&figures)?;
    let pairs = std::env::var("SIGNET_BENCH_PAIRS").ok();
    let pairs = pairs.map_or(Ok(PAIRS), |pairs| pairs.parse());
    burst::run(&figures, pairs.context("SIGNET_BENCH_PAIRS is no number")?)
}

/// Contacts that ask for their proof; what the same ones take without one.
fn asked(figures: &Figures) -> anyhow::Result<()> {
    let stage = Stage {
        name: "benchfirst",
        preauth: "off",
        nodes: SERVERS,
        servers: SERVERS,
        clients: CLIENTS,
    };
    let bench = Bench::up(&stage.yaml(), true)?;
    let mut plain = Samples::default();
    for client in 1..=CLIENTS {
        plain.push(contact(&bench, client, 1 + client % SERVERS, PLAIN)?);
    }
    let mut cold = Contacts::default();
    for n in 1..=SERVERS {
        cold.make(&bench, 1, n)?;
    }
    let mut warm = Contacts::default();
    for client in 2..=CLIENTS {
        warm.make(&bench, client, 1 + client % SERVERS)?;
    }
    print(figures, "plain, no proof asked for", &plain, None);
    cold.print(figures, "cold, no node session", None);
    warm.print(figures, "warm", Some(Aim::AtMost(3.0)));
    added(figures, "warm", &warm.answer, &plain, Some(Aim::AtMost(3.0)));
    Ok(())
}

/// Contacts whose proof is there before them.
fn ahead(figures: &Figures) -> anyhow::Result<()> {
    let stage = Stage {
        name: "benchahead",
        preauth: "policy",
        nodes: SERVERS,
        servers: SERVERS,
        clients: CLIENTS,
    };
    let bench = Bench::up(&stage.yaml(), true)?;
    for n in 1..=SERVERS {
        let until = Instant::now() + PATIENCE;
        loop {
            let proven = proofs(&bench, n)?;
            let proven = proven
                .iter()
                .filter(|proof| proof.state() == State::Proven)
                .count();
            if proven >= CLIENTS {
                break;
            }
            if Instant::now() > until {
                bail!("n{n} has proven {proven} of {CLIENTS} pairs ahead");
            }
            bench
                .runtime
                .block_on(async { tokio::time::sleep(Duration::from_millis(100)).await });
        }
    }
    let mut plain = Samples::default();
    let mut ahead = Samples::default();
    for client in 1..=CLIENTS {
        let server = 1 + client % SERVERS;
        // In turns, so that both meet the same machine, and neither pays for what the other one has warmed.
        if client % 2 == 0 {
            plain.push(contact(&bench, client, server, PLAIN)?);
            ahead.push(contact(&bench, client, server, PROVEN)?);
        } else {
            ahead.push(contact(&bench, client, server, PROVEN)?);
            plain.push(contact(&bench, client, server, PLAIN)?);
        }
    }
    print(figures, "plain, in turns with preauth", &plain, None);
    print(figures, "preauth", &ahead, None);
    added(figures, "preauth", &ahead, &plain, Some(Aim::AtMost(0.2)));
    Ok(())
}

/// What the medians differ by.
fn added(figures: &Figures, what: &str, with: &Samples, without: &Samples, aim: Option<Aim>) {
    let ms = |samples: &Samples| samples.median().map_or(f64::NAN, |time| time.as_secs_f64() * 1e3);
    figures.line(
        &format!("{what}: added to a plain contact, p50"),
        ms(with) - ms(without),
        "ms",
        aim,
    );
}

fn print(figures: &Figures, what: &str, samples: &Samples, aim: Option<Aim>) {
    let ms = |time: Option<Duration>| time.map_or(f64::NAN, |time| time.as_secs_f64() * 1e3);
    println!("{what}: {} pairs", samples.len());
    for (name, permille, aim) in [("p50", 500, aim), ("p99", 990, None), ("longest", 1000, None)] {
        let line = format!("{what}: packet → answer, {name}");
        figures.line(&line, ms(samples.permille(permille)), "ms", aim);
    }
}

/// One client asks one server at a port for the first time.
fn contact(bench: &Bench, client: usize, server: usize, port: u16) -> anyhow::Result<Duration> {
    let to = bench.address(&format!("s{server}"), port)?;
    let report = bench.lab.within(&format!("c{client}"), move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok::<_, std::io::Error>(runtime.block_on(probe(&Probe {
            target: to,
            transport: Transport::Udp,
            text: "ping".to_owned(),
            timeout: Duration::from_secs(20),
            retry: Some(Duration::from_micros(500)),
        })))
    })??;
    if !report.answered {
        bail!("c{client} to s{server}: {}", report.error.unwrap_or_default());
    }
    Ok(Duration::from_micros(report.contact_us))
}

#[derive(Default)]
struct Contacts {
    answer: Samples,
    proof: Samples,
}

impl Contacts {
    /// One client asks one server for the first time.
    fn make(&mut self, bench: &Bench, client: usize, server: usize) -> anyhow::Result<()> {
        self.answer.push(contact(bench, client, server, PROVEN)?);
        // What the signalled node's agent measured, from the kernel's signal to the proof in the map.
        let remote = format!("/sa/c{client}");
        let proofs = proofs(bench, server)?;
        let proof = proofs.iter().find(|proof| proof.remote.ends_with(&remote));
        let proof = proof.with_context(|| format!("n{server} has no proof of c{client}"))?;
        self.proof.push(Duration::from_nanos(proof.latency));
        Ok(())
    }

    fn print(&self, figures: &Figures, what: &str, aim: Option<Aim>) {
        print(figures, what, &self.answer, aim);
        let ms = |time: Option<Duration>| time.map_or(f64::NAN, |time| time.as_secs_f64() * 1e3);
        for (name, permille) in [("p50", 500), ("longest", 1000)] {
            let line = format!("{what}: signal → proof, {name}");
            figures.line(&line, ms(self.proof.permille(permille)), "ms", None);
        }
    }
}

/// What the agent of a server's node says of its proofs.
fn proofs(bench: &Bench, server: usize) -> anyhow::Result<Vec<ProofEntry>> {
    let mut node = {
        // Channels spawn tasks.
        let _in_runtime = bench.runtime.enter();
        bench.lab.client(&format!("n{server}"))?
    };
    let listed = bench
        .runtime
        .block_on(node.agent.list_proofs(ListProofsRequest {}))?;
    Ok(listed.into_inner().proofs)
}
