//! Where workloads and policies come from: a directory of YAML.
//!
//! A [`Source`] yields [`Snapshot`]s: the last good [`Set`] of workloads and policies, and what is wrong now. The
//! [`FileSource`] reads a directory; what it reads has the schema of the later custom resources ([`json_schema`]).
//! A set is taken whole or not at all: one bad document anywhere, and the set before stays in force.

mod at;
mod check;
mod convert;
mod directory;
mod document;
mod error;
mod field;
mod files;
mod policy;
mod schema;
mod set;
mod snapshot;
mod watch;
mod workload;

pub use check::{CheckError, Checked, Input, check};
pub use directory::{Reading, read_directory};
pub use error::{Errors, SourceError};
pub use files::{MAX_FILE_BYTES, MAX_FILES, MAX_TOTAL_BYTES};
pub use schema::{API_VERSION, json_schema};
pub use set::{MAX_POLICIES, MAX_WORKLOADS, Set};
pub use snapshot::{Snapshot, Source};
pub use watch::FileSource;
