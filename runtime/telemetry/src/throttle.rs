//! A bound on what strangers can make a daemon log.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lets a few events through in each stretch of time, and counts the others.
#[derive(Debug)]
pub struct Throttle {
    most: u32,
    stretch: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    began: Option<Instant>,
    told: u32,
    untold: u64,
}

impl Throttle {
    /// Lets `most` events through in each `stretch`.
    pub const fn new(most: u32, stretch: Duration) -> Self {
        let state = State {
            began: None,
            told: 0,
            untold: 0,
        };
        Self {
            most,
            stretch,
            state: Mutex::new(state),
        }
    }

    /// `Some`: log this event, and say how many were left out since the last one that was logged. `None`: it is counted.
    pub fn admit(&self, now: Instant) -> Option<u64> {
        // Counts alone: poison leaves none that matters.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |began| now.saturating_duration_since(began) >= self.stretch;
        if state.began.is_none_or(is_over) {
            state.began = Some(now);
            state.told = 0;
        }
        if state.told >= self.most {
            state.untold = state.untold.saturating_add(1);
            return None;
        }
        state.told += 1;
        Some(std::mem::take(&mut state.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_told_of_with_the_next_event_that_is_let_through() {
        let (throttle, start) = (Throttle::new(2, Duration::from_secs(10)), Instant::now());
        let at = |seconds| throttle.admit(start + Duration::from_secs(seconds));
        assert_eq!([at(0), at(1), at(2), at(9)], [Some(0), Some(0), None, None]);
        assert_eq!([at(10), at(11), at(12)], [Some(2), Some(0), None]);
        assert_eq!(at(1000), Some(1));
    }
}
