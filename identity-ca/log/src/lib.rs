//! The issuance log: an append-only Merkle tree, its leaves, proofs and signed checkpoints.
//!
//! Pure: no clock, no files, no randomness. Hashing is that of RFC 6962 §2.1 (the same in RFC 9162 §2.1), checkpoints are
//! those of <https://c2sp.org/tlog-checkpoint> as notes of <https://c2sp.org/signed-note>, so that other people's tools
//! can read and witness them.
//!
//! Who writes a log keeps a [`Frontier`] and stores what [`Frontier::append`] returns. Who serves it makes a [`Plan`],
//! looks up the few subtree hashes that it names, and puts the proof together. Who checks it needs [`verify_inclusion`]
//! and [`verify_consistency`], or an [`Audit`] for the whole.

mod audit;
mod bytes;
mod change;
mod checkpoint;
mod export;
mod frontier;
mod hash;
mod key;
mod leaf;
mod note;
mod plan;
mod subtree;
mod verify;

pub use audit::{Audit, Audited, Fault};
pub use change::{Change, ChangeKind, registration};
pub use checkpoint::{Checkpoint, CheckpointError};
pub use export::{ExportError, ExportLine, ExportReader};
pub use frontier::{Frontier, FrontierError};
pub use hash::{HASH_BYTES, Hash};
pub use key::{KeyError, LogKey, VerifierKey, origin};
pub use leaf::{Caller, Document, Entry, Issuance, LeafError, MAX_LEAF_BYTES, MAX_SERIAL_BYTES, Record};
pub use note::{MAX_NOTE_BYTES, NoteError};
pub use plan::{Missing, Plan, PlanError};
pub use subtree::Subtree;
pub use verify::{ProofError, verify_consistency, verify_inclusion};
