//! The keys that a trust domain's WIT-SVIDs are checked with (WIT-SVID §6).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::jwt::{JwtBundle, JwtBundleError, JwtKey};
use crate::revocation::Revocations;
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

/// WIT bundles by trust domain, with what is revoked of that which they vouch for. They are never merged: each token is checked
/// against its own trust domain's alone (Federation §4.2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WitBundleSet {
    bundles: BTreeMap<TrustDomain, Arc<WitBundle>>,
    revocations: Arc<Revocations>,
}

impl WitBundleSet {
    /// A set of one bundle.
    pub fn single(bundle: WitBundle) -> Self {
        let mut set = Self::default();
        set.insert(bundle);
        set
    }

    /// Adds a bundle, or replaces the one of the same trust domain.
    pub fn insert(&mut self, bundle: WitBundle) {
        self.bundles
            .insert(bundle.trust_domain().clone(), Arc::new(bundle));
    }

    /// Takes the bundle of a trust domain out: nothing of it is believed any more.
    pub fn remove(&mut self, trust_domain: &TrustDomain) {
        self.bundles.remove(trust_domain);
    }

    /// The same bundles, with these revocations in place of any before: what verification against them honours.
    #[must_use]
    pub fn with_revocations(mut self, revocations: Arc<Revocations>) -> Self {
        self.revocations = revocations;
        self
    }

    /// What is revoked.
    pub fn revocations(&self) -> &Arc<Revocations> {
        &self.revocations
    }

    /// The bundle of a trust domain.
    pub fn get(&self, trust_domain: &TrustDomain) -> Option<&WitBundle> {
        self.bundles.get(trust_domain).map(AsRef::as_ref)
    }

    /// All bundles, by name of the trust domain.
    pub fn iter(&self) -> impl Iterator<Item = &WitBundle> {
        self.bundles.values().map(AsRef::as_ref)
    }
}
