//! What the agent keeps for its next life: its view, and workloads' SVIDs with their keys, so that an agent that is restarted while no CA
//! can be reached goes on with what is still valid.
//!
//! On the disk lies ciphertext alone. What it is sealed under is in the kernel's keyring, in memory that is never swapped: a process that
//! dies leaves it, a reboot does not, and neither does the next write, which takes a new key.

mod content;
mod file;
mod keep;
mod keyring;
mod report;
mod restore;
mod writer;

pub use file::{SealedFile, Unsealable};
pub use keep::{Custody, Keep};
pub use keyring::{KernelKeys, Keys, KeysError, SealingKey};
pub use report::{Report, State};
pub use restore::{Refused, Restored, RestoredSvid};
pub use writer::Writer;
