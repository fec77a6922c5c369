//! How often to ask (Federation §4, §6.2).

use std::time::Duration;

/// Where the document gives no hint (Trust Domain and Bundle §4.1.2 suggests five minutes).
pub const DEFAULT_INTERVAL: Duration = Duration::from_mins(5);

/// No more often than this, whatever the document asks for: it is written by others.
pub const MIN_INTERVAL: Duration = Duration::from_secs(10);

/// No more seldom than this: a key that is withdrawn there must not count here for ever.
pub const MAX_INTERVAL: Duration = Duration::from_hours(24);

/// The pause that a document's refresh hint means.
pub fn interval(hint: Option<Duration>) -> Duration {
    hint.unwrap_or(DEFAULT_INTERVAL).clamp(MIN_INTERVAL, MAX_INTERVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spiffe_row_63_a_refresh_hint_is_followed_within_bounds() {
        let seconds = |hint: u64| interval(Some(Duration::from_secs(hint))).as_secs();
        assert_eq!(interval(None), Duration::from_mins(5));
        assert_eq!([0, 9, 10, 60].map(seconds), [10, 10, 10, 60]);
        assert_eq!([86_400, 86_401, u64::MAX].map(seconds), [86_400; 3]);
    }
}
