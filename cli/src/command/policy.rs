//! `signet policy`.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use signet_proto::mesh::v1::ListPoliciesRequest;
use signet_source::{CheckError, Input};

use crate::args::Global;
use crate::command::heard::Heard;
use crate::failure::{DONE, FAILED, Failure};
use crate::output::Output;
use crate::target::Target;
use crate::view::policy::{CheckView, ErrorRow, PoliciesView, PolicyRow};

/// Shown at the end of the help.
const AFTER: &str = "\
Every field of the files, with examples: docs/reference/policy.md.

Examples:
  signet policy list
  signet policy check web.yaml                   without touching anything; exits with 1 if it is refused
  signet policy check /etc/signet/mesh new.yaml  what is there, with one more file
  generate | signet policy check -               standard input";

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
    /// Check files of workloads and policies as signet-meshd would, all of them as one set.
    Check {
        /// YAML files, directories with such files, or `-` for standard input.
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
    let heard = Heard::from(target, async |node, name| {
        let answer = node
            .mesh_daemon
            .answer(node.mesh.clone().list_policies(ListPoliciesRequest {}))
            .await?;
        let policies = answer.policies.into_iter();
        let errors = answer.errors.into_iter().map(|error| ErrorRow {
            node: name.to_owned(),
            error,
        });
        Ok((
            policies
                .map(|policy| PolicyRow::new(name, policy))
                .collect::<Vec<_>>(),
            errors.collect::<Vec<_>>(),
        ))
    })
    .await?;
    let mut code = heard.tell(output);
    let mut view = PoliciesView::default();
    for (policies, errors) in heard.answers {
        view.policies.extend(policies);
        view.errors.extend(errors);
    }
    output.show(&view)?;
    if code == DONE && !view.errors.is_empty() {
        code = FAILED;
    }
    Ok(code)
}

fn check(files: &[PathBuf], output: &Output) -> Result<u8, Failure> {
    let inputs = files
        .iter()
        .map(|file| input(file))
        .collect::<Result<Vec<_>, _>>()?;
    let (view, code) = match signet_source::check(&inputs) {
        Ok(checked) => {
            let code = if checked.conflicts.is_empty() {
                DONE
            } else {
                FAILED
            };
            (CheckView::read(checked), code)
        }
        Err(CheckError::Refused(errors)) => (CheckView::refused(&errors), FAILED),
        Err(CheckError::Unreadable(errors)) => {
            return Err(Failure::Usage(errors.lines().join("\n")));
        }
    };
    output.show_line(&view)?;
    Ok(code)
}

/// A file or directory; `-` is standard input.
fn input(file: &Path) -> Result<Input, Failure> {
    if file != Path::new("-") {
        return Ok(Input::Path(file.to_owned()));
    }
    let mut text = String::new();
    let read = std::io::stdin()
        .lock()
        .take(signet_source::MAX_FILE_BYTES + 1)
        .read_to_string(&mut text);
    read.map_err(|error| Failure::Usage(format!("cannot read standard input: {error}")))?;
    if u64::try_from(text.len()).is_ok_and(|length| length > signet_source::MAX_FILE_BYTES) {
        return Err(Failure::Usage(format!(
            "standard input is larger than {} bytes: split it",
            signet_source::MAX_FILE_BYTES
        )));
    }
    Ok(Input::Text {
        name: "standard input".to_owned(),
        text,
    })
}
