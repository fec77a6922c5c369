use std::path::{Path, PathBuf};

use crate::Missing;
use crate::toolbox::{may_skip, starts};

/// Envoy's command line up to its configuration, or nothing where Envoy is missing and `SIGNET_ALLOW_SKIP=1` says that this
/// may be; the skip is counted, and `test` (its name as libtest prints it) is to return.
///
/// # Errors
/// Envoy is missing.
pub fn envoy_or_skip(test: &str) -> Result<Option<Vec<String>>, Missing> {
    let missing = Missing::Tool { tool: "Envoy" };
    let program = cache().map(|cache| cache.join("envoy/envoy").display().to_string());
    match program.filter(|program| starts(program, "--version")) {
        // Several run on one machine: none takes over another's sockets and memory.
        Some(program) => {
            let options = [
                "--disable-hot-restart",
                "--concurrency",
                "2",
                "--log-level",
                "warning",
            ];
            let options = options.map(str::to_owned);
            Ok(Some([vec![program], options.to_vec()].concat()))
        }
        None if may_skip() => {
            signet_skip::skip(test, &missing.to_string());
            Ok(None)
        }
        None => Err(missing),
    }
}

/// A configuration of docs/examples/envoy, with each of these texts replaced by the other.
///
/// # Errors
/// It cannot be read, or has no such text.
pub fn envoy_example(file: &str, changes: &[(&str, &str)]) -> anyhow::Result<String> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples/envoy");
    let mut text = std::fs::read_to_string(examples.join(file))?;
    for (from, to) in changes {
        anyhow::ensure!(text.contains(from), "{file} has no {from}");
        text = text.replace(from, to);
    }
    Ok(text)
}

/// Where `make setup` keeps what it fetches.
fn cache() -> Option<PathBuf> {
    if let Some(cache) = std::env::var_os("SIGNET_CACHE") {
        return Some(cache.into());
    }
    let base = match std::env::var_os("XDG_CACHE_HOME") {
        Some(base) => PathBuf::from(base),
        None => PathBuf::from(std::env::var_os("HOME")?).join(".cache"),
    };
    Some(base.join("signet"))
}
