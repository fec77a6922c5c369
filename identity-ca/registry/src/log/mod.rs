//! The issuance log's storage: what happened is in it before anyone learns of the outcome.

mod ahead;
mod append;
mod read;
mod writer;

pub(crate) use ahead::last_token;
pub(crate) use append::append;
pub use read::{StoredCheckpoint, StoredLeaf};
pub use writer::{AppendError, Coming, LogWriter, MAX_WAITING};
