//! What a command can fail with, and the exit code for it. All commands keep to one table; it stands in `signet --help`
//! (`args.rs`) and docs/reference/cli.md.

use std::path::PathBuf;

use signet_lab::LabError;

/// Done, and the answer is yes: allowed, proven, verified, good.
pub(crate) const DONE: u8 = 0;
/// The answer is no: refused, not there, a problem found, or failed.
pub(crate) const FAILED: u8 = 1;
/// The command line, or a file or text that it names, is not one that can be carried out, whatever is running.
pub(crate) const USAGE: u8 = 2;
/// A daemon cannot be reached; what others said was shown.
pub(crate) const UNREACHABLE: u8 = 3;
/// `explain` only: waiting for a proof, or unknown.
pub(crate) const UNDECIDED: u8 = 4;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Tried and failed, or refused by a daemon.
    #[error("{0}")]
    Failed(String),
    /// The command line asks for something that cannot be.
    #[error("{0}")]
    Usage(String),
    /// A daemon does not answer.
    #[error("cannot reach {daemon} at {}: {why}\n{hint}", socket.display())]
    Unreachable {
        /// The daemon's name.
        daemon: &'static str,
        /// Its socket.
        socket: PathBuf,
        /// What happened.
        why: String,
        /// What to do.
        hint: String,
    },
    /// About a lab.
    #[error(transparent)]
    Lab(#[from] LabError),
}

impl Failure {
    /// The exit code for it.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) => FAILED,
            Self::Usage(_) => USAGE,
            Self::Unreachable { .. } => UNREACHABLE,
            Self::Lab(error) => match error {
                LabError::Spec(_) | LabError::Name(_) => USAGE,
                LabError::Unreachable { .. } => UNREACHABLE,
                LabError::NotRoot
                | LabError::Exists(_)
                | LabError::NoPlace { .. }
                | LabError::NoProcess { .. }
                | LabError::Unknown(_)
                | LabError::Locked { .. }
                | LabError::NoBinary { .. }
                | LabError::Command { .. }
                | LabError::Io { .. }
                | LabError::State { .. }
                | LabError::NotReady { .. }
                | LabError::CrashLoop { .. }
                | LabError::Refused { .. }
                | LabError::Left { .. } => FAILED,
            },
        }
    }
}
