//! Compiled rules.

use aya_ebpf::macros::map;
use aya_ebpf::maps::LpmTrie;
use signet_abi::{PolicyKey, PolicyValue};

/// Whose policy, the other side and which traffic → verdict.
#[map]
pub static POLICY: LpmTrie<PolicyKey, PolicyValue> = LpmTrie::pinned(65_536, 0);
