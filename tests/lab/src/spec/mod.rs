//! The lab file: what a user writes.

mod error;
mod file;
mod schema;

pub use error::SpecError;
pub use file::{Encryption, LabFile, NodeFile, ServeFile, WorkloadFile};
pub use schema::json_schema;
