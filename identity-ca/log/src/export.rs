//! A log as a file: one thing per line, so that it can be written and read without being held in memory.
//!
//! ```text
//! signet-log 1
//! key <name+id+key>
//! checkpoint <base 64 of the note>
//! leaf <base 64>
//! leaf <base 64>
//! ```

use std::fmt;

use data_encoding::BASE64;

use crate::key::VerifierKey;
use crate::leaf::MAX_LEAF_BYTES;
use crate::note::MAX_NOTE_BYTES;

const HEADER: &str = "signet-log 1";

/// Longest line that means anything.
const MAX_LINE_BYTES: usize = MAX_NOTE_BYTES * 4 / 3 + 64;

/// A line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExportLine {
    /// The first.
    Header,
    /// The log's key, as whoever wrote the file had it.
    Key(VerifierKey),
    /// The checkpoint that the file reaches up to, as a note.
    Checkpoint(String),
    /// The next leaf.
    Leaf(Vec<u8>),
}

/// Why a file is no exported log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is not of an exported log, as `signet ca log export` writes it")]
pub struct ExportError {
    /// From 1.
    pub line: u64,
}

/// Reads the file line by line, and checks their order.
#[derive(Debug, Default)]
pub struct ExportReader {
    lines: u64,
}

impl ExportReader {
    /// Bytes that a caller must be ready to hold for a line, its end included; whatever is longer is refused.
    pub const MAX_LINE: usize = MAX_LINE_BYTES + 1;

    /// The next line, without its line feed.
    pub fn line(&mut self, line: &str) -> Result<ExportLine, ExportError> {
        self.lines += 1;
        let read = match self.lines {
            _ if line.len() > MAX_LINE_BYTES => None,
            1 => (line == HEADER).then_some(ExportLine::Header),
            2 => line
                .strip_prefix("key ")
                .and_then(|key| key.parse().ok())
                .map(ExportLine::Key),
            3 => line
                .strip_prefix("checkpoint ")
                .and_then(|note| BASE64.decode(note.as_bytes()).ok())
                .and_then(|note| String::from_utf8(note).ok())
                .map(ExportLine::Checkpoint),
            _ => line
                .strip_prefix("leaf ")
                .and_then(|leaf| BASE64.decode(leaf.as_bytes()).ok())
                .filter(|leaf| leaf.len() <= MAX_LEAF_BYTES)
                .map(ExportLine::Leaf),
        };
        read.ok_or(ExportError { line: self.lines })
    }
}

impl fmt::Display for ExportLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => f.write_str(HEADER),
            Self::Key(key) => write!(f, "key {key}"),
            Self::Checkpoint(note) => write!(f, "checkpoint {}", BASE64.encode(note.as_bytes())),
            Self::Leaf(leaf) => write!(f, "leaf {}", BASE64.encode(leaf)),
        }
    }
}
