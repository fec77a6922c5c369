//! `CONFIG`: what all kernel programs of a node need to know. Array of one; written by signet-meshd.

use crate::{NodeId, layout};

/// One node's settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct MeshConfig {
    /// [`crate::ABI_VERSION`] of the writer. Programs drop everything while it differs from their own.
    pub abi_version: u32,
    /// This node's number; 0 until the CA has told it.
    pub node: NodeId,
    /// Goes up with every change of endpoints, ipcache or policy; a conntrack entry's cached verdict of an older
    /// epoch is judged again. Never 0 once set.
    pub policy_epoch: u32,
    /// Interface that unproven packets are redirected to; 0: none, they are dropped.
    pub parking_ifindex: u32,
    /// Room for feature bits; 0.
    pub features: u64,
    /// What a [`crate::ParkingTicket`] has to say; known to root alone. 0: nothing comes back from the parking device.
    pub parking_secret: u64,
}

layout!(MeshConfig, 32);
