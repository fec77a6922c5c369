//! The SPIFFE CA daemon, as a library: `main` parses arguments and waits for signals, tests run it in process.
//!
//! [`Server::start`] opens the storage and serves [`NodeService`](signet_proto::ca::v1) over mutual TLS and
//! `OperatorService` on a Unix socket. A call's way: `listener` (bounds, handshake) → `caller` (who is it) → one file per
//! call → `signet-registry` and `signet-authority`.

mod attestation;
mod audit;
mod authorities;
mod bundle_endpoint;
mod ca;
mod caller;
mod clock;
mod config;
mod connected;
mod database;
mod federation;
mod fitness;
#[cfg(test)]
mod fuzz;
mod health;
mod hex;
mod issue;
mod issue_jwt;
mod issue_token;
mod issue_wit;
mod join_token;
mod keys;
mod known;
mod limits;
mod listener;
mod log;
mod log_service;
mod metrics;
mod nested;
mod node_service;
mod operator_service;
mod operators;
mod outage;
mod own_svid;
mod per_address;
mod probe;
mod random;
mod refusal;
mod registrations;
mod revoke;
mod server;
mod stream;
mod sync;
#[cfg(test)]
mod testing;
mod watch;
mod wire;

pub use attestation::{AttestationConfig, NameRule, TpmDevid, X509Pop};
pub use audit::AuditLog;
pub use authorities::{DiskUpstream, Rotation, RotationError, Upstream};
pub use bundle_endpoint::{BundleEndpoint, EndpointIdentity, IssuerError, JwtIssuer};
pub use clock::Clock;
pub use config::{
    Config, MAX_JWT_SVID_TTL, MAX_NODE_SVID_TTL, MAX_SVID_TTL, MIN_SVID_TTL, ROOT_LIFE, Storage,
};
pub use database::{Database, DatabaseError};
pub use keys::{KekSource, KeyManagerName, KeyOptions, Rewrap};
pub use nested::SignetUpstream;
pub use operators::{Access, Operations, Principals};
pub use outage::TargetError;
pub use server::Server;
