//! What the CA has told about nodes and identities.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use signet_abi::{Address, NodeId, SecurityIdentity};
use signet_policy::Identities;
use signet_spiffe::{NodeName, SpiffeId};

use crate::cidr::Cidr;

/// A node that has attested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its number; never [`NodeId::NONE`].
    pub id: NodeId,
    /// What it announced over its authenticated stream.
    pub addresses: Vec<IpAddr>,
    /// Where its workloads' addresses must lie; given by the operator, never by the node.
    pub pod_cidrs: Vec<Cidr>,
}

impl Node {
    /// Whether the node may have a workload with this address.
    pub fn may_own(&self, address: Address) -> bool {
        self.pod_cidrs.iter().any(|cidr| cidr.contains(address))
    }
}

/// Nodes and identities, as of one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Nodes by name.
    pub nodes: BTreeMap<NodeName, Node>,
    /// The trust domain and its identities.
    pub identities: Identities,
    /// On which nodes each SPIFFE ID is registered: nobody has it on another.
    pub places: BTreeMap<SpiffeId, BTreeSet<NodeName>>,
    /// Whether packets between nodes are to be encrypted.
    pub encrypted: bool,
    /// SPIFFE IDs that get no certificates, and why. No kernel entry follows from it: without a proof nothing passes that
    /// needs one. For explanations, as is the next.
    pub closed: BTreeMap<SpiffeId, String>,
    /// Nodes that are kept out, and why.
    pub banned: BTreeMap<NodeName, String>,
}

impl View {
    /// The name of the node with this number.
    pub fn node_name(&self, id: NodeId) -> Option<&NodeName> {
        self.nodes
            .iter()
            .find(|(_, node)| node.id == id)
            .map(|(name, _)| name)
    }

    /// The number of a SPIFFE ID's workloads on a node; `None` where it is not registered there.
    pub fn number_on(&self, id: &SpiffeId, node: &NodeName) -> Option<SecurityIdentity> {
        let is_there = self.places.get(id).is_some_and(|nodes| nodes.contains(node));
        self.identities.number(id).filter(|_| is_there)
    }
}
