//! `FRAGMENTS`: the ports of datagrams that come in pieces. LRU hash; written by the kernel programs.

use crate::{Address, layout};

/// A datagram in pieces (RFC 791 section 3.2, RFC 8200 section 4.5), as one hook sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct FragmentKey {
    /// Who sends it.
    pub source: Address,
    /// Whom to.
    pub destination: Address,
    /// The number that its pieces share, as it stands in the header (IPv4: zeros behind).
    pub id: u32,
    /// IPv4: IP protocol number. IPv6: 0, for the pieces' own next headers mean nothing but the first one's (RFC 8200 section 4.5).
    pub protocol: u8,
    /// [`crate::Direction`] as `u8`: the hook.
    pub direction: u8,
    /// Always 0.
    pub reserved: u16,
}

/// What its first piece says of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FragmentValue {
    /// `CLOCK_BOOTTIME`, ns. The entry is dead from this instant on.
    pub expires: u64,
    /// Big-endian.
    pub source_port: [u8; 2],
    /// Big-endian.
    pub destination_port: [u8; 2],
    /// Where it belongs in its connection; a number of the kernel programs' own.
    pub kind: u8,
    /// ICMP type.
    pub icmp_type: u8,
    /// IP protocol number: what the first piece says is what the whole carries.
    pub protocol: u8,
    /// Always 0.
    pub reserved: u8,
}

layout!(FragmentKey, 40);
layout!(FragmentValue, 16);
