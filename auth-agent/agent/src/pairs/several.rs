//! Several SPIFFE IDs behind one address. The kernel knows an endpoint by its address, and an address by one identity; where
//! processes of two live behind it, each could send as the other. So nothing is proven for it, whichever of them came first, and no
//! lease of it is claimed, until one has gone. A process that has several SPIFFE IDs, the endpoint's own among them, is no such case.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use signet_attest::EndpointName;
use signet_spiffe::SpiffeId;

use crate::mesh::{Endpoints, Home};
use crate::view::{Registration, View};

/// How many endpoints of one network namespace are named.
const MOST_NAMED: usize = 4;

/// Addresses of this node of which nobody can tell whose they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Several {
    why: BTreeMap<SpiffeId, String>,
    addresses: BTreeSet<IpAddr>,
}

impl Several {
    /// What registrations and endpoints say together.
    pub(crate) fn of(view: &View, endpoints: &Endpoints) -> Self {
        let mut several = Self::default();
        let mut registered = BTreeMap::<_, Vec<_>>::new();
        for registration in view.registrations() {
            registered
                .entry(&registration.spiffe_id)
                .or_default()
                .push(registration);
        }
        for registration in view.registrations() {
            if let Some((name, home)) = named(registration, endpoints)
                && let Some(own) = registered.get(&home.id)
                && is_another(registration, home, own)
            {
                several.add(home, &by_registration(name, home, registration));
            }
        }
        let mut namespaces = BTreeMap::<_, Vec<_>>::new();
        for (name, home) in endpoints.homes() {
            if let Some(netns) = home.netns {
                namespaces.entry(netns).or_default().push((name, home));
            }
        }
        for together in namespaces.values() {
            let ids: BTreeSet<_> = together.iter().map(|(_, home)| &home.id).collect();
            if ids.len() > 1 {
                let words = by_namespace(together);
                for (_, home) in together {
                    several.add(home, &words);
                }
            }
        }
        several
    }

    fn add(&mut self, home: &Home, words: &str) {
        self.addresses.extend(&home.addresses);
        self.why
            .entry(home.id.clone())
            .or_insert_with(|| words.to_owned());
    }

    /// Why nothing is proven for an identity of this node, if it is so.
    pub(crate) fn why(&self, id: &SpiffeId) -> Option<&str> {
        self.why.get(id).map(String::as_str)
    }

    /// Whether nobody can tell whose the address is.
    pub(crate) fn has(&self, address: &IpAddr) -> bool {
        self.addresses.contains(address)
    }

    /// Logs what was not so before, and what is not so any more.
    pub(crate) fn tell_beyond(&self, before: &Self) {
        if self.why == before.why {
            return;
        }
        for (id, why) in &self.why {
            tracing::debug!(spiffe.id = %id, why, "nothing is proven for this identity");
        }
        if self.why.is_empty() {
            tracing::info!("one SPIFFE ID is behind each address of this node again");
        } else {
            tracing::warn!(
                identities = self.why.len(),
                "several SPIFFE IDs are behind one address of this node: nothing is proven for it; `signet auth list` says which"
            );
        }
    }
}

/// The endpoint that a registration names. Who satisfies one that names several lives in each, and so nobody does.
fn named<'a>(
    registration: &'a Registration,
    endpoints: &'a Endpoints,
) -> Option<(&'a EndpointName, &'a Home)> {
    let mut names = registration.selectors.endpoints();
    let name = names.next().filter(|_| names.next().is_none())?;
    Some((name, endpoints.home(name)?))
}

/// Whether it makes a process behind the endpoint somebody who does not have the endpoint's own identity, which `own` gives. Where
/// nobody has that, there is nothing to be mixed up.
fn is_another(registration: &Registration, home: &Home, own: &[&Arc<Registration>]) -> bool {
    let mut own = own.iter();
    registration.spiffe_id != home.id && !own.any(|own| registration.selectors.imply(&own.selectors))
}

fn by_registration(name: &EndpointName, home: &Home, other: &Registration) -> String {
    format!(
        "{} of endpoint {name} is {} by its service account, and {} by registration {} ({}); `signet ca deregister {}`, add to it all \
         selectors of the endpoint's own registration, or give that workload an endpoint of its own",
        list(&home.addresses),
        home.id,
        other.spiffe_id,
        other.id,
        other.selectors,
        other.id
    )
}

fn by_namespace(together: &[(&EndpointName, &Home)]) -> String {
    let each = |(name, home): &(&EndpointName, &Home)| {
        format!("{} of endpoint {name} is {}", list(&home.addresses), home.id)
    };
    let named: Vec<_> = together.iter().take(MOST_NAMED).map(each).collect();
    let more = match together.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    format!(
        "one network namespace has endpoints of several: {}{more}; give each workload a network namespace of its own",
        named.join(", ")
    )
}

fn list(addresses: &[IpAddr]) -> String {
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    addresses.join(", ")
}

/// What followed last, and from what: it is asked for with every pair, and changes seldom.
#[derive(Debug, Default)]
pub(super) struct Latest(Mutex<Option<Worked>>);

#[derive(Debug)]
struct Worked {
    view: Arc<View>,
    endpoints: Arc<Endpoints>,
    several: Arc<Several>,
}

impl Latest {
    /// What follows from these.
    pub(super) fn of(&self, view: &Arc<View>, endpoints: &Arc<Endpoints>) -> Arc<Several> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = &*last
            && Arc::ptr_eq(&last.view, view)
            && Arc::ptr_eq(&last.endpoints, endpoints)
        {
            return last.several.clone();
        }
        let several = Arc::new(Several::of(view, endpoints));
        *last = Some(Worked {
            view: view.clone(),
            endpoints: endpoints.clone(),
            several: several.clone(),
        });
        several
    }
}
