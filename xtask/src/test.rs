//! `xtask test`: every test there is, and one summary.

use std::collections::BTreeSet;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;

use crate::process::{self, Ended};
use crate::repository;
use crate::tally::Tally;
use crate::vm;

/// Options of `xtask test`.
#[derive(Args)]
pub(crate) struct Options {
    /// Leave the VM out.
    #[arg(long)]
    no_vm: bool,
    /// Minutes after which a stage is given up.
    #[arg(long, default_value_t = 30)]
    deadline: u64,
}

/// A part of the run, and how long it took.
struct Stage {
    name: &'static str,
    took: Duration,
}

/// Builds, runs all stages, prints failures, skips, times and, last, the summary line.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let limit = Duration::from_mins(options.deadline);
    let mut whole = Tally::default();
    let mut stages = Vec::new();

    let began = Instant::now();
    let built = repository::build();
    stages.push(Stage {
        name: "build",
        took: began.elapsed(),
    });
    match built {
        Err(error) => whole.stage_failed(&format!("{error:#}")),
        Ok(executables) => {
            let began = Instant::now();
            whole.add("this machine", workspace(limit)?);
            stages.push(Stage {
                name: "cargo test, with the lab",
                took: began.elapsed(),
            });
            if !options.no_vm {
                let began = Instant::now();
                whole.add("vm", vm::core(&executables, limit));
                stages.push(Stage {
                    name: "end-to-end core in the VM",
                    took: began.elapsed(),
                });
            }
        }
    }

    if std::env::var_os("CI").is_some_and(|ci| ci == "true") {
        whole.refuse_unexpected_skips(&expected_skips()?);
    }
    report(&whole, &stages);
    Ok(if whole.failed() == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// `cargo test` on everything: unit, property, kernel program and lab tests, clients that others wrote.
fn workspace(limit: Duration) -> anyhow::Result<Tally> {
    let mut command = repository::cargo();
    command.args(["test", "--workspace", "--no-fail-fast"]);
    tests("cargo test", command, limit)
}

/// Runs something that prints what libtest prints.
pub(crate) fn tests(stage: &str, command: Command, limit: Duration) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    let ended = process::stream(command, limit, |line| {
        println!("{line}");
        tally.line(line);
    })?;
    match ended {
        Ended::DeadlinePassed => {
            tally.stage_failed(&format!("{stage}: not finished after {} s", limit.as_secs()));
        }
        Ended::Exited(status) if !status.success() && tally.failed() == 0 => {
            tally.stage_failed(&format!("{stage}: {status}"));
        }
        Ended::Exited(_) if tally.seen() == 0 => tally.stage_failed(&format!("{stage}: no test ran")),
        Ended::Exited(_) => {}
    }
    Ok(tally)
}

/// Names in tests/expected-skips.txt; a word after the name and lines that start with `#` are for the reader.
fn expected_skips() -> anyhow::Result<BTreeSet<String>> {
    let path = repository::root().join("tests/expected-skips.txt");
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    let names = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_whitespace().next());
    Ok(names.map(str::to_owned).collect())
}

fn report(whole: &Tally, stages: &[Stage]) {
    println!();
    for stage in stages {
        println!("{:>6} s  {}", stage.took.as_secs(), stage.name);
    }
    for skip in whole.skips() {
        println!("skipped: {}: {}", skip.test, skip.reason);
    }
    for failure in whole.failures() {
        println!("FAILED: {failure}");
    }
    println!("{whole}");
}
