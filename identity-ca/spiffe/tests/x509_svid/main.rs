//! Every bad certificate that rows 7 to 20 of the SPIFFE checklist name, against the verifier; certificates are made on
//! the spot, by the book except for the one thing a test is about.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot make its certificate has failed"
)]

mod bundles;
mod jwks;
mod known_answers;
mod leaves;
mod maker;
mod paths;
mod revocations;
