//! When a certificate that this process has is due for renewal. Pure.

use std::time::{Duration, Instant};

use signet_spiffe::Renewal;

use crate::clock::scale;

/// What was resumed and is due at once is asked for within this time: nodes that start together do not ask together.
const SPREAD: Duration = Duration::from_secs(10);
/// Whoever waits for a renewal looks this often whether the wall clock has gone on faster than the one that it waits by.
pub(crate) const LOOK: Duration = Duration::from_secs(10);
/// By so many seconds, at least: the two are set and read apart.
const STEP: i64 = 5;

/// A certificate that came, and what is needed to say when to renew it under whatever target holds then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Due {
    since: Instant,
    /// The same by the wall clock, Unix seconds.
    unix: i64,
    left: Duration,
    random: u64,
    /// Whether it was issued when it came. One from the disk has lived an unknown part of its life already: its `not_before`
    /// says nothing of that, because CAs set it back, by more than a short life lasts.
    fresh: bool,
}

impl Due {
    /// Of what was issued just now and ends at `not_after`, Unix seconds.
    pub(crate) fn issued(not_after: i64, unix: i64, now: Instant, random: u64) -> Self {
        let left = u64::try_from(not_after.saturating_sub(unix)).unwrap_or(0);
        Self {
            since: now,
            unix,
            left: Duration::from_secs(left),
            random,
            fresh: true,
        }
    }

    /// The same of what was issued some time ago.
    pub(crate) fn resumed(not_after: i64, unix: i64, now: Instant, random: u64) -> Self {
        Self {
            fresh: false,
            ..Self::issued(not_after, unix, now, random)
        }
    }

    /// The same, if by `now` the wall clock, which says `unix`, has gone on further than the clock that is waited by: the machine was
    /// suspended, or somebody has set it. So much more of the life is over. A clock that is set back changes nothing: to renew early
    /// costs little.
    pub(crate) fn overtaken(self, unix: i64, now: Instant) -> Option<Self> {
        let waited = i64::try_from(now.saturating_duration_since(self.since).as_secs()).unwrap_or(i64::MAX);
        let ahead = unix.saturating_sub(self.unix).saturating_sub(waited);
        let ahead = u64::try_from(ahead).ok().filter(|_| ahead >= STEP)?;
        let since = self.since.checked_sub(Duration::from_secs(ahead))?;
        Some(Self { since, ..self })
    }

    /// When to renew it, so that at least `target` of its life is left, if it is long enough for that.
    pub(crate) fn at(self, target: Duration) -> Instant {
        let after = if self.fresh || self.left > target {
            Renewal::new(self.left, target).after(self.random)
        } else {
            // It may have been long enough once. If the next one is not either, that is known then.
            let most = SPREAD.min(self.left / 2);
            Duration::from_nanos(scale(
                self.random,
                u64::try_from(most.as_nanos()).unwrap_or(u64::MAX),
            ))
        };
        self.since + after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600;

    #[test]
    fn a_target_that_comes_later_moves_what_is_planned_and_its_end_moves_it_back() {
        let now = Instant::now();
        let due = Due::issued(HOUR, 0, now, u64::MAX);
        let without = due.at(Duration::ZERO);
        assert!(without > now + Duration::from_mins(35), "late by the dice");
        let with = due.at(Duration::from_mins(45));
        assert!(with <= now + Duration::from_mins(14), "45 of 60 minutes are left");
        assert_eq!(due.at(Duration::ZERO), without);
    }

    #[test]
    fn a_life_without_room_for_the_target_is_renewed_around_half_of_it() {
        let (now, target) = (Instant::now(), Duration::from_hours(2));
        for random in [0, u64::MAX] {
            let due = Due::issued(HOUR, 0, now, random).at(target);
            assert!(due >= now + Duration::from_mins(24) && due <= now + Duration::from_mins(36));
        }
    }

    #[test]
    fn what_was_resumed_with_less_left_than_the_target_is_due_at_once() {
        let (now, target) = (Instant::now(), Duration::from_hours(2));
        for random in [0, u64::MAX] {
            assert!(Due::resumed(HOUR, 0, now, random).at(target) <= now + SPREAD);
        }
        let enough = Due::resumed(5 * HOUR, 0, now, 0).at(target);
        assert!(enough > now + Duration::from_hours(1), "three hours of room");
    }

    #[test]
    fn what_was_issued_before_the_machine_was_suspended_is_due_by_so_much_sooner() {
        let now = Instant::now();
        let due = Due::issued(HOUR, 0, now, 0);
        let later = now + Duration::from_mins(10);
        assert!(due.overtaken(10 * 60 + 1, later).is_none(), "nobody has slept");
        let woken = due.overtaken(40 * 60, later).expect("half an hour was slept");
        let at = woken.at(Duration::ZERO);
        assert_eq!(at + Duration::from_mins(30), due.at(Duration::ZERO));
        assert!(at <= later, "half of its life is over");
        assert!(
            woken.overtaken(41 * 60, later + Duration::from_mins(1)).is_none(),
            "once"
        );
        assert!(due.overtaken(-HOUR, later).is_none(), "a clock that is set back");
    }

    #[test]
    fn what_has_ended_is_due_at_once_and_does_not_spin() {
        let now = Instant::now();
        assert_eq!(
            Due::issued(10, 5_000, now, 0).at(Duration::ZERO),
            now + Duration::from_secs(1)
        );
    }
}
