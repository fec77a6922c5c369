//! Every row of the programs' verdicts, through `BPF_PROG_TEST_RUN`. Needs root.
//!
//! The kernel runs the program as if the packet were seen at the interface whose index the context carries; it has to
//! exist, so the loopback device plays the workload's veth.
//!
//! The programs have no globals. What they take for settings is in the maps, and each row overrides those: `CONFIG`
//! (node number, policy epoch, parking device, ABI version), and the endpoints, addresses, rules, proofs and nodes.
//!
//! One reason has no row: `CtCreateFailed`. The connection tables are LRU maps, in which the kernel always finds room
//! as long as it has memory.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests: what fails here is the test"
)]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "the test on a real wire uses the rest")]
mod support;

mod connections;
mod contested;
mod errors;
mod fragments;
mod hooks;
mod hosts;
mod leases;
mod neighbours;
mod packets;
mod parking;
mod proofs;
mod random;
mod refusals;
mod rules;
