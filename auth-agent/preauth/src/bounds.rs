//! How much is done ahead, and how fast.

/// How much is done ahead, and how fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Pairs that are kept proven; the rest waits for its first packet.
    pub pairs: usize,
    /// Handshakes at a time.
    pub in_flight: usize,
    /// Handshakes at a time with one node.
    pub per_node: usize,
    /// Handshakes at a time while a packet waits for a proof.
    pub beside_contacts: usize,
    /// Handshakes that may begin at once after a pause.
    pub burst: u32,
    /// From one handshake to the next once the burst is used up, ns.
    pub interval: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            pairs: 4096,
            in_flight: 16,
            per_node: 4,
            beside_contacts: 1,
            burst: 32,
            interval: 10_000_000,
        }
    }
}

/// How things stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fill {
    /// Pairs that are to be kept proven.
    pub chosen: usize,
    /// Pairs that are possible and that there is no room for.
    pub left_out: u64,
    /// Of the chosen, those whose turn has not come.
    pub waiting: usize,
    /// Of those, the ones that failed and are not tried again yet, their nodes' failures included.
    pub backing_off: usize,
    /// Of those, the ones that cannot be tried now: an SVID, an endpoint or a registration is not there.
    pub absent: usize,
    /// Handshakes that are under way.
    pub in_flight: usize,
}
