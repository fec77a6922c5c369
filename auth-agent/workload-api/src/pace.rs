use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often something may be done: `burst` times at once, and then once in each `interval`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Times at once.
    pub burst: u32,
    /// Between times, in the long run.
    pub interval: Duration,
}

/// What has been done at some pace. Pure: the clock is an argument.
#[derive(Clone, Copy, Debug)]
pub struct Paced {
    /// When all of the burst will be there again. It moves by one interval with each use.
    whole_at: Instant,
}

impl Paced {
    /// Nothing has been done yet.
    pub fn new(now: Instant) -> Self {
        Self { whole_at: now }
    }

    /// Whether it may be done now; if so, it counts as done.
    pub fn take(&mut self, pace: Pace, now: Instant) -> bool {
        let whole_at = self.whole_at.max(now) + pace.interval;
        let allowed = whole_at <= now + pace.interval * pace.burst;
        if allowed {
            self.whole_at = whole_at;
        }
        allowed
    }
}

/// Keeps the pace of each of many. Those that have rested long enough take no memory.
#[derive(Debug)]
pub(crate) struct Paces<K> {
    pace: Pace,
    used: Mutex<HashMap<K, Paced>>,
}

/// Beyond this many, the rested are looked for and forgotten.
const SWEEP: usize = 1024;
/// Beyond this many, newcomers wait: more cannot be at work at once.
const MOST: usize = 16 * 1024;

impl<K: Eq + Hash> Paces<K> {
    pub(crate) fn new(pace: Pace) -> Self {
        Self {
            pace,
            used: Mutex::default(),
        }
    }

    pub(crate) fn take(&self, who: K, now: Instant) -> bool {
        // Nothing panics while the lock is held.
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if !used.contains_key(&who) {
            if used.len() >= SWEEP {
                used.retain(|_, paced| paced.whole_at > now);
            }
            if used.len() >= MOST {
                return false;
            }
        }
        let paced = used.entry(who).or_insert(Paced::new(now));
        paced.take(self.pace, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        burst: 3,
        interval: Duration::from_millis(100),
    };

    #[test]
    fn a_burst_and_then_the_interval_and_one_s_haste_is_nobody_else_s_wait() {
        let (now, paces) = (Instant::now(), Paces::new(PACE));
        let taken = |who, now| (0..1000).filter(|_| paces.take(who, now)).count();
        assert_eq!(taken(1, now), 3);
        assert_eq!(taken(2, now), 3, "the other one");
        assert_eq!(taken(1, now + Duration::from_millis(99)), 0);
        assert_eq!(taken(1, now + Duration::from_millis(250)), 2);
        assert_eq!(taken(1, now + Duration::from_mins(1)), 3, "no more than a burst");
    }

    #[test]
    fn those_who_rested_are_forgotten_and_there_is_a_bound() {
        let (now, paces) = (Instant::now(), Paces::new(PACE));
        assert!((0..MOST).all(|who| paces.take(who, now)));
        assert!(!paces.take(MOST, now));
        assert!(paces.take(0, now), "one that is known goes on");
        let later = now + Duration::from_secs(1);
        assert!(paces.take(MOST, later));
        assert_eq!(paces.used.lock().unwrap().len(), 1);
    }
}
