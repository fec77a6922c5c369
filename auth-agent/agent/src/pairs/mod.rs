//! Pairs: which are proven, in flight or failing.

mod actor;
mod failure;
mod handle;
mod local;
mod report;
mod resolve;
mod table;

pub use actor::Actor;
pub use failure::ProveError;
pub(crate) use failure::chain;
pub use handle::{Event, Pairs};
pub use report::PairReport;
pub(crate) use report::to_unix;
pub use resolve::{Knowledge, Resolved, Target};
pub use table::{Bounds, Decision, Made, Refusal, Table};
