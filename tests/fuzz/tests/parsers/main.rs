//! Every parser of what comes from others, under mutated input.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot make its inputs has failed"
)]

mod attestation;
mod identity;
mod mesh;
mod sessions;
mod support;

use signet_fuzz::{Counting, Fuzz};

#[global_allocator]
static MEMORY: Counting = Counting;

fn fuzz(target: &'static str) -> Fuzz {
    Fuzz::new(env!("CARGO_MANIFEST_DIR"), target)
}
