//! Proofs ahead of traffic: what signet-meshd says is worth one. `pairs/` makes them.

mod report;
mod source;

pub use report::{AheadReport, Mode};
pub use source::{parse, watch};
