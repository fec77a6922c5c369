use std::collections::BTreeSet;

use signet_spiffe::{SpiffeId, TrustDomain};

/// Who may act for the workloads of this node. A list of those who may; all others may not (Broker API §4.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Brokers(BTreeSet<SpiffeId>);

/// Why somebody cannot be a broker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// Of another trust domain: its CA decides who has that name.
    #[error(
        "{0} is of another trust domain; a broker gets the keys of this node's workloads, so our own CA must name it"
    )]
    Foreign(SpiffeId),
    /// An ID that only Signet's own parts may have.
    #[error("{0} belongs to a part of Signet; register the broker as a workload of its own")]
    Infrastructure(SpiffeId),
    /// No workload at all.
    #[error("{0} has no path, so it is no workload's")]
    NoPath(SpiffeId),
}

impl Brokers {
    /// These and no others, in this trust domain.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub fn new(
        trust_domain: &TrustDomain,
        ids: impl IntoIterator<Item = SpiffeId>,
    ) -> Result<Self, BrokerError> {
        let mut brokers = BTreeSet::new();
        for id in ids {
            if id.trust_domain() != trust_domain {
                return Err(BrokerError::Foreign(id));
            }
            if id.is_infrastructure() {
                return Err(BrokerError::Infrastructure(id));
            }
            if id.path().is_empty() {
                return Err(BrokerError::NoPath(id));
            }
            brokers.insert(id);
        }
        Ok(Self(brokers))
    }

    /// Nobody is a broker.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn contains(&self, id: &SpiffeId) -> bool {
        self.0.contains(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_workload_of_our_own_trust_domain_can_be_a_broker() {
        let ours = TrustDomain::parse("td.test").unwrap();
        let id = |text| SpiffeId::parse(text).unwrap();
        let brokers = Brokers::new(&ours, [id("spiffe://td.test/ns/infra/sa/proxy")]).unwrap();
        assert!(brokers.contains(&id("spiffe://td.test/ns/infra/sa/proxy")));
        assert!(!brokers.contains(&id("spiffe://td.test/ns/infra/sa/proxy2")));
        let foreign = id("spiffe://td.other/proxy");
        assert_eq!(
            Brokers::new(&ours, [foreign.clone()]),
            Err(BrokerError::Foreign(foreign))
        );
        for infrastructure in ["spiffe://td.test/signet/ca", "spiffe://td.test/signet/node/n1"] {
            let refused = Brokers::new(&ours, [id(infrastructure)]);
            assert!(
                matches!(refused, Err(BrokerError::Infrastructure(_))),
                "{infrastructure}"
            );
        }
        assert!(Brokers::default().is_empty());
    }
}
