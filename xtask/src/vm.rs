//! `xtask vm`: Debian's cloud kernel in QEMU, with what this workspace built inside.
//!
//! The build machines' own kernel may lack WireGuard and ESP; this one has both. QEMU emulates every instruction, so
//! the guest runs user code about fifteen times slower than the host: a run proves behaviour, never speed.

mod files;
mod image;
mod kernel;
mod machine;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;

use crate::repository::{self, Executable};
use crate::tally::Tally;
use image::Image;
use machine::Machine;

/// Options of `xtask vm`.
#[derive(Args)]
pub(crate) struct Options {
    /// Package whose test binaries run inside.
    #[arg(long, default_value = "signet-e2e")]
    package: String,
    /// Only the test binary of this cargo target, e.g. the file's name under `tests/`.
    #[arg(long)]
    test: Option<String>,
    /// Run this bash command inside, instead of tests. The daemons and `signet` are on PATH.
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["test", "package"])]
    shell_command: Option<String>,
    /// The guest's memory, in MiB.
    #[arg(long, default_value_t = 3072)]
    memory: u32,
    /// The guest's processors.
    #[arg(long, default_value_t = 2)]
    processors: u32,
    /// Minutes after which the guest is killed and the run counts as failed.
    #[arg(long, default_value_t = 20)]
    deadline: u64,
    /// Arguments for the test binaries: a filter, `--nocapture`, ...
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// What `make test` runs inside: test binaries by package and cargo target. The other end-to-end tests do not depend
/// on the kernel's encryption and run on the host alone.
const CORE: [(&str, &str); 2] = [("signet-keyd", "tunnel"), ("signet-e2e", "core")];

/// Boots once, for what the options ask.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let machine = Machine {
        memory: options.memory,
        processors: options.processors,
        limit: Duration::from_mins(options.deadline),
    };
    let executables = repository::build()?;
    let mut script = Script::default();
    if let Some(command) = &options.shell_command {
        script.lines.push(format!("{{ {command}\n}} || status=$?"));
    }
    script.daemons(&executables);
    let wanted = |e: &&Executable| {
        options.shell_command.is_none()
            && e.package == options.package
            && options.test.as_ref().is_none_or(|test| *test == e.target)
    };
    let tests = executables.iter().filter(|e| e.test).filter(wanted);
    tests.for_each(|test| script.test(test, &options.arguments));
    let tally = boot(&machine, &script)?;
    println!("{tally}");
    Ok(if tally.failed() == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The stage of `make test`. Whatever goes wrong is a failed test, not an error: the summary must come out.
pub(crate) fn core(executables: &[Executable], limit: Duration) -> Tally {
    let mut script = Script::default();
    script.daemons(executables);
    for (package, target) in CORE {
        let tests = executables
            .iter()
            .filter(|e| e.test && e.package == package && e.target == target);
        tests.for_each(|test| script.test(test, &[]));
    }
    let machine = Machine {
        memory: 3072,
        processors: 2,
        limit,
    };
    boot(&machine, &script).unwrap_or_else(|error| {
        let mut tally = Tally::default();
        tally.stage_failed(&format!("{error:#}"));
        tally
    })
}

/// What the guest runs, and what it needs for that.
#[derive(Default)]
struct Script<'a> {
    lines: Vec<String>,
    executables: Vec<(&'a Path, String)>,
    /// Whether the guest must have run at least one test.
    tests: bool,
}

impl<'a> Script<'a> {
    /// Puts the binaries where the lab looks for them: in the directory above the test binary's.
    fn daemons(&mut self, executables: &'a [Executable]) {
        for daemon in executables
            .iter()
            .filter(|e| !e.test && e.target.starts_with("signet"))
        {
            self.executables
                .push((&daemon.path, format!("signet/bin/{}", daemon.target)));
        }
    }

    fn test(&mut self, test: &'a Executable, arguments: &[String]) {
        let name = format!("{}-{}", test.package, test.target);
        let quoted: Vec<_> = arguments
            .iter()
            .map(|a| format!("'{}'", a.replace('\'', r"'\''")))
            .collect();
        let quoted = quoted.join(" ");
        self.lines.push(format!(
            "echo '     Running {name}'; /signet/bin/deps/{name} {quoted} || status=$?"
        ));
        self.executables
            .push((&test.path, format!("signet/bin/deps/{name}")));
        self.tests = true;
    }
}

fn boot(machine: &Machine, script: &Script<'_>) -> anyhow::Result<Tally> {
    if script.lines.is_empty() {
        bail!("no test binary fits; `cargo test --no-run` lists them");
    }
    let kernel = kernel::Kernel::find(&repository::cache()?)?;
    let image = Image::build(&kernel, script).context("the guest's file system could not be made")?;
    println!(
        "vm: Linux {} in QEMU, file system {} MiB",
        kernel.release,
        image.size >> 20
    );
    let tally = machine.run(&kernel, &image)?;
    if script.tests && tally.seen() == 0 {
        bail!("the guest ran no test");
    }
    Ok(tally)
}
