//! What the CA says of the trust domain, as an agent has it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use signet_abi::{AuthKey, SecurityIdentity};
use signet_lease::Facts;
use signet_session::NodeNumber;
use signet_spiffe::{BundleSet, SpiffeId};

use crate::names::has_address;

/// A revocation, for proofs of which nobody knows any more what they were made with.
#[derive(Clone, Debug)]
pub struct Suspicion {
    /// In which version of the view it came.
    pub version: u64,
    /// Whose certificate it is; everybody's where there is none.
    pub id: Option<SpiffeId>,
}

/// A version of it.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Goes up with every change.
    pub version: u64,
    /// The nodes. A banned one is none.
    pub nodes: BTreeSet<NodeNumber>,
    /// Which number each identity has.
    pub identities: BTreeMap<SpiffeId, SecurityIdentity>,
    /// The same the other way round.
    pub ids: BTreeMap<SecurityIdentity, SpiffeId>,
    /// Which identities are registered on which node.
    pub registered: BTreeSet<(NodeNumber, SpiffeId)>,
    /// What SVIDs are verified against, and what is revoked.
    pub bundles: Arc<BundleSet>,
    /// All revocations there were.
    pub suspicions: Vec<Suspicion>,
}

impl View {
    /// Why a proof of this pair may rest on something that was revoked after version `settled`.
    pub fn suspects(&self, key: &AuthKey, settled: u64) -> Option<String> {
        let concerns = |id: &Option<SpiffeId>| match id {
            Some(id) => [key.local, key.remote]
                .iter()
                .any(|number| self.ids.get(number) == Some(id)),
            None => true,
        };
        self.suspicions
            .iter()
            .find(|suspicion| suspicion.version > settled && concerns(&suspicion.id))
            .map(|suspicion| format!("a revocation of version {}", suspicion.version))
    }

    /// Whether the identity is registered on the node.
    pub fn is_on(&self, node: NodeNumber, id: &SpiffeId) -> bool {
        self.registered.contains(&(node, id.clone()))
    }
}

impl Facts for View {
    fn is_member(&self, node: NodeNumber) -> bool {
        self.nodes.contains(&node)
    }

    fn registered(&self, node: NodeNumber, id: &SpiffeId) -> Option<SecurityIdentity> {
        let identity = self.identities.get(id).copied()?;
        (self.nodes.contains(&node) && self.is_on(node, id)).then_some(identity)
    }

    fn has_address(&self, node: NodeNumber, address: IpAddr) -> bool {
        has_address(node, address)
    }

    fn spiffe_id(&self, identity: SecurityIdentity) -> Option<SpiffeId> {
        self.ids.get(&identity).cloned()
    }
}
