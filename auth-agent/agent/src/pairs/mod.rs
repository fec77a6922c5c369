//! Pairs: which are proven, in flight or failing. What is decided about them is in `signet-pairs`; here it is done.

mod actor;
mod handle;
mod hosts;
mod how;
mod local;
mod report;
mod resolve;
mod several;

pub use actor::{Actor, Which};
pub use handle::{Event, Pairs};
pub(crate) use hosts::is as is_node;
pub(crate) use how::BUCKETS;
pub use how::{How, Tally};
pub use report::PairReport;
pub(crate) use report::to_unix;
pub use resolve::{Knowledge, Resolved, Target};
pub(crate) use several::Several;
pub(crate) use signet_pairs::chain;
pub use signet_pairs::{Bounds, Decision, Kind, Made, Pair, ProveError, Refusal, Table};
