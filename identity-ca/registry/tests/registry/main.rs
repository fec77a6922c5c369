//! The registry's promises, on a real SQLite database.

#![expect(clippy::unwrap_used, reason = "a test whose set-up fails has failed")]

mod desk;
mod identities;
mod log;
mod nodes;
mod revocations;
mod storage;
mod sync;
mod tokens;
