//! WIT-SVIDs for workloads, where they are on: their keys are made on this node, in memory only.
//!
//! `table` decides, without clock or network: which identity needs one, and when. `keeper` asks the CA, verifies what it gets, and
//! gives it to the Workload API.

mod issue;
mod keeper;
mod key;
mod table;
#[cfg(test)]
mod testing;

pub use keeper::WitKeeper;
