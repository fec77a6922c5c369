//! End-to-end tests in the lab: what they share.
//!
//! A suite is one lab and a list of cases that run on it one after the other. It looks like `cargo test` from outside
//! (names, filters, `--list`, result lines), and runs the same on this machine and in the VM.

mod ask;
mod stage;
mod suite;
mod transfer;
mod watch;

pub use ask::{Answer, Ask, Family};
pub use signet_lab::traffic::Transport;
pub use stage::Stage;
pub use suite::{Case, run};
pub use transfer::Running;
pub use watch::KernelWatch;
