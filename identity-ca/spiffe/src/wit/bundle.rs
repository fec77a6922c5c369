//! The keys that a trust domain's WIT-SVIDs are checked with (WIT-SVID §6).

use crate::bundles::{BundlesOf, OfTrustDomain};
use crate::jwt::{JwtBundle, JwtBundleError, JwtKey};
use crate::token::TokenBundle;
use crate::trust_domain::TrustDomain;

/// The WIT keys of one trust domain. Without any, the trust domain has no WIT-SVIDs (WIT-SVID §6.2). They are never those of
/// JWT-SVIDs: what one kind of document is signed with verifies no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitBundle(JwtBundle);

impl WitBundle {
    /// A bundle of these keys, whose IDs differ.
    pub fn new(trust_domain: TrustDomain, keys: Vec<JwtKey>) -> Result<Self, JwtBundleError> {
        JwtBundle::new(trust_domain, keys).map(Self)
    }

    /// A bundle without keys: nothing verifies against it.
    pub fn empty(trust_domain: TrustDomain) -> Self {
        Self(JwtBundle::empty(trust_domain))
    }

    /// Whose bundle it is.
    pub fn trust_domain(&self) -> &TrustDomain {
        self.0.trust_domain()
    }

    /// The keys.
    pub fn keys(&self) -> &[JwtKey] {
        self.0.keys()
    }

    /// The key of this ID.
    pub fn key(&self, id: &str) -> Option<&JwtKey> {
        self.0.key(id)
    }
}

impl OfTrustDomain for WitBundle {
    fn domain(&self) -> &TrustDomain {
        self.trust_domain()
    }
}

impl TokenBundle for WitBundle {
    const KIND: &'static str = "WIT";

    fn keys(&self) -> &JwtBundle {
        &self.0
    }
}

/// WIT bundles by trust domain.
pub type WitBundleSet = BundlesOf<WitBundle>;
