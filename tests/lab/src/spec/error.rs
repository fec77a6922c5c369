//! What can be wrong with a lab file.

use std::io;

use crate::name::NameError;

/// Why a lab file was refused.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// The file cannot be read.
    #[error("cannot read {file}: {source}")]
    Read {
        /// The file.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// Not YAML, or not the schema's.
    #[error("{file}:{line}:{column}: {what}")]
    Syntax {
        /// The file.
        file: String,
        /// From 1.
        line: u64,
        /// From 1.
        column: u64,
        /// What the parser says.
        what: String,
    },
    /// Well-formed, but it makes no sense.
    #[error("{file}:{line}: {field}: {what}")]
    Field {
        /// The file.
        file: String,
        /// From 1; 0: the field has no line of its own.
        line: u64,
        /// Path of the field.
        field: String,
        /// What is wrong, and what would be right.
        what: String,
    },
    /// A lab name given from outside the file.
    #[error(transparent)]
    Name(#[from] NameError),
}
