use std::collections::BTreeSet;
use std::sync::Arc;

use signet_attest::{RequiredSelectors, Selector};
use signet_spiffe::{BundleSet, Hint, JwtBundleSet, KeyId, SpiffeId, TrustDomain, X509Bundle};

use crate::{WitOffers, X509Svid};

/// A registration on this node: whoever satisfies the selectors gets the SVID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    pub(crate) selectors: RequiredSelectors,
    pub(crate) id: SpiffeId,
    pub(crate) svid: Option<Arc<X509Svid>>,
    pub(crate) federates_with: BTreeSet<TrustDomain>,
    pub(crate) hint: Option<Hint>,
}

/// Why a registration cannot be offered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// An ID that only Signet's own parts may have.
    #[error("{0} belongs to a part of Signet and is never given to a workload")]
    Infrastructure(SpiffeId),
}

impl Offer {
    /// A registration whose SVID is there.
    pub fn ready(selectors: RequiredSelectors, svid: Arc<X509Svid>) -> Self {
        Self {
            selectors,
            id: svid.id().clone(),
            svid: Some(svid),
            federates_with: BTreeSet::new(),
            hint: None,
        }
    }

    /// A registration whose SVID has yet to be issued: clients get `Unavailable` where there is nothing else for them.
    ///
    /// # Errors
    /// See [`OfferError`].
    pub fn pending(selectors: RequiredSelectors, id: SpiffeId) -> Result<Self, OfferError> {
        if id.is_infrastructure() {
            return Err(OfferError::Infrastructure(id));
        }
        Ok(Self {
            selectors,
            id,
            svid: None,
            federates_with: BTreeSet::new(),
            hint: None,
        })
    }

    /// The same for workloads that also get the bundles of these trust domains, as far as there are any
    /// ([`Offers::with_federated_bundles`]).
    #[must_use]
    pub fn federating_with(mut self, trust_domains: BTreeSet<TrustDomain>) -> Self {
        self.federates_with = trust_domains;
        self
    }

    /// The same with what the identity is for. A workload that satisfies two registrations with one hint gets it with the
    /// first alone (Workload API §5.2.1).
    #[must_use]
    pub fn with_hint(mut self, hint: Option<Hint>) -> Self {
        self.hint = hint;
        self
    }
}

/// All that this node has to give: its registrations, in order, and the bundles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offers(pub(crate) State);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Starting,
    Ready {
        offers: Vec<Offer>,
        bundles: Arc<BundleSet>,
        jwt_bundles: Arc<JwtBundleSet>,
        revocation_list: Option<Arc<RevocationList>>,
        federated: Arc<BundleSet>,
        federated_jwt: Arc<JwtBundleSet>,
        wits: Arc<WitOffers>,
    },
}

/// A trust domain's certificate revocation lists (RFC 5280 §5), for programs that check certificates by themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationList {
    /// Whose certificates they are about.
    pub trust_domain: TrustDomain,
    /// That of the authority that signs now, ASN.1 DER.
    pub der: Vec<u8>,
    /// Those of the other authorities, and whose all of them are: nothing where that was not told, and there is one.
    pub beside: Beside,
}

/// Lists of other authorities than the one that signs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// ASN.1 DER.
    pub lists: Vec<Vec<u8>>,
    /// Subject key identifiers of all authorities that there is a list of.
    pub authorities: BTreeSet<KeyId>,
}

impl RevocationList {
    /// All lists, ASN.1 DER.
    pub fn all(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(self.der.as_slice()).chain(self.beside.lists.iter().map(Vec::as_slice))
    }

    /// Whether there is a list of each authority in the bundle of its trust domain. Where there is one of any, some verifiers refuse
    /// whatever no list speaks of.
    pub fn covers(&self, bundle: &X509Bundle) -> bool {
        if self.trust_domain != *bundle.trust_domain() {
            return false;
        }
        if self.beside.authorities.is_empty() {
            return bundle.authorities().len() == 1;
        }
        // One without a key identifier is none of ours.
        bundle.key_ids().count() == bundle.authorities().len()
            && bundle.key_ids().all(|key| self.beside.authorities.contains(key))
    }
}

/// Why offers do not fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OffersError {
    /// An SVID without the bundle of its own trust domain, which every response must carry (Workload API §5.2.1).
    #[error("there is no bundle of {trust_domain}, the trust domain of {id}")]
    NoBundle {
        /// The registration.
        id: SpiffeId,
        /// Its trust domain.
        trust_domain: TrustDomain,
    },
}

impl Offers {
    /// Whether there is a registration for an endpoint's workloads.
    pub(crate) fn name_endpoints(&self) -> bool {
        let names = |offer: &Offer| {
            let mut selectors = offer.selectors.iter();
            selectors.any(|selector| matches!(selector, Selector::Endpoint(_)))
        };
        match &self.0 {
            State::Starting => false,
            State::Ready { offers, .. } => offers.iter().any(names),
        }
    }

    /// Nothing is known yet: clients get `Unavailable`.
    pub fn starting() -> Self {
        Self(State::Starting)
    }

    /// The registrations of this node, and the bundles that every one of its workloads gets: at least that of its own trust
    /// domain.
    ///
    /// A workload gets its SVIDs in this order, and the first is its default identity (Workload API §8): keep the order
    /// stable. Where several registrations that a workload satisfies have one SPIFFE ID, the first with an SVID counts.
    ///
    /// # Errors
    /// See [`OffersError`].
    pub fn new(offers: Vec<Offer>, bundles: Arc<BundleSet>) -> Result<Self, OffersError> {
        for Offer { id, .. } in &offers {
            if bundles.get(id.trust_domain()).is_none() {
                return Err(OffersError::NoBundle {
                    id: id.clone(),
                    trust_domain: id.trust_domain().clone(),
                });
            }
        }
        Ok(Self(State::Ready {
            offers,
            bundles,
            jwt_bundles: Arc::default(),
            revocation_list: None,
            federated: Arc::default(),
            federated_jwt: Arc::default(),
            wits: Arc::default(),
        }))
    }

    /// The same with bundles of other trust domains. A workload gets those that one of its registrations names
    /// ([`Offer::federating_with`]).
    #[must_use]
    pub fn with_federated_bundles(mut self, x509: Arc<BundleSet>, jwt: Arc<JwtBundleSet>) -> Self {
        if let State::Ready {
            federated,
            federated_jwt,
            ..
        } = &mut self.0
        {
            (*federated, *federated_jwt) = (x509, jwt);
        }
        self
    }

    /// The same with the keys that JWT-SVIDs are checked with, for every workload: at least those of the own trust domain.
    /// What is revoked of them is honoured by `ValidateJWTSVID`, and told to nobody.
    #[must_use]
    pub fn with_jwt_bundles(mut self, bundles: Arc<JwtBundleSet>) -> Self {
        if let State::Ready { jwt_bundles, .. } = &mut self.0 {
            *jwt_bundles = bundles;
        }
        self
    }

    /// The same with WIT-SVIDs for these identities. Served where the source says so
    /// ([`SvidSource::serves_wit_svids`](crate::SvidSource::serves_wit_svids)).
    #[must_use]
    pub fn with_wits(mut self, offered: Arc<WitOffers>) -> Self {
        if let State::Ready { wits, .. } = &mut self.0 {
            *wits = offered;
        }
        self
    }

    /// The same with what is revoked, as a list that is valid at this moment: whoever takes it refuses everybody once it has
    /// expired. So publish without it before it does.
    #[must_use]
    pub fn with_revocation_list(mut self, list: Option<Arc<RevocationList>>) -> Self {
        if let State::Ready { revocation_list, .. } = &mut self.0 {
            *revocation_list = list;
        }
        self
    }
}
