//! Pages of docs/reference that are written by a program, and compared in CI.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

use crate::repository;

/// Writes the page under docs/reference, or with `check` says whether it is what stands there. `task` is the task of xtask that
/// writes it.
pub(crate) fn keep(name: &str, task: &str, page: &str, check: bool) -> anyhow::Result<ExitCode> {
    let path = path(name);
    if !check {
        std::fs::write(&path, page).with_context(|| format!("{} cannot be written", path.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let committed =
        std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    if committed == page {
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "{} is out of date; run `target/debug/xtask {task}`",
        path.display()
    );
    Ok(ExitCode::FAILURE)
}

/// Where a page of docs/reference stands.
pub(crate) fn path(name: &str) -> PathBuf {
    repository::root().join("docs/reference").join(name)
}
