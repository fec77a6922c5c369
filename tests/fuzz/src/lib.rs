//! Feeds parsers with mutated valid inputs.
//!
//! An engine of our own rather than one from a registry: coverage-guided fuzzers need a nightly compiler, property tests make inputs
//! from types and so never the almost valid bytes that an attacker sends. What is left is short: mutations that are known to find
//! faults, a generator of numbers with a fixed seed, a pool of what was accepted so far or refused for a new reason, and two bounds.
//!
//! In `make test` each target runs a fixed number of inputs, the same each time. `xtask fuzz --for 10m` goes on for as long as it is told,
//! with other seeds. An input that broke something is written to `fuzz-corpus/<target>/` in its crate's folder; what is committed
//! there is tried first ever after. With `--keep` one input for each reason for which something was refused is written there, too
//! (`refused-…`), and a few that were accepted and look like nothing before (`accepted-…`): they must be so ever after.
//!
//! ```
//! #[global_allocator]
//! static MEMORY: signet_fuzz::Counting = signet_fuzz::Counting;
//!
//! signet_fuzz::Fuzz::new(env!("CARGO_MANIFEST_DIR"), "number")
//!     .seed("42")
//!     .run(|bytes| {
//!         let number = str::from_utf8(bytes)?.parse::<u64>()?;
//!         assert_eq!(number.to_string().parse(), Ok(number), "it means the same when written again");
//!         Ok::<_, signet_fuzz::Refused>(())
//!     });
//! ```

mod corpus;
mod engine;
mod interest;
mod memory;
mod mutation;
mod verdict;
mod watchdog;

pub use engine::Fuzz;
pub use memory::Counting;
pub use verdict::{Refused, Verdict};
