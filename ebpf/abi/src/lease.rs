//! `LEASES` and `LEASE_ENDS`: what other nodes say of their addresses, and until when that may be believed. Hashes; written
//! by signet-agent alone, from what the owners say over their node sessions.
//!
//! `IPCACHE` says where an address is meant to be: what this node was configured with, which may be old. A lease says what the
//! address is now, in the words of the one node that knows. Whoever has to be proven needs both.

use crate::{Address, AuthKey, NodeId, SecurityIdentity, layout};

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

impl Lease {
    /// Whether it says of the address that it carries the pair's remote identity, on the pair's node.
    #[inline(always)]
    pub const fn is_of(&self, pair: &AuthKey) -> bool {
        self.identity.0 == pair.remote.0 && self.node.0 == pair.node.0
    }
}

impl LeaseEnd {
    /// Whether the node's word counts at this instant of `CLOCK_BOOTTIME`, ns.
    #[inline(always)]
    pub const fn is_ahead(&self, now: u64) -> bool {
        now < self.not_after
    }
}

/// Whether the owner of the other side's address says at `now` that it carries the pair's remote identity. The kernel programs
/// judge by this, and so do the models that they are tested against. `own` is the node that judges; `is_endpoint` is whether the
/// address is that identity's by its own table of endpoints, which is the lease on one node; `lease` and `end` are what
/// `LEASES` has for the address and `LEASE_ENDS` for the pair's node.
#[inline(always)]
pub fn stands_by(
    pair: &AuthKey,
    own: NodeId,
    now: u64,
    is_endpoint: impl FnOnce() -> bool,
    lease: impl FnOnce() -> Option<Lease>,
    end: impl FnOnce() -> Option<LeaseEnd>,
) -> bool {
    if pair.node.0 == own.0 {
        return is_endpoint();
    }
    lease().is_some_and(|lease| lease.is_of(pair)) && end().is_some_and(|end| end.is_ahead(now))
}

layout!(LeaseKey, 16);
layout!(Lease, 8);
layout!(LeaseEndKey, 4);
layout!(LeaseEnd, 8);
