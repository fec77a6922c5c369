//! What can go wrong between user space and the kernel.

use std::io;
use std::path::PathBuf;

use aya::EbpfError;
use aya::programs::ProgramError;

use crate::hook::Hook;

/// The datapath could not be set up, changed or read.
#[derive(Debug, thiserror::Error)]
pub enum DatapathError {
    /// The pin directory is not usable.
    #[error(
        "failed to {action} {path}: it has to be a directory on a bpf file system (mount -t bpf bpf /sys/fs/bpf)"
    )]
    PinDirectory {
        /// What was being done.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Not enough rights.
    #[error("loading kernel programs needs root, or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON")]
    NotPermitted {
        /// What the kernel said.
        #[source]
        source: Box<EbpfError>,
    },
    /// The maps or the object as a whole were refused.
    #[error("the kernel refused the maps")]
    Load {
        /// What aya or the kernel said.
        #[source]
        source: Box<EbpfError>,
    },
    /// A program was refused.
    #[error("the kernel refused the program {hook}: kernels from 5.15 on are known to take it")]
    Program {
        /// Which.
        hook: Hook,
        /// What the verifier said.
        #[source]
        source: Box<ProgramError>,
    },
    /// The object lacks a program: it was built from another version.
    #[error("the embedded object has no program {hook}: rebuild signet-meshd")]
    NoProgram {
        /// Which.
        hook: Hook,
    },
    /// There is no such interface.
    #[error("there is no network interface {name}")]
    NoInterface {
        /// Its name.
        name: String,
    },
    /// Interfaces could not be looked up.
    #[error("failed to look up network interfaces")]
    Interfaces {
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A program could not be attached.
    #[error("failed to attach {hook} to {interface}")]
    Attach {
        /// Which program.
        hook: Hook,
        /// Where.
        interface: String,
        /// What the kernel said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A program could not be detached.
    #[error("failed to detach {hook} from interface {index}")]
    Detach {
        /// Which program.
        hook: Hook,
        /// Where.
        index: u32,
        /// What the kernel said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A program could not be run on a packet of our own making.
    #[error("failed to run {hook} on a test packet")]
    TestRun {
        /// Which program.
        hook: Hook,
        /// What the kernel said.
        #[source]
        source: Box<ProgramError>,
    },
}
