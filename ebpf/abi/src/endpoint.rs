//! `ENDPOINTS`: the workload interfaces of this node, by address. Hash, key [`crate::Address`]; written by signet-meshd.

use crate::{PolicyId, SecurityIdentity, layout};

/// The local endpoint that owns an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Endpoint {
    /// Host-side interface. A packet from this address is believed only on this interface, and later only if this one, or
    /// `through`, is the last that received it.
    pub ifindex: u32,
    /// The endpoint's identity.
    pub identity: SecurityIdentity,
    /// Which entries of `POLICY` are its.
    pub policy: PolicyId,
    /// [`endpoint_flags`].
    pub flags: u32,
    /// The workload's MAC; all zero where not known.
    pub mac: [u8; 6],
    /// The host side's MAC; all zero where not known.
    pub host_mac: [u8; 6],
    /// The bridge or VRF that the host routes the interface's packets through; 0: none. What the interface receives then
    /// counts as received by this one, once it has been routed.
    pub through: u32,
}

/// Bits of [`Endpoint::flags`].
pub mod endpoint_flags {
    /// A policy selects the endpoint for ingress: what no rule allows is dropped.
    pub const INGRESS_ENFORCED: u32 = 1;
    /// A policy selects the endpoint for egress: what no rule allows is dropped.
    pub const EGRESS_ENFORCED: u32 = 2;
}

layout!(Endpoint, 32);
