use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{go, python};

/// Whose library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Crates `spiffe` and `spiffe-rustls`.
    Rust,
    /// Packages `spiffe` and `spiffe-tls`.
    Python,
    /// Module `github.com/spiffe/go-spiffe/v2`.
    Go,
}

impl Language {
    /// All.
    pub const ALL: [Self; 3] = [Self::Rust, Self::Python, Self::Go];
}

/// Why a client cannot be made ready.
#[derive(Debug, thiserror::Error)]
pub enum Missing {
    /// A tool is not on this machine.
    #[error("{tool} is missing; `make setup` installs it")]
    Tool {
        /// Which.
        tool: &'static str,
    },
    /// A tool failed.
    #[error("`{command}` failed: {output}")]
    Command {
        /// What was run.
        command: String,
        /// What it said.
        output: String,
    },
    /// Files could not be written.
    #[error("failed to prepare a client under {path}")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Makes client programs ready and starts them. What is made is kept in a folder and used again.
#[derive(Clone, Debug)]
pub struct Toolbox {
    rust: PathBuf,
    cache: PathBuf,
}

impl Toolbox {
    /// With the built `interop-rust`, and the folder where the others are made.
    pub fn new(rust: &Path, cache: &Path) -> Self {
        Self {
            rust: rust.to_owned(),
            cache: cache.to_owned(),
        }
    }

    /// The command line of a client. Takes a while the first time: fetches packages, compiles.
    ///
    /// # Errors
    /// See [`Missing`].
    pub fn prepare(&self, language: Language) -> Result<Vec<String>, Missing> {
        let program = match language {
            Language::Rust => return Ok(vec![self.rust.display().to_string()]),
            Language::Python => return python::prepare(&self.cache),
            Language::Go => go::prepare(&self.cache)?,
        };
        Ok(vec![program.display().to_string()])
    }
}

impl Toolbox {
    /// [`prepare`](Self::prepare)s for `test` (its name as libtest prints it). `None`: a tool is missing, and
    /// `SIGNET_ALLOW_SKIP=1` says that this may be; the skip is counted, and the test is to return.
    ///
    /// # Errors
    /// See [`Missing`].
    pub fn prepare_or_skip(&self, language: Language, test: &str) -> Result<Option<Vec<String>>, Missing> {
        match self.prepare(language) {
            Ok(command) => Ok(Some(command)),
            Err(missing @ Missing::Tool { .. }) if may_skip() => {
                signet_skip::skip(test, &missing.to_string());
                Ok(None)
            }
            Err(missing) => Err(missing),
        }
    }
}

/// Whether a test may do without a tool.
pub(crate) fn may_skip() -> bool {
    std::env::var_os("SIGNET_ALLOW_SKIP").is_some_and(|value| value == "1")
}

/// Where the clients' sources are.
pub(crate) fn sources(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)
}

pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Missing {
    let path = path.to_owned();
    move |source| Missing::Io { path, source }
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Result<(), Missing> {
    let shown = format!("{command:?}");
    let failed = |output| Missing::Command {
        command: shown,
        output,
    };
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            Err(failed(String::from_utf8_lossy(&text).trim().to_owned()))
        }
        Err(error) => Err(failed(error.to_string())),
    }
}

/// Whether a program starts.
pub(crate) fn starts(program: &str, argument: &str) -> bool {
    let output = Command::new(program).arg(argument).output();
    output.is_ok_and(|output| output.status.success())
}
