//! The clocks and the dice, and what is computed from them.

use std::time::{SystemTime, UNIX_EPOCH};

use signet_handshake::Now;
pub use signet_session::{backoff, scale};
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
