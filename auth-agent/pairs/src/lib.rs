//! Pairs of workloads: what is known of each, and the handshakes that prove them.
//!
//! The [`Table`] has the state of every pair of this node: whether a handshake may begin, when a proof is to be renewed, how
//! long a failure is to be waited out. [`Waiting`] are proofs that lack the other side's lease. [`Room`]
//! says who gives way where the kernel's map is full. [`Flights`] are the pair handshakes inside one node session: messages in, messages and
//! proofs out. Nothing here opens, waits or reads a clock; times and random numbers are arguments.

mod failure;
mod flights;
mod local;
mod room;
mod table;
mod waiting;

pub use failure::{ProveError, chain};
pub use flights::{Answers, Effects, Ends, Flights, Refused};
pub use local::prove_local;
pub use room::{GRACE, Pressure, Room, may_give_way};
pub use table::{Bounds, Decision, Judge, Kind, Made, Moment, Pair, Refusal, Table};
pub use waiting::{Ready, Waiting};
