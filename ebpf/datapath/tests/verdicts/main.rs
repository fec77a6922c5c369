//! Every row of the programs' verdicts, through `BPF_PROG_TEST_RUN`. Needs root.
//!
//! The kernel runs the program as if the packet were seen at the interface whose index the context carries; it has to
//! exist, so the loopback device plays the workload's veth.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests: what fails here is the test"
)]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "words that later rows will need")]
mod support;

mod proofs;
mod rules;
