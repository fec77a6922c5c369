//! Proofs ahead of traffic: what signet-meshd says is worth one. `pairs/` makes them.

mod report;
mod source;
mod used;

pub use report::{AheadReport, Mode};
pub use source::{parse, watch};
pub(crate) use used::Names;
pub use used::{UsedFile, watch_use};
