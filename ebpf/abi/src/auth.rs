//! `AUTH`: proofs. Hash; written by signet-agent alone.

use crate::{NodeId, SecurityIdentity, layout};

/// Who was proven to whom, and on which node the remote side was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct AuthKey {
    /// Identity of the endpoint on this node.
    pub local: SecurityIdentity,
    /// Identity of the other side.
    pub remote: SecurityIdentity,
    /// The other side's node; this node's own number for a pair on one node.
    pub node: NodeId,
}

/// Until when the proof holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct AuthValue {
    /// `CLOCK_BOOTTIME`, ns. The proof is void from this instant on.
    pub not_after: u64,
    /// Counts the handshakes of this pair.
    pub epoch: u32,
    /// When the proof was made, seconds of `CLOCK_BOOTTIME`; 0: not known. For people: the kernel programs do not look at it.
    pub made: u32,
}

impl AuthValue {
    /// Whether the proof holds at this instant of `CLOCK_BOOTTIME`, ns.
    #[inline(always)]
    pub const fn is_live(&self, now: u64) -> bool {
        now < self.not_after
    }
}

layout!(AuthKey, 12);
layout!(AuthValue, 16);
