//! What each daemon holds, and does while nothing happens, with 100 workloads on its node.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use signet_figures::{Aim, Figures};
use signet_lab::Role;
use signet_proto::agent::v1::ListSvidsRequest;
use tokio::time::sleep;

use super::lab::Bench;

const WORKLOADS: usize = 100;
/// How long the idle load is watched.
const IDLE: Duration = Duration::from_secs(10);

fn yaml() -> String {
    let mut yaml = "name: benchmem\nnodes: [{name: n1}, {name: n2}]\nworkloads:\n".to_owned();
    for n in 1..=WORKLOADS {
        // Writing to a String cannot fail.
        let _ = writeln!(yaml, "- {{name: w{n}, node: n1, labels: {{app: w}}}}");
    }
    yaml.push_str(
        "- {name: other, node: n2}
policies:
- apiVersion: signet.io/v1alpha1
  kind: Policy
  metadata: {name: all, namespace: default}
  spec:
    endpointSelector: {matchLabels: {app: w}}
    ingress:
    - from: [{workload: {serviceAccount: other}}]
      authentication: required
",
    );
    yaml
}

/// Measures and prints.
pub(super) fn run(figures: &Path) -> anyhow::Result<()> {
    let figures = Figures::kept_in(figures, "memory");
    println!("\nDaemons with {WORKLOADS} workloads on the node");
    let bench = Bench::up(&yaml(), true)?;
    until_all_have_svids(&bench)?;
    let daemons = [
        ("n1", Role::Agent),
        ("n1", Role::Meshd),
        ("n1", Role::Keyd),
        ("ca", Role::Ca),
    ];
    let mut before = Vec::new();
    for (place, role) in daemons {
        let pid = bench
            .lab
            .pid(place, role)?
            .with_context(|| format!("{place} {role} is not running"))?;
        before.push((
            role,
            pid.as_raw_nonzero().get(),
            cpu_ticks(pid.as_raw_nonzero().get())?,
        ));
    }
    let began = Instant::now();
    bench.runtime.block_on(async { sleep(IDLE).await });
    let watched = began.elapsed();
    for (role, pid, ticks) in before {
        let memory = Memory::of(pid)?;
        // USER_HZ is 100 on every Linux that Rust runs on.
        let busy = f64::from(u32::try_from(cpu_ticks(pid)? - ticks)?) / 100.0 / watched.as_secs_f64() * 100.0;
        let aim = (role == Role::Agent).then_some(Aim::AtMost(18.0));
        figures.line(&format!("signet-{role}, RSS"), memory.rss, "MB", aim);
        figures.line(&format!("signet-{role}, PSS"), memory.pss, "MB", None);
        figures.line(&format!("signet-{role}, idle CPU"), busy, "% of a core", None);
    }
    Ok(())
}

fn until_all_have_svids(bench: &Bench) -> anyhow::Result<()> {
    let until = Instant::now() + Duration::from_mins(2);
    let mut node = {
        // Channels spawn tasks.
        let _in_runtime = bench.runtime.enter();
        bench.lab.client("n1")?
    };
    loop {
        let svids = bench
            .runtime
            .block_on(node.agent.list_svids(ListSvidsRequest {}))?
            .into_inner()
            .svids;
        let ready = svids.iter().filter(|svid| svid.state == "ready").count();
        if ready >= WORKLOADS {
            return Ok(());
        }
        if Instant::now() > until {
            bail!("only {ready} of {WORKLOADS} workloads have an SVID");
        }
        bench
            .runtime
            .block_on(async { sleep(Duration::from_millis(200)).await });
    }
}

/// User and system time of a process, in ticks (proc(5), fields 14 and 15 of `stat`).
fn cpu_ticks(pid: i32) -> anyhow::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The command, in parentheses, may hold any character.
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |at: usize| {
        fields
            .get(at)
            .and_then(|field| field.parse::<u64>().ok())
            .context("an unexpected /proc stat")
    };
    Ok(ticks(11)? + ticks(12)?)
}

/// In units of 1,000,000 bytes.
struct Memory {
    rss: f64,
    pss: f64,
}

impl Memory {
    fn of(pid: i32) -> anyhow::Result<Self> {
        let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let mb = |name: &str| {
            let line = rollup
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .context("an unexpected smaps_rollup")?;
            let kib: f64 = line.trim_end_matches("kB").trim().parse()?;
            anyhow::Ok(kib * 1024.0 / 1e6)
        };
        Ok(Self {
            rss: mb("Rss:")?,
            pss: mb("Pss:")?,
        })
    }
}
