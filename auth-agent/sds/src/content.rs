//! From names to what they stand for at a moment. Pure.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use data_encoding::HEXLOWER;
use signet_spiffe::{BundleSet, TrustDomain, X509Bundle};
use signet_workload_api::{Holdings, RevocationList, X509Svid};

use crate::name::{Kind, Name};

/// What a resource holds.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// Certificates and a private key.
    Svid(Arc<X509Svid>),
    /// Bundles, each for its own trust domain's peers.
    Bundles(Bundles),
    /// Nothing any more.
    Withdrawn(Kind),
}

/// Bundles of some trust domains, and what is revoked.
#[derive(Clone, Debug)]
pub(crate) struct Bundles {
    set: Arc<BundleSet>,
    domains: Vec<TrustDomain>,
    list: Option<Arc<RevocationList>>,
}

/// What there is under a name.
#[derive(Clone, Debug)]
pub(crate) enum Found {
    /// This.
    Content(Content),
    /// Nothing yet: its SVID has to be issued.
    Pending,
    /// Nothing for this caller.
    Nothing,
}

/// What a caller that holds this finds under a name.
pub(crate) fn find(name: &Name, holdings: &Holdings) -> Found {
    let svid = |id| match holdings.svids.iter().find(|svid| svid.id() == id) {
        Some(svid) => Found::Content(Content::Svid(Arc::clone(svid))),
        None if holdings.ids.contains(id) => Found::Pending,
        None => Found::Nothing,
    };
    let bundles = |domains| {
        Found::Content(Content::Bundles(Bundles {
            set: Arc::clone(&holdings.bundles),
            domains,
            list: holdings.revocation_list.clone(),
        }))
    };
    let bundle = |domain: &TrustDomain| match holdings.bundles.get(domain) {
        Some(_) => bundles(vec![domain.clone()]),
        None => Found::Nothing,
    };
    match (name, holdings.ids.first()) {
        (Name::Identity(id), _) => svid(id),
        (Name::DefaultIdentity, Some(first)) => svid(first),
        (Name::Bundle(domain), _) => bundle(domain),
        (Name::OwnBundle, Some(first)) => bundle(first.trust_domain()),
        (Name::AllBundles, Some(_)) => {
            let domains = holdings.bundles.iter().map(X509Bundle::trust_domain);
            bundles(domains.cloned().collect())
        }
        (Name::DefaultIdentity | Name::OwnBundle | Name::AllBundles, None) => Found::Nothing,
    }
}

/// All that a caller holds by its plainest names: bundles, then identities.
pub(crate) fn names(holdings: &Holdings) -> Vec<String> {
    let bundles = holdings.bundles.iter().map(X509Bundle::trust_domain);
    let bundles = bundles.map(|domain| format!("spiffe://{}", domain.as_str()));
    let identities = holdings.ids.iter().map(ToString::to_string);
    bundles.chain(identities).collect()
}

impl Bundles {
    /// Each bundle with the list of what its trust domain has revoked.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&X509Bundle, Option<&RevocationList>)> {
        let bundles = self.domains.iter().filter_map(|domain| self.set.get(domain));
        bundles.map(|bundle| (bundle, self.list_for(bundle)))
    }

    /// Where a bundle has a list, Envoy refuses whatever no list speaks of: so there is one of each authority, or none.
    fn list_for(&self, bundle: &X509Bundle) -> Option<&RevocationList> {
        self.list.as_deref().filter(|list| list.covers(bundle))
    }
}

impl Content {
    /// Differs where the content does, and says nothing of a key. The same in each stream and in each agent.
    pub(crate) fn version(&self) -> String {
        let mut digest = Context::new(&SHA256);
        let mut add = |bytes: &[u8]| {
            // With its length, so that no two lists run together.
            digest.update(&bytes.len().to_be_bytes());
            digest.update(bytes);
        };
        match self {
            Self::Svid(svid) => {
                add(b"svid");
                svid.chain().iter().for_each(|certificate| add(certificate));
            }
            Self::Bundles(bundles) => {
                add(b"bundles");
                for (bundle, list) in bundles.iter() {
                    add(bundle.trust_domain().as_str().as_bytes());
                    add(&bundle.authorities().len().to_be_bytes());
                    bundle.authorities().iter().for_each(|authority| add(authority));
                    add(&list.map_or(0, |list| list.all().count()).to_be_bytes());
                    list.iter().flat_map(|list| list.all()).for_each(&mut add);
                }
            }
            Self::Withdrawn(Kind::Certificate) => add(b"withdrawn certificate"),
            Self::Withdrawn(Kind::Validation) => add(b"withdrawn validation"),
        }
        let digest = digest.finish();
        HEXLOWER.encode(digest.as_ref().first_chunk::<8>().unwrap_or(&[0; 8]))
    }
}

/// One version for several resources.
pub(crate) fn version_of_all<'a>(parts: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut digest = Context::new(&SHA256);
    for (name, version) in parts {
        for part in [name, version] {
            digest.update(&part.len().to_be_bytes());
            digest.update(part.as_bytes());
        }
    }
    HEXLOWER.encode(digest.finish().as_ref().first_chunk::<8>().unwrap_or(&[0; 8]))
}
