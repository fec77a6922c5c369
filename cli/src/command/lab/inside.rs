//! `signet lab exec|logs|kill|release`.

use std::os::unix::process::CommandExt as _;

use signet_lab::{Lab, LabError, LabName, Role};

use crate::failure::Failure;
use crate::output::Output;

/// Becomes the command; returns only if that fails.
pub(super) fn exec(lab: &LabName, place: &str, command: &[String]) -> Failure {
    let argv: Vec<_> = command.iter().map(String::as_str).collect();
    match Lab::open(lab).and_then(|lab| lab.command(place, &argv)) {
        Ok(mut command) => Failure::Failed(format!("cannot run nsenter: {}", command.exec())),
        Err(error) => error.into(),
    }
}

/// Writes a log.
pub(super) fn logs(lab: &LabName, place: &str, role: Option<Role>, output: &Output) -> Result<(), Failure> {
    let lab = Lab::open(lab)?;
    let role = match role {
        Some(role) => role,
        None if place == "ca" => Role::Ca,
        None if lab.plan().workload(place).is_some() => Role::Workload,
        None if lab.plan().node(place).is_some() => {
            return Err(Failure::Usage(format!(
                "which log of {place}: agent, meshd or keyd?"
            )));
        }
        None => {
            return Err(Failure::Usage(format!(
                "there is no `{place}`; `signet lab status` shows what there is"
            )));
        }
    };
    let path = lab.log(place, role);
    let bytes = std::fs::read(&path).map_err(|source| LabError::Io {
        action: "read",
        path: path.clone(),
        source,
    })?;
    output.write(&String::from_utf8_lossy(&bytes))
}

/// Kills a process.
pub(super) fn kill(lab: &LabName, place: &str, role: Role, hold: bool) -> Result<(), Failure> {
    let lab = Lab::open(lab)?;
    Ok(if hold {
        lab.hold(place, role)
    } else {
        lab.kill(place, role)
    }?)
}

/// Lets a process run again.
pub(super) fn release(lab: &LabName, place: &str, role: Role) -> Result<(), Failure> {
    Ok(Lab::open(lab)?.release(place, role)?)
}
