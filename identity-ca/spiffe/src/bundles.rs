//! Bundles by trust domain, of whichever kind.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::revocation::Revocations;
use crate::trust_domain::TrustDomain;

/// A bundle of one trust domain.
pub trait OfTrustDomain {
    /// Whose bundle it is.
    fn domain(&self) -> &TrustDomain;
}

/// Bundles by trust domain, with what is revoked of that which they vouch for. They are never merged: each SVID is checked
/// against its own trust domain's alone (Federation §4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundlesOf<B> {
    bundles: BTreeMap<TrustDomain, Arc<B>>,
    revocations: Arc<Revocations>,
}

impl<B> Default for BundlesOf<B> {
    fn default() -> Self {
        Self {
            bundles: BTreeMap::new(),
            revocations: Arc::default(),
        }
    }
}

impl<B: OfTrustDomain> BundlesOf<B> {
    /// A set of one bundle.
    pub fn single(bundle: B) -> Self {
        let mut set = Self::default();
        set.insert(bundle);
        set
    }

    /// Adds a bundle, or replaces the one of the same trust domain.
    pub fn insert(&mut self, bundle: B) {
        self.bundles.insert(bundle.domain().clone(), Arc::new(bundle));
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
    pub fn get(&self, trust_domain: &TrustDomain) -> Option<&B> {
        self.bundles.get(trust_domain).map(AsRef::as_ref)
    }

    /// All bundles, by name of the trust domain.
    pub fn iter(&self) -> impl Iterator<Item = &B> {
        self.bundles.values().map(AsRef::as_ref)
    }
}
