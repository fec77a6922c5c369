//! When a peer is dialed: as soon as a session is wanted, but not in a circle.

use std::time::{Duration, Instant};

use crate::id::NodeNumber;
use crate::pace::backoff;

const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(10);
/// Where every node wants a session with every other, the higher number gives the lower one this long to dial first.
const COURTESY: Duration = Duration::from_secs(1);
/// A session that ends sooner counts as a failure to open one.
const SETTLED: Duration = Duration::from_secs(2);

/// What is remembered of dialing one peer.
#[derive(Debug, Default)]
pub struct Redial {
    attempt: u32,
    opened: Option<Instant>,
}

impl Redial {
    /// A session is wanted and there is none: how long to wait before dialing.
    pub fn wanted(&mut self, now: Instant, random: u64) -> Duration {
        match self.opened.take() {
            // Whoever closes our sessions at once would be dialed in a circle.
            Some(at) if now.saturating_duration_since(at) < SETTLED => self.failed(random),
            Some(_) => {
                self.attempt = 0;
                Duration::ZERO
            }
            None => Duration::ZERO,
        }
    }

    /// There is one, whoever has dialed it.
    pub fn opened(&mut self, now: Instant) {
        self.opened = Some(now);
    }

    /// There is none: how long to wait before it is wanted again.
    pub fn failed(&mut self, random: u64) -> Duration {
        let pause = backoff(FIRST_RETRY, LAST_RETRY, self.attempt, random);
        self.attempt = self.attempt.saturating_add(1);
        pause
    }
}

/// How long `own` waits for the call of `peer` where both want a session whoever asks.
pub fn courtesy(own: NodeNumber, peer: NodeNumber) -> Duration {
    if own > peer { COURTESY } else { Duration::ZERO }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_closes_our_sessions_at_once_is_dialed_more_and_more_seldom_and_who_keeps_one_at_once() {
        let mut redial = Redial::default();
        let mut now = Instant::now();
        assert_eq!(redial.wanted(now, 0), Duration::ZERO);
        let mut last = Duration::ZERO;
        for _ in 0..6 {
            redial.opened(now);
            now += Duration::from_millis(100);
            let pause = redial.wanted(now, u64::MAX);
            assert!(pause > last, "{pause:?} after {last:?}");
            last = pause;
        }
        redial.opened(now);
        now += SETTLED;
        assert_eq!(redial.wanted(now, u64::MAX), Duration::ZERO);
        assert_eq!(redial.failed(u64::MAX), FIRST_RETRY, "forgotten");
    }

    #[test]
    fn failures_are_at_most_ten_seconds_apart() {
        let mut redial = Redial::default();
        let pauses: Vec<Duration> = (0..20).map(|_| redial.failed(u64::MAX)).collect();
        assert!(pauses.is_sorted());
        assert_eq!(pauses.last(), Some(&LAST_RETRY));
    }

    #[test]
    fn the_higher_number_waits_for_the_lower_ones_call() {
        let node = |number| NodeNumber::new(number).expect("not zero");
        assert_eq!(courtesy(node(1), node(2)), Duration::ZERO);
        assert_eq!(courtesy(node(2), node(1)), COURTESY);
    }
}
