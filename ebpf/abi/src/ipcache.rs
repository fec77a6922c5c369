//! `IPCACHE`: which identity an address has, and on which node. LPM trie; written by signet-meshd.

use crate::{Address, NodeId, SecurityIdentity, layout};

/// The data half of the trie's key; the prefix length beside it counts bits of `address` (IPv4: 96 + n).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct IpcacheKey {
    /// Network order, IPv4 mapped.
    pub address: Address,
}

/// What an address stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct IpcacheValue {
    /// The identity that the address carries.
    pub identity: SecurityIdentity,
    /// The node it lives on; [`NodeId::NONE`] outside the cluster.
    pub node: NodeId,
}

layout!(IpcacheKey, 16);
layout!(IpcacheValue, 8);
