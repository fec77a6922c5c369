//! The lab's own init: starts the daemons and workloads, keeps logs, restarts what ends.

mod backoff;
mod role;
mod state;
mod supervise;
mod token;

pub use role::{Role, RoleError};
pub use state::{Supervised, SupervisorState};
pub use supervise::supervise;

pub(crate) use state::process_is_alive;
pub(crate) use supervise::{is_supervisor, start as start_supervisor};
