//! rustls configurations whose verifier is SPIFFE.
//!
//! Pure like rustls itself: no sockets, no files. TLS 1.3 alone, X25519MLKEM768 first, no resumption, no 0-RTT: every
//! handshake checks both certificates anew, against the bundles of that moment.

mod asked;
mod bundles;
mod client;
mod expect;
mod identity;
mod provider;
mod server;
mod signers;
mod verifier;
mod witness;

pub use asked::signer_name;
pub use bundles::{BundleSource, FixedBundles, SharedBundles};
pub use client::{client_config, client_config_before, client_config_for};
pub use expect::{Expect, PeerError, in_words, peer_error};
pub use identity::{Shown, SvidKeyPair, TlsError};
pub use provider::provider;
pub use server::{ClientAuth, server_config, server_config_before, server_config_with};
pub use signers::{FixedSigners, SignerSource};
pub use verifier::peer_svid;
pub use witness::Witness;
