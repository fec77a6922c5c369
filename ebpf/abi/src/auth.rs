//! `AUTH`: proofs. Hash; written by signet-agent alone, but for [`AuthValue::used`].

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

/// Until when the proof holds, and when it was needed last.
///
/// | bytes | field |
/// | --- | --- |
/// | 0..8 | `not_after` |
/// | 8..12 | `epoch` |
/// | 12..16 | `made` |
/// | 16..24 | `used` |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct AuthValue {
    /// `CLOCK_BOOTTIME`, ns. The proof is void from this instant on.
    pub not_after: u64,
    /// Counts the handshakes of this pair.
    pub epoch: u32,
    /// When the proof was made, seconds of `CLOCK_BOOTTIME`; 0: not known. For people: the kernel programs do not look at it.
    pub made: u32,
    /// When a packet last passed the proof, `CLOCK_BOOTTIME`, ns, give or take [`AuthValue::USE_GRANULE`]; signet-agent begins with when
    /// it was made. The kernel programs write it. Where the map is full it says who gives way; nothing is permitted by it.
    pub used: u64,
}

impl AuthValue {
    /// [`AuthValue::used`] is moved by at least so much, ns: most packets write nothing, and processors do not take the line from one
    /// another.
    pub const USE_GRANULE: u64 = 4_000_000_000;

    /// Whether the proof holds at this instant of `CLOCK_BOOTTIME`, ns.
    #[inline(always)]
    pub const fn is_live(&self, now: u64) -> bool {
        now < self.not_after
    }

    /// Whether a packet that passes now is to say so in [`AuthValue::used`].
    #[inline(always)]
    pub const fn is_use_stale(&self, now: u64) -> bool {
        now.wrapping_sub(self.used) >= Self::USE_GRANULE
    }

    /// For how long no packet has passed it, ns, give or take [`AuthValue::USE_GRANULE`].
    #[inline(always)]
    pub const fn unused_for(&self, now: u64) -> u64 {
        now.saturating_sub(self.used)
    }
}

layout!(AuthKey, 12);
layout!(AuthValue, 24);
