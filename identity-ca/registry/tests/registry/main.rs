//! The registry's promises, on a real SQLite database.

#![expect(clippy::unwrap_used, reason = "a test whose set-up fails has failed")]

mod authorities;
mod authority_requests;
mod backend;
mod below;
mod desk;
mod federation;
mod identities;
mod live;
mod log;
mod nodes;
mod restore;
mod revocations;
mod sealed;
mod standing;
mod storage;
mod sync;
mod terms;
mod tokens;
