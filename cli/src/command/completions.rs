//! `signet completions`.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::failure::Failure;
use crate::output::Output;

/// Shown at the end of the help.
const AFTER: &str = "\
Examples:
  source <(signet completions bash)
  signet completions zsh > ~/.zfunc/_signet
  signet completions fish > ~/.config/fish/completions/signet.fish";

/// Arguments of `signet completions`.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct Arguments {
    /// For which shell.
    shell: Shell,
}

/// Writes the script.
pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut crate::args::Arguments::command(),
        "signet",
        &mut script,
    );
    output.write(&String::from_utf8_lossy(&script))
}
