//! Proofs, and when a pair without one was last signalled.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{HashMap, LruHashMap};
use signet_abi::{AuthKey, AuthValue};

/// Pair and node → proof.
#[map]
pub static AUTH: HashMap<AuthKey, AuthValue> = HashMap::pinned(65_536, 0);

/// Pair and node → `CLOCK_BOOTTIME`, ns, of the last signal.
#[map]
pub static SIGNALLED: LruHashMap<AuthKey, u64> = LruHashMap::pinned(16_384, 0);
