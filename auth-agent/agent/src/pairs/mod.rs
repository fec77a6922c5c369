//! Pairs: which are proven, in flight or failing. What is decided about them is in `signet-pairs`; here it is done.

mod actor;
mod handle;
mod local;
mod report;
mod resolve;

pub use actor::Actor;
pub use handle::{Event, Pairs};
pub use report::PairReport;
pub(crate) use report::to_unix;
pub use resolve::{Knowledge, Resolved, Target};
pub(crate) use signet_pairs::chain;
pub use signet_pairs::{Bounds, Decision, Made, ProveError, Refusal, Table};
