//! The mesh daemon: the only loader of kernel programs.
//!
//! It reads workloads and policies from YAML, nodes and identities from signet-agent, and interfaces from the
//! kernel; from these follows what the kernel maps of the node should hold ([`signet_endpoints`]), which it writes.
//! It answers signet-agent and the operator on `meshd.sock`.
//!
//! # What a restart does
//!
//! Programs, maps and attachments are pinned: a killed daemon leaves them judging packets. The next one adopts the
//! maps, replaces each program in one step, and writes only what has changed meanwhile. Until it has the
//! configuration, the view and the interfaces, it changes nothing that it has adopted.

#![forbid(unsafe_code)]

mod agent;
mod args;
mod attach;
mod cleanup;
mod conntrack;
mod explain;
mod flows;
mod kernel;
mod known;
mod links;
mod metrics;
mod namespaces;
mod parking;
mod reconcile;
mod run;
mod service;
mod validate;
mod view;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use signet_privileges::Capabilities;

use crate::args::{Cli, Command};

fn main() -> anyhow::Result<ExitCode> {
    let done = match Cli::parse().command {
        Command::Run(args) if args.validate => return Ok(validate::run(&args)),
        Command::Run(args) => {
            // Mounts the bpf file system where it is missing: that alone takes more than what follows.
            signet_datapath::prepare(&args.bpffs).context("failed to prepare the folder of the pins")?;
            // To load programs, to let the verifier trust them with pointers, to attach them.
            signet_privileges::confine(Capabilities::BPF | Capabilities::PERFMON | Capabilities::NET_ADMIN)
                .context("failed to drop privileges")?;
            signet_telemetry::init("signet-meshd", args.log_format, args.log.as_deref())?;
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(run::run(args))
        }
        Command::Schema => {
            let schema = serde_json::to_string_pretty(&signet_source::json_schema())?;
            writeln!(std::io::stdout(), "{schema}").context("failed to write the schema")
        }
        Command::Cleanup(args) => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                cleanup::cleanup(&args)?;
                parking::remove().await
            })
        }
    };
    done.map(|()| ExitCode::SUCCESS)
}
