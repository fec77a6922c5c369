//! Figures of benches: printed, and handed to whoever collects them.
//!
//! A bench prints a line per figure. Where `SIGNET_BENCH_FIGURES` names a file, each is appended to it as a line of JSON as well:
//! `xtask bench` collects them from all benches, and says of each whether its aim was met.

#![expect(clippy::print_stdout, reason = "the result of a bench is its output")]

mod figure;
mod process;
mod scale;

pub use figure::{Aim, Figure, Figures, SINK};
pub use process::{Usage, own_cpu};
pub use scale::{Scale, run};
