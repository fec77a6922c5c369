//! What the supervisor tells about itself, in a file.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Role;
use crate::{LabError, LabPaths};

/// The supervisor and its processes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupervisorState {
    /// The supervisor's process id.
    pub pid: i32,
    /// Its processes.
    pub processes: Vec<Supervised>,
}

/// One supervised process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supervised {
    /// Node, workload or `ca`.
    pub place: String,
    /// What it is for.
    pub role: Role,
    /// Process id while it runs.
    pub pid: Option<i32>,
    /// Unix seconds of its start.
    pub started: u64,
    /// How often it was started again.
    pub restarts: u32,
    /// How it ended last, or why it could not be started.
    pub exit: Option<String>,
    /// Stopped on purpose.
    pub held: bool,
}

impl SupervisorState {
    /// Reads the file; `None` until the supervisor has written it.
    pub fn read(paths: &LabPaths) -> Result<Option<Self>, LabError> {
        let path = paths.supervisor_state();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(LabError::io("read", path)(error)),
        };
        let state = serde_json::from_str(&text);
        state.map(Some).map_err(|error| LabError::State {
            path,
            what: error.to_string(),
        })
    }

    /// The process for a role at a place.
    pub fn find(&self, place: &str, role: Role) -> Option<&Supervised> {
        self.processes
            .iter()
            .find(|process| process.place == place && process.role == role)
    }
}

/// Whether a process runs; one that has ended and not been waited for does not.
pub(crate) fn process_is_alive(pid: i32) -> bool {
    let Ok(stat) = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")) else {
        return false;
    };
    // proc(5): the state follows the command, which is in parentheses and may hold any character.
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}
