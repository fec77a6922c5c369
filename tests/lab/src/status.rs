//! How a lab does.

use serde::Serialize;

use crate::control::{Role, Supervised, SupervisorState, process_is_alive};
use crate::processes::processes;
use crate::state::LabState;
use crate::{LabError, LabName, LabPaths, NodePlan, WorkloadPlan};

/// A lab, its places and its processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LabStatus {
    /// The lab.
    pub lab: LabName,
    /// Unix seconds of its making.
    pub created: u64,
    /// The supervisor's process id while it lives.
    pub supervisor: Option<i32>,
    /// Its nodes.
    pub nodes: Vec<NodePlan>,
    /// Its workloads.
    pub workloads: Vec<WorkloadPlan>,
    /// Its processes.
    pub processes: Vec<ProcessStatus>,
}

/// One process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProcessStatus {
    /// Node, workload or `ca`.
    pub place: String,
    /// What it is for.
    pub role: Role,
    /// `running`, `held`, `waiting` or `down`.
    pub state: &'static str,
    /// Process id while it runs.
    pub pid: Option<i32>,
    /// Unix seconds of its start; 0: never.
    pub started: u64,
    /// How often it was started again.
    pub restarts: u32,
    /// How it ended last.
    pub exit: Option<String>,
}

/// Looks at a lab.
///
/// # Errors
/// There is no such lab, or its files are damaged.
pub fn status(lab: &LabName) -> Result<LabStatus, LabError> {
    let paths = LabPaths::new(lab);
    let state = LabState::read(&paths)?;
    let supervisor = SupervisorState::read(&paths)?.unwrap_or_default();
    let alive = process_is_alive(supervisor.pid) && supervisor.pid != 0;
    let specs = processes(&state.plan, &paths, &state.bin_dir);
    let specs = if state.daemons { specs } else { Vec::new() };
    let processes = specs
        .iter()
        .map(|spec| {
            process(
                &spec.place,
                spec.role,
                supervisor.find(&spec.place, spec.role),
                alive,
            )
        })
        .collect();
    Ok(LabStatus {
        lab: lab.clone(),
        created: state.created,
        supervisor: alive.then_some(supervisor.pid),
        nodes: state.plan.nodes,
        workloads: state.plan.workloads,
        processes,
    })
}

fn process(place: &str, role: Role, known: Option<&Supervised>, supervised: bool) -> ProcessStatus {
    let pid = known
        .and_then(|process| process.pid)
        .filter(|pid| process_is_alive(*pid));
    let state = match known {
        _ if pid.is_some() => "running",
        Some(process) if process.held => "held",
        Some(_) if supervised => "waiting",
        Some(_) | None => "down",
    };
    ProcessStatus {
        place: place.to_owned(),
        role,
        state,
        pid,
        started: known.map_or(0, |process| process.started),
        restarts: known.map_or(0, |process| process.restarts),
        exit: known.and_then(|process| process.exit.clone()),
    }
}
