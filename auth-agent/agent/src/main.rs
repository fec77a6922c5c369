//! The node agent's process: command line, logging, signals.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use signet_agent::cli::{Command, Program, Task};
use signet_agent::devid::DevidArgs;
use signet_agent::run::run;
use signet_agent::validate::validate;
use signet_privileges::Capabilities;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    match start() {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A command for people: what went wrong is no line of a log.
fn devid(args: &DevidArgs) -> ExitCode {
    match signet_agent::devid::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to hear that it cannot be said.
            let _ = writeln!(std::io::stderr(), "signet-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> anyhow::Result<ExitCode> {
    let args = match Program::parse().task {
        Task::Daemon(Command::Run(args)) => args,
        Task::Devid(args) => return Ok(devid(&args)),
    };
    if args.validate {
        return Ok(validate(&args));
    }
    // To see which program a workload of another user runs, and to read it. Pinned maps are opened as files.
    signet_privileges::confine(Capabilities::SYS_PTRACE | Capabilities::DAC_READ_SEARCH)
        .context("failed to drop privileges")?;
    signet_telemetry::init("signet-agent", args.log_format, args.log.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let mut terminate = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("failed to listen for SIGINT")?;
        let stopper = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("stopping");
            stopper.cancel();
        });
        run(args, stop).await?;
        Ok(ExitCode::SUCCESS)
    })
}
