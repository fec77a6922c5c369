//! What is not as the sources say, and how each workload fares.

use std::net::IpAddr;

use signet_abi::{NodeId, SecurityIdentity};
use signet_policy::{CompileError, PolicyName};
use signet_spiffe::{NodeName, SpiffeId};
use thiserror::Error;

use crate::address::WorkloadAddress;
use crate::cidr::Cidr;
use crate::interface::{Ifindex, InterfaceName};
use crate::workload::WorkloadName;

/// Something that was left out, and why. The rest is in force.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    /// An address that the operator did not give to the workload's node.
    #[error(
        "workload {workload}: address {address} is outside the pod CIDRs of node {node} ({cidrs}): move the \
         workload, change its address, or give the node another CIDR when it joins"
    )]
    OutsideCidrs {
        /// Who claims it.
        workload: WorkloadName,
        /// The address.
        address: WorkloadAddress,
        /// The workload's node.
        node: NodeName,
        /// What the node has, for the message.
        cidrs: String,
    },
    /// Several workloads claim an address; unless the CA's CIDRs confirm one of them alone, it is believed of none.
    #[error("address {address} is claimed by {claimants}: none of them is believed, give each its own")]
    AddressConflict {
        /// The address.
        address: WorkloadAddress,
        /// Their names, for the message.
        claimants: String,
    },
    /// A workload claims an address of this node.
    #[error("workload {workload}: address {address} belongs to the node itself: give the workload another")]
    NodeAddress {
        /// Who claims it.
        workload: WorkloadName,
        /// The address.
        address: WorkloadAddress,
    },
    /// A node announced an address that is not its to announce.
    #[error("node {node} announces {address}, which belongs to {owner}: the announcement is not believed")]
    AnnouncedForeign {
        /// Who announced it.
        node: NodeName,
        /// The address.
        address: IpAddr,
        /// Whose it is.
        owner: String,
    },
    /// Two nodes were given blocks that overlap.
    #[error(
        "the pod CIDRs {cidr} of node {node} and {other_cidr} of node {other} overlap: give each node its own"
    )]
    CidrConflict {
        /// A block.
        cidr: Cidr,
        /// Its node.
        node: NodeName,
        /// The other block.
        other_cidr: Cidr,
        /// The other node.
        other: NodeName,
    },
    /// Several workloads of this node name one interface; none of them is set up.
    #[error("interface {interface} is claimed by {claimants}: none of them is set up, give each its own")]
    InterfaceConflict {
        /// The interface.
        interface: InterfaceName,
        /// Their names, for the message.
        claimants: String,
    },
    /// A workload's rules are too many for the kernel; it is closed.
    #[error("workload {workload} is closed in both directions, because of its policies ({policies})")]
    Policy {
        /// The workload.
        workload: WorkloadName,
        /// The policies that select it, for the message.
        policies: String,
        /// What is wrong with them.
        #[source]
        source: CompileError,
    },
}

/// Joins names for a message.
pub(crate) fn list<T: ToString>(names: impl IntoIterator<Item = T>) -> String {
    names
        .into_iter()
        .map(|name| name.to_string())
        .collect::<Vec<_>>()
        .join(", ")
}

/// How a workload fares.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EndpointState {
    /// Its addresses are believed, and, on this node, its interface is watched.
    #[error("ready")]
    Ready,
    /// Its interface is not there yet, or the programs are not attached to it.
    #[error("waiting for interface {0}")]
    WaitingForInterface(InterfaceName),
    /// Another workload names the same interface.
    #[error("interface {0} is claimed by another workload too")]
    InterfaceConflict(InterfaceName),
    /// Its node has not attested, so that nothing says where its addresses must lie.
    #[error("node {0} has not joined")]
    NodeUnknown(NodeName),
    /// None of its addresses is believed.
    #[error("none of its addresses is believed")]
    NoAddress,
    /// Some are, others not.
    #[error("not all of its addresses are believed")]
    SomeAddresses,
}

/// What became of one workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointReport {
    /// Which one.
    pub workload: WorkloadName,
    /// Whether it is on this node.
    pub local: bool,
    /// Its SPIFFE ID; `None` until the trust domain is known.
    pub spiffe_id: Option<SpiffeId>,
    /// Its identity: [`SecurityIdentity::UNMANAGED`] unless its SPIFFE ID is registered on its node.
    pub identity: SecurityIdentity,
    /// Its node's number; [`NodeId::NONE`] until the node has joined.
    pub node: NodeId,
    /// The addresses that are believed.
    pub addresses: Vec<WorkloadAddress>,
    /// Its interface, where it is local and the programs are attached.
    pub ifindex: Option<Ifindex>,
    /// Whether a policy selects it for ingress.
    pub ingress_enforced: bool,
    /// Whether a policy selects it for egress.
    pub egress_enforced: bool,
    /// The policies that select it.
    pub policies: Vec<PolicyName>,
    /// How it fares.
    pub state: EndpointState,
}
