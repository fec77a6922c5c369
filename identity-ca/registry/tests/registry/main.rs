//! The registry's promises, on a real SQLite database.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test whose set-up fails has failed"
)]

mod desk;
mod identities;
mod nodes;
mod storage;
mod sync;
mod tokens;
