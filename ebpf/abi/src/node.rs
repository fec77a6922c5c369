//! `NODES`: how to reach each remote node, by [`crate::NodeId`]. Hash; written by signet-keyd.

use crate::layout;

/// Encryption towards one remote node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct NodeState {
    /// Device that encrypts for this node.
    pub tunnel_ifindex: u32,
    /// [`node_flags`].
    pub flags: u32,
    /// Counts key changes.
    pub epoch: u32,
    /// Always 0.
    pub reserved: u32,
}

/// Bits of [`NodeState::flags`].
pub mod node_flags {
    /// The peer has said that it can receive: packets for its workloads go into the tunnel.
    pub const SEND_ENCRYPTED: u32 = 1;
}

layout!(NodeState, 16);
