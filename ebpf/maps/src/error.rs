//! What can go wrong with a pinned map.

use std::io;
use std::path::PathBuf;

/// A pinned map could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// Nothing is pinned there.
    #[error("{map} is not pinned at {path}: start signet-meshd on this node, or pass its --bpffs")]
    Missing {
        /// The map's name.
        map: &'static str,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Something is pinned there that is not this version's map.
    #[error("{map} at {path} is not a map of this version: restart signet-meshd with the same release")]
    Layout {
        /// The map's name.
        map: &'static str,
        /// Where it was found.
        path: PathBuf,
        /// What aya saw.
        #[source]
        source: aya::maps::MapError,
    },
    /// The map has no room for another entry. Nothing was written.
    #[error(
        "{map} is full at {capacity} entries: give signet-meshd a larger --map-{}",
        option(map)
    )]
    Full {
        /// The map's name.
        map: &'static str,
        /// Entries it can hold.
        capacity: u32,
    },
    /// The kernel refused.
    #[error("the kernel refused to {action} {map}")]
    Kernel {
        /// The map's name.
        map: &'static str,
        /// What was being done.
        action: &'static str,
        /// What aya saw.
        #[source]
        source: aya::maps::MapError,
    },
    /// A ring buffer's descriptor could not be waited for.
    #[error("failed to wait for records of {map}")]
    Wait {
        /// The map's name.
        map: &'static str,
        /// What the runtime said.
        #[source]
        source: io::Error,
    },
}

/// What of signet-meshd's options sets the size of the map.
fn option(map: &str) -> String {
    match map {
        signet_abi::maps::LEASE_ENDS => "nodes".to_owned(),
        signet_abi::maps::FRAGMENTS => "connections".to_owned(),
        map => map.to_lowercase(),
    }
}

impl MapError {
    /// Whether the map is merely not there yet, so that trying again later makes sense.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }

    /// Whether the map has no room.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}

/// The errno under an aya error, where there is one.
pub(crate) fn errno(error: &aya::maps::MapError) -> Option<i32> {
    if let aya::maps::MapError::SyscallError(syscall) = error {
        syscall.io_error.raw_os_error()
    } else {
        None
    }
}

/// Sorts a failed write: a full hash says `E2BIG`, a full trie `ENOSPC` (kernel/bpf/hashtab.c, `lpm_trie.c`).
pub(crate) fn write_error(map: &'static str, capacity: u32, source: aya::maps::MapError) -> MapError {
    let full = [rustix::io::Errno::TOOBIG, rustix::io::Errno::NOSPC].map(rustix::io::Errno::raw_os_error);
    match errno(&source) {
        Some(number) if full.contains(&number) => MapError::Full { map, capacity },
        Some(_) | None => MapError::Kernel {
            map,
            action: "write",
            source,
        },
    }
}
