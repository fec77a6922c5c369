//! Whether the peer still speaks.

use std::time::Instant;

use crate::limits::Limits;

/// Sends a ping into silence and gives up after too much of it.
#[derive(Debug)]
pub(crate) struct Liveness {
    heard: Instant,
    pinged: Option<Instant>,
    nonce: u64,
}

/// What the time asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pulse {
    Quiet,
    Ping(u64),
    Dead,
}

impl Liveness {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            heard: now,
            pinged: None,
            nonce: 0,
        }
    }

    /// Anything from the peer proves that it is alive.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.pinged = None;
    }

    pub(crate) fn tick(&mut self, limits: &Limits, now: Instant) -> Pulse {
        if now >= self.heard + limits.dead_after {
            return Pulse::Dead;
        }
        if self.pinged.is_none() && now >= self.heard + limits.ping_after {
            self.pinged = Some(now);
            self.nonce += 1;
            return Pulse::Ping(self.nonce);
        }
        Pulse::Quiet
    }

    pub(crate) fn deadline(&self, limits: &Limits) -> Instant {
        match self.pinged {
            Some(_) => self.heard + limits.dead_after,
            None => self.heard + limits.ping_after,
        }
    }
}
