//! A workload's own SVID, ready for handshakes.

use std::fmt;

use signet_spiffe::{SpiffeId, UnixTime, VerifiedSvid};
use signet_tls::SvidKeyPair;

/// A key pair whose chain was verified against the bundle: a node proves nothing with an SVID that its peers would refuse.
pub struct Credentials {
    svid: VerifiedSvid,
    key_pair: SvidKeyPair,
}

impl Credentials {
    /// `verified` must be the outcome of verifying `key_pair.chain`.
    pub fn new(key_pair: SvidKeyPair, verified: &VerifiedSvid) -> Self {
        Self {
            svid: verified.clone(),
            key_pair,
        }
    }

    /// Whose.
    pub fn id(&self) -> &SpiffeId {
        self.svid.id()
    }

    /// Until when.
    pub fn not_after(&self) -> UnixTime {
        self.svid.not_after()
    }

    /// What verification said of it.
    pub fn svid(&self) -> &VerifiedSvid {
        &self.svid
    }

    /// Chain and key.
    pub fn key_pair(&self) -> &SvidKeyPair {
        &self.key_pair
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("id", self.svid.id())
            .finish_non_exhaustive()
    }
}
