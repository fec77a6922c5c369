//! What a lab remembers of itself: the plan, and where its binaries are.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{LabError, LabPaths, Plan};

/// Written by `up`, read by everything else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabState {
    /// What the lab is made of.
    pub plan: Plan,
    /// Where the binaries are.
    pub bin_dir: PathBuf,
    /// Unix seconds of its making.
    pub created: u64,
    /// Whether it has daemons and workloads, or is plain networking.
    pub daemons: bool,
}

impl LabState {
    /// Reads a lab's state.
    ///
    /// # Errors
    /// There is no such lab, or its file is damaged.
    pub fn read(paths: &LabPaths) -> Result<Self, LabError> {
        let path = paths.state();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(LabError::Unknown(paths.lab().clone()));
            }
            Err(error) => return Err(LabError::io("read", path)(error)),
        };
        serde_json::from_str(&text).map_err(|error| LabError::State {
            path,
            what: error.to_string(),
        })
    }

    /// Writes it.
    pub(crate) fn write(&self, paths: &LabPaths) -> Result<(), LabError> {
        let path = paths.state();
        let text = serde_json::to_vec_pretty(self).map_err(|error| LabError::State {
            path: path.clone(),
            what: error.to_string(),
        })?;
        fs::write(&path, text).map_err(LabError::io("write", path))
    }
}
