//! Where verifiers find the bundles of the moment.

use std::fmt::Debug;
use std::sync::{Arc, PoisonError, RwLock};

use signet_spiffe::BundleSet;

/// The bundles that SVIDs are checked against. Asked at every handshake, so that a changed bundle counts at once.
pub trait BundleSource: Send + Sync + Debug {
    /// The bundles of this moment.
    fn bundles(&self) -> Arc<BundleSet>;
}

/// Bundles that never change.
#[derive(Debug, Clone)]
pub struct FixedBundles(Arc<BundleSet>);

impl FixedBundles {
    /// A source of exactly these bundles.
    pub fn new(bundles: BundleSet) -> Self {
        Self(Arc::new(bundles))
    }
}

impl BundleSource for FixedBundles {
    fn bundles(&self) -> Arc<BundleSet> {
        Arc::clone(&self.0)
    }
}

/// Bundles that their owner replaces as a whole. A new one distrusts everything.
#[derive(Debug, Default)]
pub struct SharedBundles(RwLock<Arc<BundleSet>>);

impl SharedBundles {
    /// A source that starts with these bundles.
    pub fn new(bundles: BundleSet) -> Self {
        Self(RwLock::new(Arc::new(bundles)))
    }

    /// From now on these bundles, and no other.
    pub fn replace(&self, bundles: BundleSet) {
        // A writer holds the lock for one assignment, so poison cannot leave half a value behind.
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(bundles);
    }
}

impl BundleSource for SharedBundles {
    fn bundles(&self) -> Arc<BundleSet> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}
