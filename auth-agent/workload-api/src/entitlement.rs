//! Who gets what: pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use signet_attest::Selectors;
use signet_spiffe::{BundleSet, Hint, JwtBundleSet, SpiffeId, TrustDomain, WitBundleSet};

use crate::offer::State;
use crate::{Offer, Offers, RevocationList, WitSvid, X509Svid};

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

/// A workload's identities in order, its SVIDs in order without those that are still to be issued, and the bundles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) ids: Vec<SpiffeId>,
    pub(crate) hints: Hints,
    pub(crate) svids: Vec<Arc<X509Svid>>,
    pub(crate) bundles: Arc<BundleSet>,
    pub(crate) jwt_bundles: Arc<JwtBundleSet>,
    pub(crate) revocation_list: Option<Arc<RevocationList>>,
    /// WIT-SVIDs in the order of the identities, without those that are still to be issued.
    pub(crate) wits: Vec<Arc<WitSvid>>,
    pub(crate) wit_bundles: Arc<WitBundleSet>,
    /// Identities whose WIT-SVIDs were revoked, without a new one yet.
    pub(crate) wits_taken_back: Arc<BTreeSet<SpiffeId>>,
}

impl Grant {
    /// What of it is of one identity; nothing where the workload has no such identity.
    pub(crate) fn only(mut self, id: &SpiffeId) -> Option<Self> {
        if !self.ids.contains(id) {
            return None;
        }
        self.ids.retain(|other| other == id);
        self.svids.retain(|svid| svid.id() == id);
        self.wits.retain(|svid| svid.id() == id);
        self.hints.retain(|other, _| other == id);
        Some(self)
    }
}

/// What identities are for, by identity; no two have the same.
pub(crate) type Hints = BTreeMap<SpiffeId, Hint>;

pub(crate) fn entitlement(workload: &Selectors, offers: &Offers) -> Entitlement {
    let State::Ready {
        offers,
        bundles,
        jwt_bundles,
        revocation_list,
        federated,
        federated_jwt,
        wits,
    } = &offers.0
    else {
        return Entitlement::NotReady;
    };
    let matching: Vec<_> = offers
        .iter()
        .filter(|offer| workload.satisfies(&offer.selectors))
        .collect();
    if matching.is_empty() {
        return Entitlement::Nothing;
    }
    let (mut seen, mut ready) = (BTreeSet::new(), BTreeSet::new());
    let ids = matching.iter().filter(|offer| seen.insert(&offer.id));
    let svids = matching
        .iter()
        .filter_map(|offer| offer.svid.clone())
        .filter(|svid| ready.insert(svid.id().clone()));
    let named: BTreeSet<&TrustDomain> = matching.iter().flat_map(|offer| &offer.federates_with).collect();
    let (mut bundles, mut jwt_bundles) = (Arc::clone(bundles), Arc::clone(jwt_bundles));
    let mut wit_bundles = Arc::clone(&wits.bundles);
    for name in named {
        if let Some(bundle) = federated.get(name) {
            Arc::make_mut(&mut bundles).insert(bundle.clone());
        }
        if let Some(keys) = federated_jwt.get(name) {
            Arc::make_mut(&mut jwt_bundles).insert(keys.clone());
        }
        if let Some(keys) = wits.federated.get(name) {
            Arc::make_mut(&mut wit_bundles).insert(keys.clone());
        }
    }
    let ids: Vec<_> = ids.map(|offer| offer.id.clone()).collect();
    Entitlement::Granted(Grant {
        wits: ids.iter().filter_map(|id| wits.svids.get(id).cloned()).collect(),
        wit_bundles,
        wits_taken_back: Arc::clone(&wits.taken_back),
        ids,
        hints: hints(&matching),
        svids: svids.collect(),
        bundles,
        jwt_bundles,
        revocation_list: revocation_list.clone(),
    })
}

/// Each identity's first hint, unless an identity before it has the same.
fn hints(matching: &[&Offer]) -> Hints {
    let (mut hints, mut taken) = (Hints::new(), BTreeSet::new());
    for offer in matching {
        if let Some(hint) = &offer.hint
            && !hints.contains_key(&offer.id)
            && taken.insert(hint)
        {
            hints.insert(offer.id.clone(), hint.clone());
        }
    }
    hints
}
