//! Who is who: numbers, names and addresses of the simulated trust domain.

use std::net::{IpAddr, Ipv4Addr};

use signet_abi::SecurityIdentity;
use signet_session::NodeNumber;
use signet_spiffe::{NodeName, SpiffeId, TrustDomain};

/// Numbers of workload identities begin here.
const FIRST_IDENTITY: u32 = 256;
/// Blocks of addresses that two nodes share begin here.
const SHARED: u32 = 32_768;

/// The one trust domain.
pub fn trust_domain() -> TrustDomain {
    TrustDomain::parse("sim.example").expect("a trust domain")
}

/// The node with this number, from 1.
pub fn node(number: u32) -> NodeNumber {
    NodeNumber::new(number).expect("numbers of nodes begin at 1")
}

/// A node's SPIFFE ID.
pub fn node_id(node: NodeNumber) -> SpiffeId {
    let name = NodeName::parse(&format!("n{node}")).expect("a name");
    SpiffeId::node(&trust_domain(), &name)
}

/// The workload with this number, from 0.
pub fn workload(number: u32) -> SpiffeId {
    SpiffeId::workload(&trust_domain(), "sim", &format!("w{number}")).expect("a SPIFFE ID")
}

/// Its security identity.
pub fn identity(number: u32) -> SecurityIdentity {
    SecurityIdentity(FIRST_IDENTITY + number)
}

/// The `slot`-th address in a node's own block.
pub fn own_address(node: NodeNumber, slot: u8) -> IpAddr {
    in_block(node.get(), slot)
}

/// The `slot`-th address in the block that this node shares with its neighbour by number.
pub fn shared_address(node: NodeNumber, slot: u8) -> IpAddr {
    in_block(SHARED + node.get() / 2, slot)
}

/// Whether the node may have the address.
pub fn has_address(node: NodeNumber, address: IpAddr) -> bool {
    let IpAddr::V4(address) = address else {
        return false;
    };
    let block = address.to_bits() >> 8 & 0xffff;
    block == node.get() || block == SHARED + node.get() / 2
}

fn in_block(block: u32, slot: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(10 << 24 | block << 8 | u32::from(slot)))
}
