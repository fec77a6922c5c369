//! What can go wrong with a lab that is being made, used or removed.

use std::io;
use std::path::PathBuf;

use crate::control::Role;
use crate::name::{LabName, NameError};
use crate::spec::SpecError;

/// Why something about a lab failed.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The file is wrong.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The name is wrong.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Not root.
    #[error("a lab is made of network namespaces and kernel programs: run this as root")]
    NotRoot,
    /// There is such a lab already.
    #[error("lab `{0}` is up already; `signet lab down {0}` removes it")]
    Exists(LabName),
    /// There is no such lab.
    #[error("no lab `{0}` is up; `signet lab list` shows those that are, `signet lab up FILE` makes one")]
    Unknown(LabName),
    /// No node or workload has this name.
    #[error("lab `{lab}` has no `{place}`; it has {known}")]
    NoPlace {
        /// The lab.
        lab: LabName,
        /// What was asked for.
        place: String,
        /// What there is.
        known: String,
    },
    /// Another process holds the lab's lock.
    #[error("lab `{lab}` is being changed by process {holder}; wait for it, or end it")]
    Locked {
        /// The lab.
        lab: LabName,
        /// Its process id, as far as known.
        holder: String,
    },
    /// A daemon's binary is missing.
    #[error("`{binary}` is not in {}: build it (`cargo build --bins`), or name the folder with --bin-dir", dir.display())]
    NoBinary {
        /// The binary.
        binary: &'static str,
        /// Where it was looked for.
        dir: PathBuf,
    },
    /// A command of the system failed.
    #[error("`{command}` failed: {output}")]
    Command {
        /// The command line.
        command: String,
        /// What it wrote to standard error, or why it could not be started.
        output: String,
    },
    /// A file, folder or system call.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A file of the lab does not parse.
    #[error("{} is damaged ({what}); `signet lab down` removes the lab all the same", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        what: String,
    },
    /// Not ready in time.
    #[error("the lab did not get ready within {seconds} s: {waiting_for}{log}")]
    NotReady {
        /// The deadline.
        seconds: u64,
        /// What was still missing.
        waiting_for: String,
        /// The end of the log of the process in question, with a heading; may be empty.
        log: String,
    },
    /// A process of the lab ends again and again.
    #[error("{process} keeps ending ({exit}){log}")]
    CrashLoop {
        /// Which.
        process: String,
        /// How it ended last.
        exit: String,
        /// The end of its log, with a heading.
        log: String,
    },
    /// A daemon refused a call.
    #[error("{what} was refused: {message}")]
    Refused {
        /// The call.
        what: String,
        /// The daemon's words.
        message: String,
    },
    /// A daemon cannot be reached.
    #[error("cannot reach {what}: {message}")]
    Unreachable {
        /// The daemon and its socket.
        what: String,
        /// Why.
        message: String,
    },
    /// No such process is supervised.
    #[error("there is no {role} at `{place}`")]
    NoProcess {
        /// The place.
        place: String,
        /// The role.
        role: Role,
    },
    /// Something of the lab could not be removed.
    #[error("lab `{lab}` is not wholly removed: {left}")]
    Left {
        /// The lab.
        lab: LabName,
        /// What is left, and why.
        left: String,
    },
}

impl LabError {
    /// Shorthand for [`LabError::Io`].
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
