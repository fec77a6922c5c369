//! First contact: from a client's first packet to the answer, for a pair that nobody has proven yet.
//!
//! Cold: the two nodes have no session yet. Warm: they have. The client sends a datagram anew every half millisecond,
//! so that the time is Signet's and not that of a retransmission timer.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use signet_figures::{Aim, Figures};
use signet_lab::traffic::{Probe, Transport, probe};
use signet_proto::agent::v1::ListProofsRequest;

use super::lab::Bench;
use super::samples::Samples;

/// Nodes besides the clients' own: one cold contact each.
const SERVERS: usize = 4;
const CLIENTS: usize = 30;
const PORT: u16 = 7000;

/// All clients on n0, a server on each other node.
fn yaml() -> String {
    let mut yaml = "name: benchfirst\nnodes: [{name: n0}".to_owned();
    for n in 1..=SERVERS {
        // Writing to a String cannot fail.
        let _ = write!(yaml, ", {{name: n{n}}}");
    }
    yaml.push_str("]\nworkloads:\n");
    for n in 1..=SERVERS {
        let _ = writeln!(
            yaml,
            "- {{name: s{n}, node: n{n}, labels: {{app: server}}, serve: {{udp: [{PORT}]}}}}"
        );
    }
    let mut from = Vec::new();
    for n in 1..=CLIENTS {
        let _ = writeln!(yaml, "- {{name: c{n}, node: n0}}");
        from.push(format!("{{workload: {{serviceAccount: c{n}}}}}"));
    }
    let _ = write!(
        yaml,
        "policies:
- apiVersion: signet.io/v1alpha1
  kind: Policy
  metadata: {{name: servers, namespace: default}}
  spec:
    endpointSelector: {{matchLabels: {{app: server}}}}
    ingress:
    - from: [{}]
      authentication: required
",
        from.join(", ")
    );
    yaml
}

/// Measures and prints.
pub(super) fn run(figures: &Path) -> anyhow::Result<()> {
    let figures = Figures::kept_in(figures, "first contact");
    println!("\nFirst contact of a pair");
    let bench = Bench::up(&yaml(), true)?;
    let mut cold = Contacts::default();
    for n in 1..=SERVERS {
        cold.make(&bench, "c1", n)?;
    }
    let mut warm = Contacts::default();
    for client in 2..=CLIENTS {
        warm.make(&bench, &format!("c{client}"), 1 + client % SERVERS)?;
    }
    cold.print(&figures, "cold, no node session", None);
    warm.print(&figures, "warm", Some(Aim::AtMost(3.0)));
    Ok(())
}

#[derive(Default)]
struct Contacts {
    answer: Samples,
    proof: Samples,
}

impl Contacts {
    /// One client asks one server for the first time.
    fn make(&mut self, bench: &Bench, client: &str, server: usize) -> anyhow::Result<()> {
        let to = bench.address(&format!("s{server}"), PORT)?;
        let report = bench.lab.within(client, move || {
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
            bail!("{client} to s{server}: {}", report.error.unwrap_or_default());
        }
        self.answer.push(Duration::from_micros(report.contact_us));
        self.proof.push(proof_time(bench, client, server)?);
        Ok(())
    }

    fn print(&self, figures: &Figures, what: &str, aim: Option<Aim>) {
        let ms = |time: Option<Duration>| time.map_or(f64::NAN, |time| time.as_secs_f64() * 1e3);
        println!("{what}: {} pairs", self.answer.len());
        for (way, samples, aim) in [
            ("packet → answer", &self.answer, aim),
            ("signal → proof", &self.proof, None),
        ] {
            figures.line(&format!("{what}: {way}, p50"), ms(samples.median()), "ms", aim);
            figures.line(
                &format!("{what}: {way}, longest"),
                ms(samples.permille(1000)),
                "ms",
                None,
            );
        }
    }
}

/// What the signalled node's agent measured, from the kernel's signal to the proof in the map.
fn proof_time(bench: &Bench, client: &str, server: usize) -> anyhow::Result<Duration> {
    let mut node = {
        // Channels spawn tasks.
        let _in_runtime = bench.runtime.enter();
        bench.lab.client(&format!("n{server}"))?
    };
    let proofs = bench
        .runtime
        .block_on(node.agent.list_proofs(ListProofsRequest {}))?
        .into_inner()
        .proofs;
    let remote = format!("/sa/{client}");
    let proof = proofs.iter().find(|proof| proof.remote.ends_with(&remote));
    let proof = proof.with_context(|| format!("n{server} has no proof of {client}"))?;
    Ok(Duration::from_nanos(proof.latency))
}
