//! Authorities whose work is to be replaced at once. It still counts. Pure.

use std::collections::BTreeSet;

use signet_proto::view::v1::TrustBundle;
use signet_spiffe::{KeyId, VerifiedSvid};

/// Which authorities are tainted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tainted {
    x509: BTreeSet<KeyId>,
    jwt: BTreeSet<String>,
    wit: BTreeSet<String>,
}

impl Tainted {
    /// Those that a bundle says are. What cannot be read taints nothing: what it meant still counts, and ends in its time.
    pub(crate) fn of(bundle: &TrustBundle) -> Self {
        let read = |text: &String| {
            let key = text.parse().ok();
            if key.is_none() {
                tracing::warn!(authority.id = text, "a tainted authority's id cannot be read");
            }
            key
        };
        Self {
            x509: bundle.tainted_x509.iter().filter_map(read).collect(),
            jwt: bundle.tainted_jwt.iter().cloned().collect(),
            wit: bundle.tainted_wit.iter().cloned().collect(),
        }
    }

    /// Whether one of them signed this, or a signer of it.
    pub fn signed(&self, svid: &VerifiedSvid) -> bool {
        svid.authorities().iter().any(|key| self.x509.contains(key))
    }

    /// Whether this JWT key is one of them.
    pub fn has_key(&self, key_id: &str) -> bool {
        self.jwt.contains(key_id)
    }

    /// Whether this WIT key is one of them.
    pub fn has_wit_key(&self, key_id: &str) -> bool {
        self.wit.contains(key_id)
    }
}
