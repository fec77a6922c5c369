//! Which address everything gets. Labs never meet, so all of them use the same ranges.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The CA on the underlay.
pub(crate) const CA_IPV4: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 2);
/// The CA on the underlay.
pub(crate) const CA_IPV6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x30, 0, 0, 0, 0, 0, 2);
/// A workload's IPv4 next hop: on its veth only, owned by nobody.
pub(crate) const GATEWAY_IPV4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// A workload's IPv6 next hop: on its veth only, owned by nobody.
pub(crate) const GATEWAY_IPV6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
/// Most nodes of a lab.
pub(super) const MAX_NODES: usize = 64;
/// Most workloads of a node.
pub(super) const MAX_WORKLOADS: usize = 200;

/// Underlay address of the node at this place in the file.
pub(super) fn node_ipv4(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(172, 30, 0, octet(11 + index))
}

/// Underlay address of the node at this place in the file.
pub(super) fn node_ipv6(index: usize) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0x30, 0, 0, 0, 0, 0, readable(11 + index))
}

/// Whether an address is on the underlay.
pub(super) fn on_underlay_ipv4(address: Ipv4Addr) -> bool {
    matches!(address.octets(), [172, 30, 0, last] if last != 0 && last != 255) && address != CA_IPV4
}

/// Whether an address is on the underlay.
pub(super) fn on_underlay_ipv6(address: Ipv6Addr) -> bool {
    address.segments()[..4] == [0xfd00, 0x30, 0, 0] && address != CA_IPV6
}

/// CIDRs of a node's workloads.
pub(super) fn pod_cidrs(node: usize) -> [String; 2] {
    [
        format!("10.244.{}.0/24", node + 1),
        format!("fd00:244:{}::/64", node + 1),
    ]
}

/// Address of a node's workload at this place.
pub(super) fn workload_ipv4(node: usize, slot: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 244, octet(node + 1), octet(10 + slot))
}

/// Address of a node's workload at this place.
pub(super) fn workload_ipv6(node: usize, slot: usize) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0x244, readable(node + 1), 0, 0, 0, 0, readable(10 + slot))
}

/// A locally administered MAC; `side` tells the two ends of a veth apart.
pub(super) fn mac(side: u8, node: usize, slot: usize) -> String {
    format!(
        "02:53:47:{side:02x}:{:02x}:{:02x}",
        octet(node + 1),
        octet(10 + slot)
    )
}

/// Indexes are bounded by [`MAX_NODES`] and [`MAX_WORKLOADS`] before they come here.
fn octet(number: usize) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

/// A group whose hexadecimal digits read like the decimal number, so that the two families look alike.
fn readable(number: usize) -> u16 {
    u16::from_str_radix(&number.to_string(), 16).unwrap_or(u16::MAX)
}
