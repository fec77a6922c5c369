use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Missing;
use crate::toolbox::{io, run, sources, starts};

/// Where Go is: on the path, or where Debian's backports put it.
const GO: [&str; 2] = ["go", "/usr/lib/go-1.23/bin/go"];

/// Builds the program; modules are checked against go.sum. Go's own cache makes the next time quick.
pub(crate) fn prepare(cache: &Path) -> Result<PathBuf, Missing> {
    let go = GO
        .into_iter()
        .find(|go| starts(go, "version"))
        .ok_or(Missing::Tool { tool: "go" })?;
    fs::create_dir_all(cache).map_err(io(cache))?;
    let program = cache.join("interop-go");
    run(Command::new(go)
        .current_dir(sources("go"))
        .env("CGO_ENABLED", "0")
        .args(["build", "-mod=readonly", "-trimpath", "-o"])
        .arg(&program))?;
    Ok(program)
}
