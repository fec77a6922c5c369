//! Which CA of a trust domain may have signed the peer's SVID.

use std::collections::BTreeSet;
use std::fmt::Debug;

use signet_spiffe::{KeyId, VerifiedSvid};

/// Says whether a verified SVID is of the CA that is meant. In a trust domain with CAs below one another each can sign every name, so
/// where it matters which of them did, the name is not enough. Asked at every handshake: authorities come and go.
pub trait SignerSource: Send + Sync + Debug {
    /// Whether who signed this one may have.
    fn may_sign(&self, svid: &VerifiedSvid) -> bool;

    /// One of those that may, whichever else there is by now: what the server is asked for ([`signer_name`](crate::signer_name)).
    fn asked(&self) -> Option<&KeyId> {
        None
    }
}

/// Exactly these authorities, by their key identifiers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FixedSigners(BTreeSet<KeyId>);

impl FixedSigners {
    /// These.
    pub fn new(signers: impl IntoIterator<Item = KeyId>) -> Self {
        Self(signers.into_iter().collect())
    }
}

impl SignerSource for FixedSigners {
    fn may_sign(&self, svid: &VerifiedSvid) -> bool {
        svid.signer().is_some_and(|signer| self.0.contains(signer))
    }
}
