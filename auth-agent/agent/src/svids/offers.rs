//! What the Workload API gives out.

use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use signet_attest::EndpointTable;
use signet_spiffe::{Audience, SpiffeId};
use signet_workload_api::{JwtSvid, NoJwtSvid, Offer, Offers, RevocationList, SvidSource, WitOffers};
use tokio::sync::watch;

use super::set::SvidSet;
use crate::jwt::JwtSvids;
use crate::view::View;

/// The agent's side of the Workload API.
#[derive(Debug)]
pub struct WorkloadSource {
    offers: watch::Sender<Arc<Offers>>,
    endpoints: watch::Sender<Option<Arc<EndpointTable>>>,
    tokens: JwtSvids,
    /// Nothing where they are off.
    wits: Option<Mutex<Wits>>,
}

/// WIT-SVIDs come from another keeper than the rest: what each said last.
#[derive(Debug)]
struct Wits {
    offers: Arc<Offers>,
    wits: Arc<WitOffers>,
}

impl WorkloadSource {
    /// Nothing to give yet, and tokens from there.
    pub fn new(tokens: JwtSvids) -> Self {
        Self {
            offers: watch::Sender::new(Arc::new(Offers::starting())),
            endpoints: watch::Sender::default(),
            tokens,
            wits: None,
        }
    }

    /// The same with WIT-SVIDs.
    #[must_use]
    pub fn serving_wit_svids(mut self) -> Self {
        self.wits = Some(Mutex::new(Wits {
            offers: Arc::new(Offers::starting()),
            wits: Arc::default(),
        }));
        self
    }

    pub(super) fn set_offers(&self, offers: Arc<Offers>) {
        match &self.wits {
            None => drop(self.offers.send_if_modified(|known| replace(known, offers))),
            Some(_) => self.change(|wits| wits.offers = offers),
        }
    }

    pub(crate) fn set_wits(&self, offered: Arc<WitOffers>) {
        self.change(|wits| wits.wits = offered);
    }

    /// Under the lock until it is published, so that the later word of both is the last one.
    fn change(&self, change: impl FnOnce(&mut Wits)) {
        let Some(wits) = &self.wits else { return };
        let mut wits = wits.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut wits);
        let offers = Offers::clone(&wits.offers).with_wits(wits.wits.clone());
        self.offers
            .send_if_modified(|known| replace(known, Arc::new(offers)));
    }

    pub(super) fn set_endpoints(&self, endpoints: Arc<EndpointTable>) {
        self.endpoints.send_if_modified(|known| {
            let changed = known.as_ref() != Some(&endpoints);
            *known = Some(endpoints);
            changed
        });
    }
}

fn replace<T: PartialEq>(known: &mut Arc<T>, new: Arc<T>) -> bool {
    let changed = **known != *new;
    *known = new;
    changed
}

impl SvidSource for WorkloadSource {
    fn offers(&self) -> watch::Receiver<Arc<Offers>> {
        self.offers.subscribe()
    }

    fn endpoints(&self) -> watch::Receiver<Option<Arc<EndpointTable>>> {
        self.endpoints.subscribe()
    }

    fn serves_wit_svids(&self) -> bool {
        self.wits.is_some()
    }

    fn jwt_svid<'a>(
        &'a self,
        id: &'a SpiffeId,
        audience: &'a Audience,
    ) -> BoxFuture<'a, Result<Arc<JwtSvid>, NoJwtSvid>> {
        Box::pin(self.tokens.get(id, audience))
    }
}

/// The offers that SVIDs and bundles of the moment make.
pub(super) fn offers(
    set: &SvidSet,
    view: &View,
    revocation_list: Option<Arc<RevocationList>>,
) -> anyhow::Result<Offers> {
    let mut offers = Vec::new();
    // What was taken back is absent, not merely late: its workloads have to let go of it (Workload API §4.4).
    for entry in set.entries().iter().filter(|entry| entry.revoked.is_none()) {
        let selectors = entry.registration.selectors.clone();
        let offer = match &entry.svid {
            Some(svid) => Offer::ready(selectors, svid.offer.clone()),
            None => Offer::pending(selectors, entry.registration.spiffe_id.clone())?,
        };
        let offer = offer.federating_with(entry.registration.federates_with.clone());
        offers.push(offer.with_hint(entry.registration.hint.clone()));
    }
    let (foreign, foreign_jwt) = (view.foreign_bundles(), view.foreign_jwt_bundles());
    Ok(Offers::new(offers, view.published_bundles().clone())?
        .with_jwt_bundles(view.jwt_bundles().clone())
        .with_federated_bundles(foreign.clone(), foreign_jwt.clone())
        .with_revocation_list(revocation_list))
}
