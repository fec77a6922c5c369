//! Benches of single crates: programs that lie beside them, and print their own tables.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::repository;

/// Runs the bench `target` of a crate. With `built` the newest that lies beside this program, whatever it was built from.
pub(super) fn run(
    package: &str,
    target: &str,
    built: bool,
    environment: &[(&str, &Path)],
) -> anyhow::Result<()> {
    println!("\n{package} {target}");
    let program = if built {
        newest(target)?
    } else {
        repository::bench(package, target)?
    };
    let status = Command::new(&program)
        .current_dir(repository::root())
        .arg("--bench")
        .envs(environment.iter().copied())
        .status()
        .with_context(|| format!("failed to start {}", program.display()))?;
    if !status.success() {
        bail!("the bench {target} of {package} ended with {status}");
    }
    Ok(())
}

/// Cargo puts benches into `deps`, with a hash behind their names.
fn newest(target: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let directory = own.with_file_name("deps");
    let prefix = format!("{target}-");
    let mut found = Vec::new();
    for entry in
        fs::read_dir(&directory).with_context(|| format!("{} cannot be read", directory.display()))?
    {
        let path = entry?.path();
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let hash = name.strip_prefix(&prefix);
        if hash.is_some_and(|hash| hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())) {
            found.push((fs::metadata(&path)?.modified()?, path));
        }
    }
    found.into_iter().max().map(|(_, path)| path).with_context(|| {
        format!(
            "{} has no bench {target}; leave --built away once",
            directory.display()
        )
    })
}
