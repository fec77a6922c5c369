//! How long to wait, so that a crowd does not come at once.

use std::time::Duration;

/// How long to wait after the `attempt`-th failure in a row (from 0): doubles from `first` to `most`, between half and
/// all of it at random, so that a crowd does not come back at once.
pub fn backoff(first: Duration, most: Duration, attempt: u32, random: u64) -> Duration {
    let full = first.saturating_mul(1_u32 << attempt.min(20)).min(most);
    let half = full / 2;
    let nanos = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
    half + Duration::from_nanos(scale(random, nanos))
}

/// `random` mapped to `0..=most`.
pub fn scale(random: u64, most: u64) -> u64 {
    let scaled = (u128::from(random) * (u128::from(most) + 1)) >> 64;
    u64::try_from(scaled).unwrap_or(most)
}

/// `time` ± 10 %.
pub fn spread(time: Duration, random: u64) -> Duration {
    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    time.saturating_sub(time / 10) + Duration::from_nanos(scale(random, nanos / 5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_to_its_bound_and_never_below_half() {
        let (first, most) = (Duration::from_millis(100), Duration::from_secs(10));
        assert_eq!(backoff(first, most, 0, 0), Duration::from_millis(50));
        assert_eq!(backoff(first, most, 0, u64::MAX), Duration::from_millis(100));
        assert_eq!(backoff(first, most, 40, u64::MAX), most);
        assert_eq!(backoff(first, most, 40, 0), most / 2);
    }

    #[test]
    fn a_spread_time_is_within_a_tenth_of_it() {
        let time = Duration::from_secs(3);
        assert_eq!(spread(time, 0), Duration::from_millis(2700));
        assert_eq!(spread(time, u64::MAX), Duration::from_millis(3300));
    }
}
