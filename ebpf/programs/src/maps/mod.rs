//! The maps, by what they are about. Each is pinned under its name; the loader sets the sizes.
//!
//! What is read is copied out at once, so that no reference outlives the look-up.

mod auth;
mod conntrack;
mod events;
mod identity;
mod node;
mod policy;

pub use auth::{AUTH, LEASE_ENDS, LEASES, SIGNALLED};
pub use conntrack::{CT4, CT6, FRAGMENTS};
pub use events::{FLOWS, METRICS, SIGNALS};
pub use identity::{ENDPOINTS, IPCACHE};
pub use node::{CONFIG, NODES};
pub use policy::POLICY;
