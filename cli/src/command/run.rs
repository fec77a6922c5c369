//! From the command line to the command.

use crate::args::{Arguments, Command};
use crate::command::{auth, ca, completions, encryption, explain, flows, identity, lab, policy, status};
use crate::failure::{DONE, Failure};
use crate::output::Output;

/// Runs a command; its exit code.
pub(crate) async fn run(arguments: Arguments, output: &Output) -> Result<u8, Failure> {
    let global = &arguments.global;
    match arguments.command {
        Command::Explain(command) => explain::run(&command, global, output).await,
        Command::Policy(command) => policy::run(&command, global, output).await,
        Command::Lab(command) => lab::run(&command, global, output).await,
        Command::Status(command) => status::run(&command, global, output).await,
        Command::Auth(command) => auth::run(&command, global, output).await,
        Command::Identity(command) => identity::run(&command, global, output).await,
        Command::Encryption(command) => encryption::run(&command, global, output).await,
        Command::Flows(command) => flows::run(&command, global, output).await,
        Command::Ca(command) => ca::run(&command, global, output).await.map(|()| DONE),
        Command::Completions(command) => completions::run(&command, output).map(|()| DONE),
    }
}
