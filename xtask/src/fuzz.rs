//! Longer runs of the tests that mutate the inputs of parsers.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::repository;

/// Packages with such tests. Their names begin with `fuzz_`.
const PACKAGES: [&str; 6] = [
    "signet",
    "signet-fuzz",
    "signet-broker",
    "signet-ca",
    "signet-sds",
    "signet-workload-api",
];

/// Options of `xtask fuzz`.
#[derive(Args)]
pub(crate) struct Options {
    /// How long each target is tried: 90s, 10m, 2h. As many run at a time as the machine has processors.
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    time: Duration,
    /// Only tests whose name has this in it.
    #[arg(default_value = "fuzz_")]
    target: String,
    /// Write down inputs that were interesting: one for each reason for which something was refused, and a few that were
    /// accepted. They are tried first ever after, once they are committed.
    #[arg(long)]
    keep: bool,
}

fn time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text} is no time such as 90s, 10m or 2h");
    let (number, unit) = text
        .split_at_checked(text.len().saturating_sub(1))
        .ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(wrong()),
    };
    Ok(Duration::from_secs(number.saturating_mul(seconds)))
}

/// Runs them; what they find they keep in their crate's `fuzz-corpus`.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    ensure!(
        options.target.contains("fuzz_"),
        "names of targets begin with fuzz_"
    );
    let mut cargo = repository::cargo();
    if options.keep {
        cargo.env("SIGNET_FUZZ_KEEP", "1");
    }
    let status = cargo
        .args(["test", "--no-fail-fast", "--lib", "--bins", "--tests"])
        .args(PACKAGES.iter().flat_map(|package| ["-p", package]))
        .arg("--")
        .arg(&options.target)
        .env("SIGNET_FUZZ_FOR", options.time.as_secs().to_string())
        .status()
        .context("cargo cannot be started")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_minutes_or_hours() {
        assert_eq!(time("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(time("10m"), Ok(Duration::from_mins(10)));
        assert_eq!(time("2h"), Ok(Duration::from_hours(2)));
        for wrong in ["", "10", "m", "-1m", "1d", "é"] {
            assert!(time(wrong).is_err(), "{wrong:?}");
        }
    }
}
