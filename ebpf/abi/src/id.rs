//! Numbers that stand for identities, nodes and endpoint policies in kernel maps.

use crate::layout;

/// Stands for one set of identity labels, and so for exactly one SPIFFE ID. The CA's registry hands the numbers out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct SecurityIdentity(pub u32);

impl SecurityIdentity {
    /// Wildcard in [`crate::PolicyKey`]; never the identity of a packet.
    pub const ANY: Self = Self(0);
    /// The node itself.
    pub const HOST: Self = Self(1);
    /// An address outside the cluster.
    pub const WORLD: Self = Self(2);
    /// An endpoint without a registration.
    pub const UNMANAGED: Self = Self(3);
    /// Health probes.
    pub const HEALTH: Self = Self(4);
    /// An endpoint that is not set up yet.
    pub const INIT: Self = Self(5);
    /// Another node of the cluster.
    pub const REMOTE_NODE: Self = Self(6);
    /// The Kubernetes API server.
    pub const KUBE_APISERVER: Self = Self(7);
    /// The ingress gateway.
    pub const INGRESS: Self = Self(8);
    /// An address that several workloads claim, which nobody can therefore tell. Stands in `IPCACHE` alone: judged like
    /// [`Self::UNMANAGED`], and by a rule that asks for a proof refused for what it is.
    pub const CONTESTED: Self = Self(255);
    /// The first number that a workload can have.
    pub const FIRST_WORKLOAD: Self = Self(256);

    /// Whether the number belongs to a workload, not to a reserved meaning.
    pub const fn is_workload(self) -> bool {
        self.0 >= Self::FIRST_WORKLOAD.0
    }
}

/// A node's number, handed out by the CA's registry from 1. 0 says "no node".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct NodeId(pub u32);

impl NodeId {
    /// No node: an address outside the cluster.
    pub const NONE: Self = Self(0);
}

/// The number of one endpoint's compiled policy on its node, from 1. 0 says "no policy selects this endpoint".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct PolicyId(pub u32);

layout!(SecurityIdentity, 4);
layout!(NodeId, 4);
layout!(PolicyId, 4);
