//! What user space is told.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{PerCpuArray, RingBuf};
use signet_abi::METRICS_LEN;

/// [`signet_abi::Signal`]s.
#[map]
pub static SIGNALS: RingBuf = RingBuf::pinned(262_144, 0);

/// [`signet_abi::Flow`]s.
#[map]
pub static FLOWS: RingBuf = RingBuf::pinned(1_048_576, 0);

/// Packets and bytes by [`signet_abi::metrics_index`].
#[map]
pub static METRICS: PerCpuArray<[u64; 2]> = PerCpuArray::pinned(METRICS_LEN, 0);
