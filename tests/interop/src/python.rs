use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use crate::Missing;
use crate::toolbox::{io, run, sources, starts};

/// A virtual environment with exactly what requirements.txt names, every file checked by its digest.
pub(crate) fn prepare(cache: &Path) -> Result<Vec<String>, Missing> {
    let sources = sources("python");
    let requirements = sources.join("requirements.txt");
    let wanted = fs::read_to_string(&requirements).map_err(io(&requirements))?;
    fs::create_dir_all(cache).map_err(io(cache))?;

    // Tests run at the same time, in processes of their own; one of them does the work.
    let lock = cache.join("python.lock");
    let lock = File::create(&lock).map_err(io(&lock))?;
    lock.lock().map_err(io(cache))?;
    let venv = cache.join("python");
    // Written last: an environment without it was left unfinished, one with another text is out of date.
    let made_from = venv.join("made-from.txt");
    if fs::read_to_string(&made_from).ok().as_ref() != Some(&wanted) {
        make(&venv, &requirements)?;
        fs::write(&made_from, wanted).map_err(io(&made_from))?;
    }
    let program = [venv.join("bin/python"), sources.join("interop.py")];
    Ok(program.map(|path| path.display().to_string()).to_vec())
}

fn make(venv: &Path, requirements: &Path) -> Result<(), Missing> {
    if !starts("python3", "--version") {
        return Err(Missing::Tool { tool: "python3" });
    }
    if venv.exists() {
        fs::remove_dir_all(venv).map_err(io(venv))?;
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(venv))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    run(Command::new(venv.join("bin/python"))
        .args(pip)
        .args(["--require-hashes", "--only-binary=:all:", "--requirement"])
        .arg(requirements))
}
