//! Looks at one file, without a daemon.

use std::path::Path;

use crate::error::Errors;
use crate::files::read;
use crate::set::Set;

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Its workloads and policies.
    pub set: Set,
}

/// Checks one file as signet-meshd would; says everything that is wrong with it.
pub fn check_file(path: &Path) -> Result<Checked, Errors> {
    let text = read(path)?;
    let name = path.display().to_string();
    Set::parse([(name.as_str(), text.as_str())]).map(|set| Checked { set })
}
