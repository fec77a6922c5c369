//! The registry's promises, those of the SQLite suite and some more, on a real PostgreSQL.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test whose set-up fails has failed"
)]

#[path = "../registry/authorities.rs"]
mod authorities;
#[path = "../registry/authority_requests.rs"]
mod authority_requests;
mod backend;
#[path = "../registry/below.rs"]
mod below;
#[path = "../registry/desk.rs"]
mod desk;
#[path = "../registry/federation.rs"]
mod federation;
#[path = "../registry/identities.rs"]
mod identities;
#[path = "../registry/live.rs"]
mod live;
#[path = "../registry/log.rs"]
mod log;
#[path = "../registry/nodes.rs"]
mod nodes;
#[path = "../registry/revocations.rs"]
mod revocations;
mod schema;
#[path = "../registry/sealed.rs"]
mod sealed;
#[path = "../registry/standing.rs"]
mod standing;
#[path = "../registry/sync.rs"]
mod sync;
#[path = "../registry/terms.rs"]
mod terms;
#[path = "../registry/tokens.rs"]
mod tokens;
mod writers;
