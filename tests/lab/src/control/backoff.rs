//! How long to wait before a process is started again.

use std::time::Duration;

/// First wait.
const FIRST: Duration = Duration::from_millis(100);
/// Longest wait.
const MOST: Duration = Duration::from_secs(5);
/// A process that ran this long starts afresh.
const SETTLED: Duration = Duration::from_secs(10);

/// Doubles from 100 ms to 5 s.
#[derive(Debug, Clone, Copy)]
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(super) const fn new() -> Self {
        Self { next: FIRST }
    }

    /// The wait after a run of this length.
    pub(super) fn after(&mut self, ran: Duration) -> Duration {
        if ran >= SETTLED {
            self.next = FIRST;
        }
        let wait = self.next;
        self.next = (wait * 2).min(MOST);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_a_limit_and_begin_anew_after_a_long_run() {
        let mut backoff = Backoff::new();
        let waits: Vec<_> = (0..8)
            .map(|_| backoff.after(Duration::ZERO).as_millis())
            .collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(backoff.after(SETTLED), FIRST);
    }
}
