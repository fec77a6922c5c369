//! From the arguments to the deed, and which lab is meant.

use signet_lab::LabName;

use super::arguments::{Arguments, Command};
use super::{inside, lifecycle, traffic};
use crate::args::Global;
use crate::failure::{DONE, Failure};
use crate::output::Output;

/// Runs a subcommand; its exit code.
pub(crate) async fn run(arguments: &Arguments, global: &Global, output: &Output) -> Result<u8, Failure> {
    match &arguments.command {
        Command::Up(up) => lifecycle::up(up, global, output).await,
        Command::Down { all: true, .. } => lifecycle::down_all(output),
        Command::Down { name, .. } => lifecycle::down(&which(name.as_deref(), global)?, output),
        Command::List => lifecycle::list(output),
        Command::Status { name } => lifecycle::show(&which(name.as_deref(), global)?, output).await,
        Command::Exec { place, command } => return Err(inside::exec(&which(None, global)?, place, command)),
        Command::Logs { place, role } => inside::logs(&which(None, global)?, place, *role, output),
        Command::Kill { place, role, hold } => inside::kill(&which(None, global)?, place, *role, *hold),
        Command::Release { place, role } => inside::release(&which(None, global)?, place, *role),
        Command::Schema => output.write(&format!("{:#}\n", signet_lab::spec::json_schema())),
        Command::Supervise { name } => Ok(signet_lab::supervise(&parse(name)?).await?),
        Command::Serve { name, tcp, udp } => traffic::serve(name, tcp, udp).await,
        Command::Probe(probe) => return traffic::probe(probe, output).await,
        Command::Stream(stream) => return traffic::stream(stream, output).await,
    }?;
    Ok(DONE)
}

/// The lab that is named, or the only one.
fn which(name: Option<&str>, global: &Global) -> Result<LabName, Failure> {
    if let Some(name) = name.map(str::to_owned).or_else(|| global.lab()) {
        return parse(&name);
    }
    let labs = signet_lab::labs()?;
    match labs.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(Failure::Failed(
            "no lab is up; `signet lab up FILE` makes one".to_owned(),
        )),
        several => {
            let names = several.iter().map(LabName::as_str).collect::<Vec<_>>().join(", ");
            Err(Failure::Usage(format!(
                "several labs are up ({names}): choose one with --lab"
            )))
        }
    }
}

pub(super) fn parse(name: &str) -> Result<LabName, Failure> {
    LabName::parse(name).map_err(|error| Failure::Usage(error.to_string()))
}
