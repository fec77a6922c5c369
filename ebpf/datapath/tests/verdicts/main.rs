//! Every row of the programs' verdicts, through `BPF_PROG_TEST_RUN`. Needs root.
//!
//! The kernel runs the program as if the packet were seen at the interface whose index the context carries; it has to
//! exist, so the loopback device plays the workload's veth.

#[path = "../support/mod.rs"]
mod support;

mod rules;
