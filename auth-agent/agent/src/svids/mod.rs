//! Workload keys and SVIDs: made on this node, for the registrations of this node, in memory; for the next life sealed (`custody`).

mod issue;
mod manager;
mod offers;
mod set;
mod table;

pub use issue::{IssueError, Issuer, WorkloadSvid};
pub use manager::Manager;
pub use offers::WorkloadSource;
pub use set::{Entry, SvidSet};
