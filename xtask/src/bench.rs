//! `xtask bench`: what Signet costs, beside what is there without it, within one run on one machine.
//!
//! Numbers are printed, never judged: the aims stand beside them. Run it from a release build (`make bench`).

mod first_contact;
mod lab;
mod memory;
mod path;
mod revocation;
mod samples;
mod sockets;

use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};

use crate::repository;

/// Options of `xtask bench`.
#[derive(Args)]
pub(crate) struct Options {
    /// Only these parts, in this order.
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// Rounds of the path part; each measures every path once.
    #[arg(long, default_value_t = 15)]
    rounds: u32,
}

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Round trip, connections per second, throughput: raw veth, enforced, encrypted.
    Path,
    /// The time until a pair that nobody has proven yet can talk.
    FirstContact,
    /// The time from a revocation to the first packet that is refused.
    Revocation,
    /// Memory and idle load of each daemon with 100 workloads on the node.
    Memory,
    /// Handshakes per second, nanoseconds per packet: the benches of single crates.
    Crates,
}

const ALL: [Part; 5] = [
    Part::Crates,
    Part::Path,
    Part::FirstContact,
    Part::Revocation,
    Part::Memory,
];

/// Runs the parts and prints a table for each.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if cfg!(debug_assertions) {
        println!("note: this is a debug build; `make bench` measures a release build");
    }
    println!("{}", machine());
    let parts = if options.parts.is_empty() {
        &ALL[..]
    } else {
        &options.parts
    };
    for part in parts {
        match part {
            Part::Path => path::run(options.rounds)?,
            Part::FirstContact => first_contact::run()?,
            Part::Revocation => revocation::run()?,
            Part::Memory => memory::run()?,
            Part::Crates => crates()?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Benches of single crates lie beside them, and print their own tables.
fn crates() -> anyhow::Result<()> {
    for bench in repository::benches()? {
        println!("\n{} {}", bench.package, bench.target);
        let status = Command::new(&bench.path)
            .current_dir(repository::root())
            .arg("--bench")
            .status()
            .with_context(|| format!("failed to start {}", bench.path.display()))?;
        if !status.success() {
            bail!(
                "the bench {} of {} ended with {status}",
                bench.target,
                bench.package
            );
        }
    }
    Ok(())
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
