//! How much may wait.

use std::time::Duration;

/// Bounds of a [`crate::Lot`].
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Packets of one pair.
    pub pair_packets: usize,
    /// Bytes of one pair.
    pub pair_bytes: usize,
    /// Packets, all together.
    pub packets: usize,
    /// Bytes, all together.
    pub bytes: usize,
    /// How long one may wait.
    pub wait: Duration,
}

impl Default for Bounds {
    /// What a workload sends before it hears an answer: a first flight of TCP, a burst of datagrams. Time enough for an agent to
    /// restart at the other end; then the sender hears nothing, and asks again or gives up.
    fn default() -> Self {
        Self {
            pair_packets: 64,
            pair_bytes: 128 * 1024,
            packets: 4096,
            bytes: 8 * 1024 * 1024,
            wait: Duration::from_secs(3),
        }
    }
}
