//! Whether this node still sees its own endpoints: whoever does not, says nothing of them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use signet_maps::boottime_now;
use signet_session::LONGEST;

const SEES: u64 = u64::MAX;
const NEVER: u64 = 0;

/// When this node has seen its endpoints last.
///
/// One word, written by the one task that follows signet-meshd and read by every session: whichever of two values a reader
/// sees, it was true a moment ago, and nothing else depends on the order.
#[derive(Debug, Default)]
pub struct Sight(AtomicU64);

impl Sight {
    /// signet-meshd has just told of them, or that nothing has changed.
    pub fn hear(&self) {
        self.0.store(boottime_now(), Relaxed);
    }

    /// signet-meshd has just told of them, and tells what changes for as long as it is there.
    pub fn open(&self) {
        self.0.store(SEES, Relaxed);
    }

    /// signet-meshd is gone.
    pub fn lose(&self) {
        // Whoever had lost it before has not seen anything since.
        let _ = self.0.compare_exchange(SEES, boottime_now(), Relaxed, Relaxed);
    }

    /// Nothing was ever seen.
    pub fn forget(&self) {
        self.0.store(0, Relaxed);
    }

    /// For how long others may believe from now on what this node knows of its endpoints: all that it last saw is void 10 s after.
    pub fn lasting(&self) -> Duration {
        match self.0.load(Relaxed) {
            SEES => LONGEST,
            NEVER => Duration::ZERO,
            last => signet_lease::lasting(last, boottime_now()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_heard_counts_from_then_on_and_losing_it_later_does_not_prolong_it() {
        let sight = Sight::default();
        sight.hear();
        let heard = sight.0.load(Relaxed);
        sight.lose();
        assert_eq!(sight.0.load(Relaxed), heard);
        sight
            .0
            .store(boottime_now().saturating_sub(4_000_000_000), Relaxed);
        assert!(sight.lasting() + Duration::from_secs(4) <= LONGEST);
        sight.hear();
        assert!(sight.lasting() + Duration::from_secs(4) > LONGEST);
    }

    #[test]
    fn a_node_that_lost_sight_speaks_for_ten_seconds_more_and_not_from_each_look_anew() {
        let sight = Sight::default();
        assert!(sight.lasting().is_zero(), "never seen");
        sight.open();
        assert_eq!(sight.lasting(), LONGEST);
        let before = boottime_now();
        sight.lose();
        let lost = sight.0.load(Relaxed);
        assert!(lost >= before && lost <= boottime_now());
        sight.lose();
        assert_eq!(sight.0.load(Relaxed), lost, "still since then");
        assert!(sight.lasting() <= LONGEST);
        sight
            .0
            .store(boottime_now().saturating_sub(11_000_000_000), Relaxed);
        assert!(sight.lasting().is_zero());
    }
}
