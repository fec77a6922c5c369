//! What kernel programs tell user space through ring buffers.

use crate::{Address, NodeId, SecurityIdentity, layout};

/// Why signet-agent is to see to a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum SignalCause {
    /// A packet towards a local endpoint lacks a proof.
    Ingress = 0,
    /// A packet from a local endpoint lacks a proof.
    Egress = 1,
    /// There is a proof, and no lease of the other side's address, or one that has lapsed.
    Lease = 2,
}

/// `SIGNALS`: a pair needs a proof, or a lease. Read by signet-agent. At most one per pair and 200 ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Signal {
    /// Identity of the endpoint on this node.
    pub local: SecurityIdentity,
    /// Identity of the other side.
    pub remote: SecurityIdentity,
    /// The other side's node; this node's own number for a pair on one node.
    pub node: NodeId,
    /// Address family: 4 or 6.
    pub family: u8,
    /// [`SignalCause`] as `u8`.
    pub cause: u8,
    /// Always 0.
    pub reserved: [u8; 2],
    /// `CLOCK_BOOTTIME`, ns.
    pub at: u64,
}

/// `FLOWS`: one judgement worth seeing: the first packet of a connection, a drop, or a connection's end.
/// Read by signet-meshd.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Flow {
    /// `CLOCK_BOOTTIME`, ns.
    pub at: u64,
    /// Source address of this packet.
    pub source: Address,
    /// Destination address of this packet.
    pub destination: Address,
    /// Identity of the source.
    pub source_identity: SecurityIdentity,
    /// Identity of the destination.
    pub destination_identity: SecurityIdentity,
    /// The remote side's node.
    pub node: NodeId,
    /// Rule that decided; 0: none.
    pub rule: u32,
    /// Interface at which the packet was judged.
    pub ifindex: u32,
    /// Bytes on the wire.
    pub length: u32,
    /// Big-endian.
    pub source_port: [u8; 2],
    /// Big-endian.
    pub destination_port: [u8; 2],
    /// IP protocol number.
    pub protocol: u8,
    /// [`crate::Reason`] as `u8`. Of what passed at a workload: whether the tunnel has it next, or had it before.
    pub reason: u8,
    /// [`flow_hooks`].
    pub hook: u8,
    /// TCP flags of the packet (RFC 9293 section 3.1, the low byte); 0 for other protocols.
    pub tcp_flags: u8,
}

/// Values of [`Flow::hook`].
pub mod flow_hooks {
    /// A packet leaving a workload.
    pub const FROM_CONTAINER: u8 = 0;
    /// A packet reaching a workload.
    pub const TO_CONTAINER: u8 = 1;
    /// A packet arriving at the uplink.
    pub const FROM_NETDEV: u8 = 2;
    /// A packet leaving by the uplink.
    pub const TO_NETDEV: u8 = 3;
    /// A packet that came out of the tunnel.
    pub const FROM_TUNNEL: u8 = 4;
}

layout!(Signal, 24);
layout!(Flow, 72);
