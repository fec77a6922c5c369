//! Bounds of one handshake.

use std::time::{Duration, Instant};

use signet_spiffe::UnixTime;

/// The two clocks that a handshake needs.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For deadlines.
    pub clock: Instant,
    /// For certificates.
    pub unix: UnixTime,
}

/// How long, how large, how many.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the first message to the proof.
    pub deadline: Duration,
    /// Bytes of TLS records, each way.
    pub bytes: usize,
    /// Messages with TLS records that the peer may send.
    pub messages: u32,
}

impl Default for Limits {
    /// A flight with both chains at their longest stays below 48 KiB, so that each fits one frame of the session.
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(5),
            bytes: 48 * 1024,
            messages: 8,
        }
    }
}
