//! Running things in a lab's namespaces.

use std::path::Path;
use std::process::Command;

use crate::{LabError, LabPaths, Plan};

/// A command that runs `argv` in the namespace of a place: a node, a workload, `ca` or `net` (the underlay).
///
/// Only the network namespace changes; files and mounts stay those of the caller.
pub fn nsenter(
    plan: &Plan,
    paths: &LabPaths,
    bin_dir: &Path,
    place: &str,
    argv: &[String],
) -> Result<Command, LabError> {
    let place = resolve(plan, place)?;
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net={}", paths.netns(&place).display()))
        .arg("--")
        .args(argv);
    command.envs(environment(plan, paths, bin_dir, &place));
    Ok(command)
}

/// What is added to the environment of programs at a place.
pub fn environment(plan: &Plan, paths: &LabPaths, bin_dir: &Path, place: &str) -> Vec<(String, String)> {
    let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/sbin:/usr/bin:/sbin:/bin".to_owned());
    let mut all = vec![("PATH".to_owned(), format!("{}:{path}", bin_dir.display()))];
    if let Some(workload) = plan.workload(place) {
        let socket = paths.workload_socket(&workload.node);
        all.push((
            "SPIFFE_ENDPOINT_SOCKET".to_owned(),
            format!("unix://{}", socket.display()),
        ));
    }
    if plan.node(place).is_some() {
        all.push((
            "SIGNET_RUN_DIR".to_owned(),
            paths.node_run(place).display().to_string(),
        ));
    }
    all
}

/// The place that a user means.
pub(crate) fn resolve(plan: &Plan, place: &str) -> Result<String, LabError> {
    if let Some(workload) = plan.workload(place) {
        return Ok(workload.name.clone());
    }
    if plan.places().any(|known| known == place) {
        return Ok(place.to_owned());
    }
    let known = plan.places().collect::<Vec<_>>().join(", ");
    Err(LabError::NoPlace {
        lab: plan.lab.clone(),
        place: place.to_owned(),
        known,
    })
}
