//! Checkpoints (<https://c2sp.org/tlog-checkpoint>): the log's name, its size and its root.

use crate::hash::Hash;
use crate::note::NoteError;

/// A tree head. One that came from outside was opened with [`crate::VerifierKey::open`], which checks its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Hash,
}

/// Why a checkpoint was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The note around it.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Not origin, size and root.
    #[error("the note is no checkpoint: a name, a size and a hash, one line each")]
    Malformed,
    /// Of another log.
    #[error("the checkpoint is of another log than the key")]
    Origin,
    /// The key did not sign.
    #[error("the checkpoint could not be signed")]
    Sign,
}

impl Checkpoint {
    pub(crate) fn new(origin: &str, size: u64, root: Hash) -> Self {
        Self {
            origin: origin.to_owned(),
            size,
            root,
        }
    }

    /// The log's name.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Entries in the log.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The hash of the tree.
    pub fn root(&self) -> Hash {
        self.root
    }

    pub(crate) fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, self.root.to_base64())
    }

    /// Lines after the third are extensions, which say nothing to us.
    pub(crate) fn parse(text: &str) -> Result<Self, CheckpointError> {
        let lines = text.strip_suffix('\n').ok_or(CheckpointError::Malformed)?;
        if lines.split('\n').any(str::is_empty) {
            return Err(CheckpointError::Malformed);
        }
        let mut lines = lines.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(CheckpointError::Malformed);
        };
        let number: u64 = size.parse().map_err(|_| CheckpointError::Malformed)?;
        // No sign, no leading zero: a size has one spelling.
        if number.to_string() != size {
            return Err(CheckpointError::Malformed);
        }
        let root = Hash::from_base64(root).ok_or(CheckpointError::Malformed)?;
        Ok(Self::new(origin, number, root))
    }
}
