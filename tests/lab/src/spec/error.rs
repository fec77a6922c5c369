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
    #[error("{}: {what}", place(file, *line, *column))]
    Syntax {
        /// The file.
        file: String,
        /// From 1; 0: the parser does not say.
        line: u64,
        /// From 1.
        column: u64,
        /// What the parser says.
        what: String,
    },
    /// Well-formed, but it makes no sense.
    #[error("{}: {field}: {what}", place(file, *line, 0))]
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
    /// Workloads and policies that signet-meshd would refuse, all of them.
    #[error("{}", lines.join("\n"))]
    Documents {
        /// One each: where, which object, what is wrong.
        lines: Vec<String>,
    },
    /// More than one of them.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Several(Vec<Self>),
    /// A lab name given from outside the file.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// As editors and compilers write it; what is not known is left out.
pub(crate) fn place(file: &str, line: u64, column: u64) -> String {
    match (line, column) {
        (0, _) => file.to_owned(),
        (line, 0) => format!("{file}:{line}"),
        (line, column) => format!("{file}:{line}:{column}"),
    }
}
