//! `LEASES` and `LEASE_ENDS`: what other nodes say of their addresses, and until when that may be believed. Hashes; written
//! by signet-agent alone, from what the owners say over their node sessions.
//!
//! `IPCACHE` says where an address is meant to be: what this node was configured with, which may be old. A lease says what the
//! address is now, in the words of the one node that knows. Whoever has to be proven needs both.

use crate::{Address, NodeId, SecurityIdentity, layout};

/// Whose lease: a workload's address on another node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct LeaseKey(pub Address);

/// What the owner says of the address. In force while the node's [`LeaseEnd`] is ahead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct Lease {
    /// The identity that it carries.
    pub identity: SecurityIdentity,
    /// The node that says so.
    pub node: NodeId,
}

/// Whose word: a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct LeaseEndKey(pub NodeId);

/// Until when the node's word counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct LeaseEnd {
    /// `CLOCK_BOOTTIME`, ns. From this instant on none of the node's leases is in force.
    pub not_after: u64,
}

layout!(LeaseKey, 16);
layout!(Lease, 8);
layout!(LeaseEndKey, 4);
layout!(LeaseEnd, 8);
