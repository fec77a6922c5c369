//! Proofs and leases, and when a pair that lacks one was last signalled.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{HashMap, LruHashMap};
use signet_abi::{AuthKey, AuthValue, Lease, LeaseEnd, NodeId};

use crate::address::Words;

/// Pair and node → proof.
#[map]
pub static AUTH: HashMap<AuthKey, AuthValue> = HashMap::pinned(65_536, 0);

/// Address on another node → what that node says of it.
#[map]
pub static LEASES: HashMap<Words, Lease> = HashMap::pinned(65_536, 0);

/// Node → until when its word counts.
#[map]
pub static LEASE_ENDS: HashMap<NodeId, LeaseEnd> = HashMap::pinned(4_096, 0);

/// Pair and node → `CLOCK_BOOTTIME`, ns, of the last signal.
#[map]
pub static SIGNALLED: LruHashMap<AuthKey, u64> = LruHashMap::pinned(16_384, 0);
