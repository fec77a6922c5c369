//! Every bad token, every bad proof and every bad key set that rows 21 to 34 and 56 to 60 of the SPIFFE checklist name, against the
//! verifier; tokens are made on the spot, by the book except for the one thing a test is about.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot make its token has failed"
)]

mod bundles;
mod claims;
mod headers;
mod keys;
mod maker;
mod revocations;
mod wit_proofs;
mod wit_svids;
