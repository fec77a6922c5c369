//! A workload's own SVID, ready for handshakes.

use std::fmt;
use std::sync::OnceLock;

use signet_spiffe::{SpiffeId, UnixTime, VerifiedSvid};
use signet_tls::{Shown, SvidKeyPair, TlsError};

/// A key pair whose chain was verified against the bundle: a node proves nothing with an SVID that its peers would refuse.
pub struct Credentials {
    svid: VerifiedSvid,
    key_pair: SvidKeyPair,
    /// Read once: it is the same for every handshake.
    shown: OnceLock<Result<Shown, TlsError>>,
}

impl Credentials {
    /// `verified` must be the outcome of verifying `key_pair.chain`.
    pub fn new(key_pair: SvidKeyPair, verified: &VerifiedSvid) -> Self {
        Self {
            svid: verified.clone(),
            key_pair,
            shown: OnceLock::new(),
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

    /// Ready for handshakes.
    pub(crate) fn shown(&self) -> Result<&Shown, TlsError> {
        let shown = self.shown.get_or_init(|| self.key_pair.shown());
        shown.as_ref().map_err(Clone::clone)
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
