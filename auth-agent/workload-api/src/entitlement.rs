//! Who gets what: pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use signet_attest::Selectors;
use signet_spiffe::BundleSet;

use crate::offer::State;
use crate::{Offers, X509Svid};

/// What the offers hold for one workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entitlement {
    /// Nobody can tell yet.
    NotReady,
    /// No registration is for it.
    Nothing,
    /// At least one registration is for it.
    Granted(Grant),
}

/// A workload's SVIDs in order, without those that are still to be issued, and the bundles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) svids: Vec<Arc<X509Svid>>,
    pub(crate) bundles: Arc<BundleSet>,
}

pub(crate) fn entitlement(workload: &Selectors, offers: &Offers) -> Entitlement {
    let State::Ready { offers, bundles } = &offers.0 else {
        return Entitlement::NotReady;
    };
    let mut matching = offers
        .iter()
        .filter(|offer| workload.satisfies(&offer.selectors))
        .peekable();
    if matching.peek().is_none() {
        return Entitlement::Nothing;
    }
    let mut seen = BTreeSet::new();
    let svids = matching
        .filter_map(|offer| offer.svid.clone())
        .filter(|svid| seen.insert(svid.id().clone()));
    Entitlement::Granted(Grant {
        svids: svids.collect(),
        bundles: Arc::clone(bundles),
    })
}
