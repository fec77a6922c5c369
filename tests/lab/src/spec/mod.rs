//! The lab file: what a user writes.

mod error;
mod file;
mod places;
mod schema;

pub use error::SpecError;
pub(crate) use error::place;
pub use file::{Encryption, LabFile, NodeFile, Preauth, ServeFile, WorkloadFile};
pub use schema::json_schema;
