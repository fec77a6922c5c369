//! Headers as they stand on the wire, and the numbers in them.

use crate::address::Words;

/// IP protocol numbers that are told apart (IANA "Protocol Numbers").
pub mod protocol {
    pub const HOP_BY_HOP: u8 = 0;
    pub const ICMP: u8 = 1;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const IPV6_ROUTING: u8 = 43;
    pub const IPV6_FRAGMENT: u8 = 44;
    pub const AH: u8 = 51;
    pub const ICMPV6: u8 = 58;
    pub const NO_NEXT_HEADER: u8 = 59;
    pub const DESTINATION_OPTIONS: u8 = 60;
    pub const SCTP: u8 = 132;
    pub const MOBILITY: u8 = 135;
    pub const HIP: u8 = 139;
    pub const SHIM6: u8 = 140;
    pub const EXPERIMENT_1: u8 = 253;
    pub const EXPERIMENT_2: u8 = 254;
}

/// TCP flags (RFC 9293 section 3.1).
pub mod tcp {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const ACK: u8 = 0x10;
}

#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Ipv4 {
    pub(super) version_ihl: u8,
    pub(super) tos: u8,
    pub(super) total_length: u16,
    pub(super) id: u16,
    pub(super) fragment: u16,
    pub(super) ttl: u8,
    pub(super) protocol: u8,
    pub(super) checksum: u16,
    pub(super) source: u32,
    pub(super) destination: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Ipv6 {
    pub(super) version_class_flow: u32,
    pub(super) payload_length: u16,
    pub(super) next_header: u8,
    pub(super) hop_limit: u8,
    pub(super) source: Words,
    pub(super) destination: Words,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Extension {
    pub(super) next_header: u8,
    /// In 8-byte units beyond the first.
    pub(super) length: u8,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Tcp {
    pub(super) source_port: u16,
    pub(super) destination_port: u16,
    pub(super) sequence: u32,
    pub(super) acknowledgement: u32,
    pub(super) data_offset: u8,
    pub(super) flags: u8,
    pub(super) window: u16,
    pub(super) checksum: u16,
    pub(super) urgent: u16,
}

/// RFC 826, for Ethernet and IPv4.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Arp {
    pub(super) hardware: u16,
    pub(super) protocol: u16,
    pub(super) hardware_length: u8,
    pub(super) protocol_length: u8,
    pub(super) operation: u16,
    pub(super) sender_mac: [u8; 6],
    pub(super) sender: [u8; 4],
    pub(super) target_mac: [u8; 6],
    pub(super) target: [u8; 4],
}

/// The first 8 bytes of UDP, SCTP and every ICMP message.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Head {
    pub(super) first: u16,
    pub(super) second: u16,
    pub(super) third: u16,
    pub(super) fourth: u16,
}

#[inline(always)]
pub(super) fn version(ip: &Ipv6) -> u8 {
    let [first, ..] = ip.version_class_flow.to_ne_bytes();
    first >> 4
}
