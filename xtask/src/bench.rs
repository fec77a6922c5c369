//! `xtask bench`: what Signet costs, beside what is there without it, within one run on one machine.
//!
//! Numbers are printed, never judged: the aims stand beside them. Run it from a release build (`make bench`).

mod first_contact;
mod lab;
mod memory;
mod path;
mod programs;
mod registration;
mod revocation;
mod samples;
mod site;
mod sockets;
mod summary;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, ValueEnum};
use signet_figures::{SINK, Scale};

use crate::repository;
use summary::Summary;

/// Options of `xtask bench`.
#[derive(Args)]
pub(crate) struct Options {
    /// Only these parts, in this order.
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// The same, one at a time.
    #[arg(long, value_enum, value_name = "PART")]
    only: Vec<Part>,
    /// Rounds of the path part; each measures every path once.
    #[arg(long, default_value_t = 15)]
    rounds: u32,
    /// Where all figures are written, as JSON.
    #[arg(long, value_name = "FILE", default_value = "target/bench.json")]
    json: PathBuf,
    /// Take the programs that are there, and compile nothing.
    #[arg(long)]
    built: bool,
    /// As little of the parts for registrations as shows that they work.
    #[arg(long, hide = true)]
    tiny: bool,
}

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Certificates and tokens per second through the CA's API.
    Issue,
    /// Certificates per second beside SPIRE's, where `SPIRE_SERVER` is the path of its spire-server.
    Spire,
    /// What a request and a change cost with 1,000 to 100,000 registrations.
    Scale,
    /// Thousands of simulated agents on one CA: cold start, then load and memory.
    Fleet,
    /// The time from a registration to the SVID at the workload.
    Registration,
    /// The time from a revocation to the first packet that is refused.
    Revocation,
    /// Pair handshakes per second.
    Handshake,
    /// A thousand nodes on simulated time: messages at rest, time to converge after what happens to all of them.
    Simulation,
    /// Nanoseconds per packet of the kernel programs.
    Packet,
    /// Round trip, connections per second, throughput: raw veth, enforced, encrypted.
    Path,
    /// The time until a pair that nobody has proven yet can talk.
    FirstContact,
    /// Memory and idle load of each daemon with 100 workloads on the node.
    Memory,
    /// Memory and time of an agent with 1 to 512k proven pairs.
    Pairs,
}

/// Runs the parts, prints a table for each, and at the end what was aimed at.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if cfg!(debug_assertions) {
        println!("note: this is a debug build; `make bench` measures a release build");
    }
    let machine = machine();
    println!("{machine}");
    let chosen: Vec<_> = options.parts.iter().chain(&options.only).copied().collect();
    let parts = if chosen.is_empty() {
        Part::value_variants()
    } else {
        &chosen
    };
    let began = Instant::now();
    let mut summary = Summary::begin(machine)?;
    for part in parts {
        let began = Instant::now();
        let measured = measure(*part, options, &summary);
        let name = part.to_possible_value();
        let name = name.as_ref().map_or("", |name| name.get_name());
        println!("({name}: {} s)", began.elapsed().as_secs());
        // The others are worth knowing all the same.
        if let Err(error) = measured {
            summary.failed(name, &error);
        }
    }
    let json = repository::root().join(&options.json);
    summary.print_and_write(&json, began.elapsed())?;
    Ok(if summary.is_whole() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn measure(part: Part, options: &Options, summary: &Summary) -> anyhow::Result<()> {
    let scale = if options.tiny { Scale::Tiny } else { Scale::Whole };
    let figures = summary.figures();
    let program = |package, target| programs::run(package, target, options.built, &[(SINK, figures)]);
    match part {
        Part::Issue => program("signet-ca", "issue"),
        Part::Spire => program("signet-ca", "spire"),
        Part::Scale => program("signet-ca", "scale"),
        Part::Fleet => program("signet-ca", "fleet"),
        Part::Handshake => program("signet-handshake", "handshake"),
        Part::Simulation => program("signet-simulation", "simulation"),
        Part::Packet => program("signet-datapath", "packet"),
        Part::Registration => registration::run(figures, scale),
        Part::Revocation => revocation::run(figures),
        Part::Path => path::run(figures, options.rounds),
        Part::FirstContact => first_contact::run(figures),
        Part::Memory => memory::run(figures),
        Part::Pairs => program("signet-agent", "pairs"),
    }
}

/// One line about where the numbers come from.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map(|(_, name)| name);
    let count = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default();
    format!(
        "{count} × {}, Linux {}, load before {load}",
        model.unwrap_or("unknown CPU"),
        kernel.trim()
    )
}
