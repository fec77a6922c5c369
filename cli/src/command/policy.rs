//! `signet policy`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use signet_proto::mesh::v1::ListPoliciesRequest;

use crate::args::Global;
use crate::failure::{DONE, FAILED, Failure};
use crate::output::Output;
use crate::target::Target;
use crate::view::policy::{CheckView, ErrorRow, PoliciesView, PolicyRow};

/// Shown at the end of the help.
const AFTER: &str = "\
Examples:
  signet policy list
  signet policy check web.yaml                   without touching anything; exits with 1 if it is refused";

/// Arguments of `signet policy`.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the policies in force, and what is wrong with the configuration folder.
    List,
    /// Check files of workloads and policies as signet-meshd would.
    Check {
        /// YAML files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

/// Runs a subcommand.
pub(crate) async fn run(arguments: &Arguments, global: &Global, output: &Output) -> Result<u8, Failure> {
    match &arguments.command {
        Command::List => list(&Target::new(global)?, output).await,
        Command::Check { files } => check(files, output),
    }
}

async fn list(target: &Target, output: &Output) -> Result<u8, Failure> {
    let mut view = PoliciesView::default();
    for node in &target.nodes {
        let name = node.name().await;
        let answer = node
            .mesh_daemon
            .answer(node.mesh.clone().list_policies(ListPoliciesRequest {}))
            .await?;
        view.policies.extend(
            answer
                .policies
                .into_iter()
                .map(|policy| PolicyRow::new(&name, policy)),
        );
        view.errors
            .extend(answer.errors.into_iter().map(|error| ErrorRow {
                node: name.clone(),
                error,
            }));
    }
    output.show(&view)?;
    Ok(DONE)
}

fn check(files: &[PathBuf], output: &Output) -> Result<u8, Failure> {
    let mut code = DONE;
    for file in files {
        let name = file.display().to_string();
        let view = match signet_source::check_file(file) {
            Ok(checked) => CheckView::good(name, &checked.set),
            Err(errors) => {
                code = FAILED;
                CheckView::bad(name, &errors)
            }
        };
        output.show_line(&view)?;
    }
    Ok(code)
}
