//! Leases: what other nodes say of their addresses, into the kernel; and what this node says of its own.
//!
//! | file | does |
//! | --- | --- |
//! | `facts` | judges claims by the view |
//! | `store` | `LEASES` and `LEASE_ENDS`, or what stands for them in a test |
//! | `handle` | takes what sessions hear, and writes what is believed of it |
//! | `keeper` | goes with the view, the time, and this node's endpoints |
//! | `sight` | whether this node still sees its own endpoints |
//! | `talk` | both sides' part of one session |
//! | `report` | for people |

mod facts;
mod handle;
mod keeper;
mod report;
mod sight;
mod store;
mod talk;

pub use handle::Leases;
pub use keeper::keep;
pub use sight::Sight;
pub use store::{KernelLeases, LeaseStore, LeaseStoreError, MemoryLeases};
pub(crate) use talk::Talk;
