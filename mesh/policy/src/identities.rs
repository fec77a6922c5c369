//! Which number stands for which SPIFFE ID.

use std::collections::BTreeMap;

use signet_abi::SecurityIdentity;
use signet_spiffe::{SpiffeId, TrustDomain};

use crate::name::{Name, Namespace};

/// The trust domain and its security identities, as the CA's registry numbered them. Empty until they are known:
/// then no peer that is named by its identity matches anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identities {
    trust_domain: Option<TrustDomain>,
    by_id: BTreeMap<SpiffeId, SecurityIdentity>,
    by_number: BTreeMap<SecurityIdentity, SpiffeId>,
}

impl Identities {
    /// None yet, in a known trust domain.
    pub fn new(trust_domain: TrustDomain) -> Self {
        Self {
            trust_domain: Some(trust_domain),
            ..Self::default()
        }
    }

    /// The trust domain; `None` until it is known.
    pub fn trust_domain(&self) -> Option<&TrustDomain> {
        self.trust_domain.as_ref()
    }

    /// Notes a number. Reserved numbers are not noted: they never stand for a SPIFFE ID, whoever says so.
    /// Returns whether it was noted.
    pub fn insert(&mut self, id: SpiffeId, number: SecurityIdentity) -> bool {
        if !number.is_workload() {
            return false;
        }
        self.remove(&id);
        if let Some(before) = self.by_number.insert(number, id.clone()) {
            self.by_id.remove(&before);
        }
        self.by_id.insert(id, number);
        true
    }

    /// Forgets a SPIFFE ID's number.
    pub fn remove(&mut self, id: &SpiffeId) {
        if let Some(number) = self.by_id.remove(id) {
            self.by_number.remove(&number);
        }
    }

    /// The number of a SPIFFE ID.
    pub fn number(&self, id: &SpiffeId) -> Option<SecurityIdentity> {
        self.by_id.get(id).copied()
    }

    /// The SPIFFE ID of a number.
    pub fn spiffe_id(&self, number: SecurityIdentity) -> Option<&SpiffeId> {
        self.by_number.get(&number)
    }

    /// The SPIFFE ID that a service account's workloads have by default; `None` until the trust domain is known.
    pub fn workload(&self, namespace: &Namespace, service_account: &Name) -> Option<SpiffeId> {
        let trust_domain = self.trust_domain.as_ref()?;
        SpiffeId::workload(trust_domain, namespace.as_str(), service_account.as_str()).ok()
    }

    /// What users call an identity: its SPIFFE ID, or the reserved name.
    pub fn name(&self, number: SecurityIdentity) -> String {
        self.spiffe_id(number)
            .map_or_else(|| reserved_name(number), ToString::to_string)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&SpiffeId, SecurityIdentity)> {
        self.by_id.iter().map(|(id, number)| (id, *number))
    }
}

fn reserved_name(number: SecurityIdentity) -> String {
    let name = match number {
        SecurityIdentity::ANY => "none",
        SecurityIdentity::HOST => "host",
        SecurityIdentity::WORLD => "world",
        SecurityIdentity::UNMANAGED => "unmanaged",
        SecurityIdentity::HEALTH => "health",
        SecurityIdentity::INIT => "init",
        SecurityIdentity::REMOTE_NODE => "remote-node",
        SecurityIdentity::KUBE_APISERVER => "kube-apiserver",
        SecurityIdentity::INGRESS => "ingress",
        SecurityIdentity::CONTESTED => "claimed by several",
        SecurityIdentity(other) => return format!("identity {other}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_number_never_becomes_a_spiffe_id() {
        let domain = TrustDomain::parse("cluster.local").unwrap();
        let id = SpiffeId::workload(&domain, "shop", "web").unwrap();
        let mut identities = Identities::new(domain);
        assert!(!identities.insert(id.clone(), SecurityIdentity::HOST));
        assert_eq!(identities.number(&id), None);
        assert!(identities.insert(id.clone(), SecurityIdentity(256)));
        assert_eq!(identities.number(&id), Some(SecurityIdentity(256)));
        assert_eq!(identities.name(SecurityIdentity(256)), id.as_str());
        assert_eq!(identities.name(SecurityIdentity::WORLD), "world");
        assert_eq!(identities.name(SecurityIdentity(300)), "identity 300");
    }

    #[test]
    fn a_number_stands_for_one_spiffe_id_and_the_reverse() {
        let domain = TrustDomain::parse("cluster.local").unwrap();
        let web = SpiffeId::workload(&domain, "shop", "web").unwrap();
        let api = SpiffeId::workload(&domain, "shop", "api").unwrap();
        let mut identities = Identities::new(domain);
        identities.insert(web.clone(), SecurityIdentity(256));
        identities.insert(web.clone(), SecurityIdentity(257));
        assert_eq!(identities.spiffe_id(SecurityIdentity(256)), None);
        identities.insert(api.clone(), SecurityIdentity(257));
        assert_eq!(identities.number(&web), None);
        assert_eq!(identities.spiffe_id(SecurityIdentity(257)), Some(&api));
    }
}
