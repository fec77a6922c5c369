//! A token bucket.

/// Gives a burst at once, then one per interval.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    interval: u64,
    /// How far the clock of tokens may be behind: what was not used is not saved up beyond the burst.
    credit: u64,
    /// When the next token would be due if the bucket were empty.
    due: u64,
}

impl Pace {
    pub(crate) fn new(burst: u32, interval: u64) -> Self {
        Self {
            interval,
            credit: interval.saturating_mul(u64::from(burst.saturating_sub(1))),
            due: 0,
        }
    }

    /// When there is a token: `now` or earlier says at once.
    pub(crate) fn ready(&self) -> u64 {
        self.due.saturating_sub(self.credit)
    }

    /// Takes the token that [`Self::ready`] says there is.
    pub(crate) fn take(&mut self, now: u64) {
        self.due = self.due.max(now).saturating_add(self.interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_at_once_and_then_one_per_interval_however_long_the_pause_was() {
        let mut pace = Pace::new(3, 10);
        for start in [1_000, 50_000] {
            for _ in 0..3 {
                assert!(pace.ready() <= start);
                pace.take(start);
            }
            assert_eq!(pace.ready(), start + 10);
            pace.take(start + 10);
            assert_eq!(pace.ready(), start + 20);
        }
    }
}
