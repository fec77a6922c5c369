//! This node's settings, and how to reach the others.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap};
use signet_abi::{MeshConfig, NodeId, NodeState};

/// One entry.
#[map]
pub static CONFIG: Array<MeshConfig> = Array::pinned(1, 0);

/// Node → encryption state.
#[map]
pub static NODES: HashMap<NodeId, NodeState> = HashMap::pinned(4_096, 0);
