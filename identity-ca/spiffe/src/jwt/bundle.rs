//! The keys that a trust domain's JWT-SVIDs are checked with (JWT-SVID §6).

use std::collections::BTreeSet;

use super::key::{JwtKey, JwtKeyError};
use crate::bundles::{BundlesOf, OfTrustDomain};
use crate::token::TokenBundle;
use crate::trust_domain::TrustDomain;

/// Most keys in one bundle; a token without a key ID is tried with each.
pub const MAX_JWT_KEYS: usize = 64;

/// The JWT keys of one trust domain. Without any, no JWT-SVID of it is believed (Trust Domain and Bundle §4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtBundle {
    trust_domain: TrustDomain,
    keys: Vec<JwtKey>,
}

/// Why keys are no bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwtBundleError {
    /// More than [`MAX_JWT_KEYS`].
    #[error("the bundle has {count} JWT keys, at most {MAX_JWT_KEYS} are read")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// Two keys with one ID: a token could not say which it means.
    #[error("the bundle has two JWT keys with the ID {id:?}")]
    SameId {
        /// Their ID.
        id: String,
    },
    /// A key that cannot be used.
    #[error("JWT key {number} of the bundle {source}")]
    Key {
        /// From 1, among all keys of the set.
        number: usize,
        /// Which rule it breaks.
        source: JwtKeyError,
    },
}

impl JwtBundle {
    /// A bundle of these keys, whose IDs differ.
    pub fn new(trust_domain: TrustDomain, keys: Vec<JwtKey>) -> Result<Self, JwtBundleError> {
        if keys.len() > MAX_JWT_KEYS {
            return Err(JwtBundleError::TooMany { count: keys.len() });
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = keys.iter().find(|key| !seen.insert(key.id())) {
            return Err(JwtBundleError::SameId {
                id: twice.id().to_owned(),
            });
        }
        Ok(Self { trust_domain, keys })
    }

    /// A bundle without keys: nothing verifies against it.
    pub fn empty(trust_domain: TrustDomain) -> Self {
        Self {
            trust_domain,
            keys: Vec::new(),
        }
    }

    /// Whose bundle it is.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The keys.
    pub fn keys(&self) -> &[JwtKey] {
        &self.keys
    }

    /// The key of this ID.
    pub fn key(&self, id: &str) -> Option<&JwtKey> {
        self.keys.iter().find(|key| key.id() == id)
    }
}

impl OfTrustDomain for JwtBundle {
    fn domain(&self) -> &TrustDomain {
        &self.trust_domain
    }
}

impl TokenBundle for JwtBundle {
    const KIND: &'static str = "JWT";

    fn keys(&self) -> &JwtBundle {
        self
    }
}

/// JWT bundles by trust domain.
pub type JwtBundleSet = BundlesOf<JwtBundle>;
