//! What claims are judged by.

use std::fmt;
use std::net::IpAddr;

use signet_abi::SecurityIdentity;
use signet_session::NodeNumber;
use signet_spiffe::SpiffeId;

/// What this node knows of the trust domain.
pub trait Facts {
    /// Whether the node belongs to the trust domain, and is not banned.
    fn is_member(&self, node: NodeNumber) -> bool;
    /// The number of an identity that is registered on the node.
    fn registered(&self, node: NodeNumber, id: &SpiffeId) -> Option<SecurityIdentity>;
    /// Whether the address is one of the node's workloads', as the operator has it.
    fn has_address(&self, node: NodeNumber, address: IpAddr) -> bool;
    /// Which identity has the number.
    fn spiffe_id(&self, identity: SecurityIdentity) -> Option<SpiffeId>;
}

/// Why a claim is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The identity is not registered on the node that claims it.
    NotRegistered,
    /// The address is in none of the node's pod CIDRs.
    NotItsAddress,
    /// The address is a workload's of this node.
    Ours,
    /// These other nodes claim the address, too. None is believed.
    Conflict(Vec<NodeNumber>),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRegistered => f.write_str("the identity is not registered on that node"),
            Self::NotItsAddress => f.write_str("the address is in none of that node's pod CIDRs"),
            Self::Ours => f.write_str("the address is a workload's of this node"),
            Self::Conflict(others) => {
                f.write_str("another node claims the address, too (node ")?;
                for (number, other) in others.iter().enumerate() {
                    let separator = if number == 0 { "" } else { ", " };
                    write!(f, "{separator}{other}")?;
                }
                f.write_str("); none is believed until one withdraws it")
            }
        }
    }
}
