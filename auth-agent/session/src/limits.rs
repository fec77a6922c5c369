//! Bounds of a node session.

use std::time::Duration;

/// How long things may take and how many there may be. Everything a peer can cause has one.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the end of the TLS handshake to the peer's `Hello`.
    pub hello: Duration,
    /// Silence after which we send a `Ping`.
    pub ping_after: Duration,
    /// Silence after which the peer is taken for dead.
    pub dead_after: Duration,
    /// Handshakes that the peer may have open at a time.
    pub peer_handshakes: usize,
    /// Handshakes that the peer may open in a burst.
    pub open_burst: u32,
    /// Time in which one more handshake of the peer's is granted.
    pub open_refill: Duration,
    /// Handshakes that we may have open at a time.
    pub own_handshakes: usize,
    /// Transport messages that the peer may send in a burst.
    pub transport_burst: u32,
    /// Time in which one more transport message is granted.
    pub transport_refill: Duration,
    /// Pings that the peer may send in a burst.
    pub ping_burst: u32,
    /// Time in which one more ping is granted.
    pub ping_refill: Duration,
    /// Questions for leases that the peer may send in a burst.
    pub ask_burst: u32,
    /// Time in which one more question is granted.
    pub ask_refill: Duration,
    /// Whole tables of its addresses that the peer may send in a burst.
    pub table_burst: u32,
    /// Time in which one more table is granted.
    pub table_refill: Duration,
    /// Changes of its addresses that the peer may send in a burst.
    pub delta_burst: u32,
    /// Time in which one more change is granted.
    pub delta_refill: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            hello: Duration::from_secs(5),
            ping_after: Duration::from_secs(5),
            dead_after: Duration::from_secs(15),
            peer_handshakes: 64,
            // A node that comes back proves a thousand pairs in seconds; one that never stops costs us part of a core.
            open_burst: 512,
            open_refill: Duration::from_millis(5),
            own_handshakes: 64,
            transport_burst: 64,
            transport_refill: Duration::from_millis(100),
            ping_burst: 32,
            ping_refill: Duration::from_millis(500),
            ask_burst: 8,
            ask_refill: Duration::from_millis(250),
            table_burst: 8,
            table_refill: Duration::from_secs(1),
            // A change of everything takes as many messages as a table has parts.
            delta_burst: 600,
            delta_refill: Duration::from_millis(50),
        }
    }
}
