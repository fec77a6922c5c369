//! `POLICY`: compiled rules. LPM trie; written by signet-meshd.

use crate::{PolicyId, SecurityIdentity, layout};

/// Which way a packet goes, seen from the local endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Direction {
    /// Towards the endpoint.
    Ingress = 0,
    /// Away from the endpoint.
    Egress = 1,
}

impl Direction {
    /// The other way.
    #[must_use]
    #[inline(always)]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Ingress => Self::Egress,
            Self::Egress => Self::Ingress,
        }
    }
}

/// What a rule says about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Verdict {
    /// Let it pass, subject to [`Authentication`].
    Allow = 1,
    /// Drop it, whatever other rules allow.
    Deny = 2,
}

/// What an allowing rule asks for besides. Ordered: where several rules match, the greatest wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Authentication {
    /// Nothing.
    Disabled = 0,
    /// A live proof for the pair; a sender that there can be none for is told so. Weaker than the next: where one of several
    /// rules says nothing to strangers, none does.
    RequiredOrRejected = 1,
    /// A live proof for the pair; a sender that there can be none for hears nothing.
    Required = 2,
    /// Something that cannot be had: always refused.
    AlwaysFail = 3,
}

impl Authentication {
    /// Whether a proof can give what it asks for.
    #[must_use]
    #[inline(always)]
    pub const fn asks_for_proof(self) -> bool {
        match self {
            Self::RequiredOrRejected | Self::Required => true,
            Self::Disabled | Self::AlwaysFail => false,
        }
    }
}

/// The data half of the trie's key. The prefix always covers `policy`, `identity` and `direction`
/// ([`PolicyKey::PREFIX_BASE`] bits), then 0 or 8 bits of `protocol`, then 0 to 16 bits of `port`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct PolicyKey {
    /// Whose policy.
    pub policy: PolicyId,
    /// The other side; [`SecurityIdentity::ANY`] for rules that name none. Entries of a named identity already
    /// include what the wildcard entries say, so a named hit is final.
    pub identity: SecurityIdentity,
    /// [`Direction`] as `u8`.
    pub direction: u8,
    /// IP protocol number.
    pub protocol: u8,
    /// Destination port of the initiator's direction, big-endian; 0 where the protocol has none.
    pub port: [u8; 2],
}

impl PolicyKey {
    /// Bits of the prefix that are always there.
    pub const PREFIX_BASE: u32 = 72;
    /// Prefix of an entry for one protocol and all its ports.
    pub const PREFIX_PROTOCOL: u32 = 80;
    /// Prefix of an entry for exactly one port, and of every look-up.
    pub const PREFIX_FULL: u32 = 96;
}

/// A compiled rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct PolicyValue {
    /// [`Verdict`] as `u8`; programs treat anything else as deny.
    pub verdict: u8,
    /// [`Authentication`] as `u8`; programs treat anything unknown as always-fail.
    pub authentication: u8,
    /// Port of the L7 proxy, big-endian; 0: none.
    pub proxy_port: [u8; 2],
    /// The rule that decided, a number of the node's rule table, for `signet explain` and flows. 0, with a deny: no
    /// rule matches this identity, though one of [`SecurityIdentity::ANY`] would.
    pub rule: u32,
}

layout!(PolicyKey, 12);
layout!(PolicyValue, 8);
