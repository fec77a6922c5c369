//! The view, as what claims are judged by.

use std::net::IpAddr;

use signet_abi::SecurityIdentity;
use signet_lease::Facts;
use signet_session::NodeNumber;
use signet_spiffe::SpiffeId;

use crate::pairs::is_node;
use crate::view::View;

impl Facts for View {
    fn is_member(&self, node: NodeNumber) -> bool {
        self.node_by_number(node).is_some() && self.revocations().banned(node).is_none()
    }

    fn registered(&self, node: NodeNumber, id: &SpiffeId) -> Option<SecurityIdentity> {
        let node = self.node_by_number(node)?;
        if is_node(self, id, node) {
            return Some(SecurityIdentity::REMOTE_NODE);
        }
        let name = &node.name;
        let identity = self.identity(id)?;
        self.is_registered_on(id, name).then_some(identity)
    }

    fn has_address(&self, node: NodeNumber, address: IpAddr) -> bool {
        // Whose addresses it has itself, a node says for itself; that one of them is a workload's, no `IPCACHE` says.
        self.node_by_number(node).is_some_and(|node| {
            node.addresses.contains(&address) || node.pod_cidrs.iter().any(|cidr| covers(cidr, address))
        })
    }

    fn spiffe_id(&self, identity: SecurityIdentity) -> Option<SpiffeId> {
        View::spiffe_id(self, identity).cloned()
    }
}

/// Whether `address` is in `cidr`. What cannot be read has no addresses.
fn covers(cidr: &str, address: IpAddr) -> bool {
    let Some((network, bits)) = cidr.split_once('/') else {
        return false;
    };
    let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>()) else {
        return false;
    };
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            network.to_bits() & mask == address.to_bits() & mask
        }
        (IpAddr::V6(network), IpAddr::V6(address)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            network.to_bits() & mask == address.to_bits() & mask
        }
        (IpAddr::V4(_) | IpAddr::V6(_), _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_a_block_of_its_own_family_alone() {
        let rows = [
            ("10.244.1.0/24", "10.244.1.255", true),
            ("10.244.1.0/24", "10.244.2.1", false),
            ("10.244.1.7/32", "10.244.1.7", true),
            ("10.244.1.7/32", "10.244.1.8", false),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("fd00:244:1::/64", "fd00:244:1::9", true),
            ("fd00:244:1::/64", "fd00:244:2::9", false),
            ("::/0", "fd00::1", true),
            ("::/0", "10.0.0.1", false),
            ("10.244.1.0/33", "10.244.1.1", false),
            ("10.244.1.0", "10.244.1.0", false),
            ("nonsense/8", "10.244.1.0", false),
            ("10.0.0.0/-1", "10.0.0.1", false),
        ];
        for (cidr, address, is_in) in rows {
            let address = address.parse().expect("an address");
            assert_eq!(covers(cidr, address), is_in, "{cidr} {address}");
        }
    }
}
