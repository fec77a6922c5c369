//! The CA as its clients see it: a real server over loopback TLS and a Unix socket.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test whose set-up fails has failed"
)]

mod attest;
mod attestation;
mod audit;
mod away;
mod bounds;
mod clocks;
mod daemon;
mod deaf;
mod earlier;
mod earlier_schema;
mod ended;
mod faults;
mod federation;
mod issue;
mod jwt;
mod keyless;
mod keys;
mod killed;
mod log;
mod nested;
mod node_svids;
mod one_file;
mod operators;
mod outage;
mod pkcs11;
mod remote_authorities;
mod remote_operators;
mod replicas;
mod restart;
mod restored;
mod restored_postgres;
mod revocation;
mod rewrapped;
mod rotation;
mod rotation_killed;
mod rotation_replicas;
mod running;
mod strangers;
mod sync;
mod terms;
mod upstream;
mod watch;
mod wit;
