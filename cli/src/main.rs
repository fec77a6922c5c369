//! The command line of Signet: asks the daemons of a node (or of a lab's nodes) and shows what they say.
//!
//! Each command has a file in `command`, which fetches, and one in `view`, which is pure: what was fetched becomes a
//! model with stable JSON names, and the model becomes tables.

mod args;
mod clients;
mod command;
mod failure;
mod output;
mod remote;
mod spire;
mod target;
mod text;
mod view;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let arguments = args::Arguments::parse();
    let output = output::Output::new(arguments.global.output);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return output.fail(&failure::Failure::Failed(format!("cannot start: {error}"))),
    };
    match runtime.block_on(command::run(arguments, &output)) {
        Ok(code) => code.into(),
        Err(failure) => output.fail(&failure),
    }
}
