//! What became of packets.

/// Packets since the start, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Taken in.
    pub parked: u64,
    /// Taken out, because their pair was proven.
    pub released: u64,
    /// Taken out, because their pair could not be proven.
    pub refused: u64,
    /// Taken out, because they had waited for too long.
    pub expired: u64,
    /// Taken out or not taken in, because there was no room: their own, or that of others whose source had taken more than its share.
    pub overflowed: u64,
}

/// What waits now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fill {
    /// Pairs with a packet.
    pub pairs: usize,
    /// Packets.
    pub packets: usize,
    /// Their bytes.
    pub bytes: usize,
}
