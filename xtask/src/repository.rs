//! Where things are: the checkout, the cache, what cargo built.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use serde::Deserialize;

/// The checkout's root.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_owned()
}

/// Where `make setup` keeps what it downloads: `$SIGNET_CACHE`, or `signet` in the user's cache directory.
pub(crate) fn cache() -> anyhow::Result<PathBuf> {
    if let Some(cache) = std::env::var_os("SIGNET_CACHE") {
        return Ok(cache.into());
    }
    let base = match std::env::var_os("XDG_CACHE_HOME") {
        Some(base) => PathBuf::from(base),
        None => PathBuf::from(std::env::var_os("HOME").context("HOME is not set; set SIGNET_CACHE")?)
            .join(".cache"),
    };
    Ok(base.join("signet"))
}

/// cargo, in the checkout's root.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// One executable that cargo built.
pub(crate) struct Executable {
    /// Package it belongs to.
    pub(crate) package: String,
    /// Name of the cargo target: the binary's, the test's, or the library's for unit tests.
    pub(crate) target: String,
    /// Cargo's word for the target: `bin`, `test`, `bench`, `lib`, ...
    pub(crate) kind: String,
    /// Whether it is a test harness.
    pub(crate) test: bool,
    /// Where it lies.
    pub(crate) path: PathBuf,
}

/// Builds the whole workspace the way `cargo test --workspace` does, so that nothing is compiled twice, and lists
/// what can be run.
pub(crate) fn build() -> anyhow::Result<Vec<Executable>> {
    compile(&["--workspace", "--all-targets"])
}

/// Builds the benches in release mode, with the programs that they start, and finds one of them. All at once, as `make bench` does: with
/// other crates cargo would choose other features of the libraries, and build them again.
pub(crate) fn bench(package: &str, target: &str) -> anyhow::Result<PathBuf> {
    let built = compile(&["--workspace", "--bins", "--bench", "*", "--release"])?;
    let bench = built.into_iter().find(|executable| {
        executable.kind == "bench" && executable.package == package && executable.target == target
    });
    Ok(bench
        .with_context(|| format!("{package} has no bench {target}"))?
        .path)
}

fn compile(what: &[&str]) -> anyhow::Result<Vec<Executable>> {
    let output = cargo()
        .arg("build")
        .args(what)
        .args(["--quiet", "--message-format=json-render-diagnostics"])
        .stderr(Stdio::inherit())
        .output()
        .context("cargo could not be started")?;
    if !output.status.success() {
        bail!("the workspace does not build");
    }
    let text = String::from_utf8(output.stdout).context("cargo printed something that is not UTF-8")?;
    Ok(text.lines().filter_map(executable).collect())
}

#[derive(Deserialize)]
struct Artifact {
    manifest_path: PathBuf,
    target: Target,
    profile: Profile,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// Reads one line of cargo's JSON; lines about other things are nothing to us.
fn executable(line: &str) -> Option<Executable> {
    let artifact: Artifact = serde_json::from_str(line).ok()?;
    let manifest = std::fs::read_to_string(&artifact.manifest_path).ok()?;
    let package = manifest
        .lines()
        .find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))?;
    Some(Executable {
        package: package.to_owned(),
        target: artifact.target.name,
        kind: artifact.target.kind.into_iter().next()?,
        test: artifact.profile.test,
        path: artifact.executable?,
    })
}
