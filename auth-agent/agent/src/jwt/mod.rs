//! JWT-SVIDs for workloads: asked of the CA when a workload asks, kept while they live.
//!
//! `cache` decides, without clock or network: who is served from what is there, who waits, who goes and asks.
//! `keeper` asks, verifies what it gets, and forgets what the view takes away.

mod cache;
mod issue;
mod keeper;

pub use keeper::JwtSvids;
