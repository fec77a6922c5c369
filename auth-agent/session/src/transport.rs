//! Epochs of the two transport offers of a session, and how often the peer may do what costs us something.

use std::time::{Duration, Instant};

use crate::message::Offer;

/// A bound on how often something may happen: `burst` at once, one more every `refill`.
#[derive(Debug)]
pub(crate) struct Bucket {
    burst: u32,
    refill: Duration,
    /// The instant at which the bucket is full again.
    full_at: Instant,
}

impl Bucket {
    pub(crate) fn new(burst: u32, refill: Duration, now: Instant) -> Self {
        Self {
            burst,
            refill,
            full_at: now,
        }
    }

    /// Takes one, if there is one.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let next = self.full_at.max(now) + self.refill;
        if next > now + self.refill * self.burst {
            return false;
        }
        self.full_at = next;
        true
    }
}

/// Which offers are current.
#[derive(Debug, Default)]
pub(crate) struct Epochs {
    ours: Option<u64>,
    theirs: Option<u64>,
}

impl Epochs {
    pub(crate) fn offered(&mut self, epoch: u64) {
        self.ours = Some(epoch);
    }

    /// Whether the peer's offer may follow its last one: epochs never go back within a session.
    pub(crate) fn accepts(&mut self, offer: &Offer) -> bool {
        if self.theirs.is_some_and(|last| offer.key_epoch < last) {
            return false;
        }
        self.theirs = Some(offer.key_epoch);
        true
    }

    /// Whether the peer speaks of our current offer; an answer to an older one is late, not wrong.
    pub(crate) fn is_current(&self, epoch: u64) -> bool {
        self.ours == Some(epoch)
    }
}
