//! The clocks and the dice, and what is computed from them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use signet_handshake::Now;
use signet_spiffe::UnixTime;

/// Seconds since 1970, UTC.
pub fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Both clocks of a handshake. The deadline clock is tokio's, so that tests can turn it.
pub fn now() -> Now {
    Now {
        clock: tokio::time::Instant::now().into_std(),
        unix: UnixTime::now(),
    }
}

/// Unix seconds of a certificate's time.
pub fn seconds(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// A random number. Not for keys.
pub fn random() -> u64 {
    let mut bytes = [0; 8];
    // Without randomness there is no jitter; nothing else depends on it.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}

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
}
