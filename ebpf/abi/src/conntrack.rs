//! `CT4` and `CT6`: connections by the initiator's five-tuple. LRU hash; written by the kernel programs.

use crate::{NodeId, SecurityIdentity, layout};

/// An IPv4 connection as its initiator sees it. ICMP echo stores its identifier in both ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct Ct4Key {
    /// Initiator.
    pub source: [u8; 4],
    /// Responder.
    pub destination: [u8; 4],
    /// Big-endian.
    pub source_port: [u8; 2],
    /// Big-endian.
    pub destination_port: [u8; 2],
    /// IP protocol number.
    pub protocol: u8,
    /// [`crate::Direction`] as `u8`, seen from the local endpoint: who opened the connection.
    pub direction: u8,
    /// Always 0.
    pub reserved: [u8; 2],
}

/// An IPv6 connection as its initiator sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct Ct6Key {
    /// Initiator.
    pub source: [u8; 16],
    /// Responder.
    pub destination: [u8; 16],
    /// Big-endian.
    pub source_port: [u8; 2],
    /// Big-endian.
    pub destination_port: [u8; 2],
    /// IP protocol number.
    pub protocol: u8,
    /// [`crate::Direction`] as `u8`.
    pub direction: u8,
    /// Always 0.
    pub reserved: [u8; 2],
}

/// What is remembered of a connection: its life, and the last verdict of the initiator's direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct CtValue {
    /// `CLOCK_BOOTTIME`, ns. The entry is dead from this instant on.
    pub expires: u64,
    /// `policy_epoch` of the cached verdict below.
    pub policy_epoch: u32,
    /// Identity of the local endpoint.
    pub local: SecurityIdentity,
    /// Identity of the other side.
    pub remote: SecurityIdentity,
    /// The other side's node.
    pub node: NodeId,
    /// Rule that allowed it ([`crate::PolicyValue::rule`]).
    pub rule: u32,
    /// Interface of the local endpoint; the cached verdict holds on no other.
    pub ifindex: u32,
    /// [`crate::Authentication`] as `u8`.
    pub authentication: u8,
    /// [`ct_flags`].
    pub flags: u8,
    /// Always 0. Numbers and not an array, which the kernel programs could only clear in a loop.
    pub reserved: u16,
    /// Always 0.
    pub room: u32,
}

/// Bits of [`CtValue::flags`].
pub mod ct_flags {
    /// The responder has answered.
    pub const SEEN_REPLY: u8 = 1;
    /// The initiator sent FIN.
    pub const FIN_FORWARD: u8 = 2;
    /// The responder sent FIN.
    pub const FIN_REPLY: u8 = 4;
    /// Either side sent RST.
    pub const RST: u8 = 8;
}

layout!(Ct4Key, 16);
layout!(Ct6Key, 40);
layout!(CtValue, 40);
