//! Times, sizes and names as people read them.

/// A span of seconds: the two largest units.
pub(crate) fn span(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => format!("{minutes}m{:02}s", seconds % 60),
        (0, hours, minutes) => format!("{hours}h{minutes:02}m"),
        (days, hours, _) => format!("{days}d{hours:02}h"),
    }
}

/// When something happens, or happened, seen from `now`. 0 is never.
pub(crate) fn when(at: i64, now: i64) -> String {
    match at {
        0 => "never".to_owned(),
        at if at > now => format!("in {}", span(at - now)),
        at => format!("{} ago", span(now - at)),
    }
}

/// Nanoseconds, in the unit that suits.
pub(crate) fn nanoseconds(ns: u64) -> String {
    let parts = |unit: u64| format!("{}.{}", ns / unit, ns % unit * 10 / unit);
    match ns {
        0 => "-".to_owned(),
        1..1_000_000 => format!("{} µs", parts(1000)),
        1_000_000..1_000_000_000 => format!("{} ms", parts(1_000_000)),
        _ => format!("{} s", parts(1_000_000_000)),
    }
}

/// Bytes, in the unit that suits.
pub(crate) fn bytes(count: u64) -> String {
    let parts = |unit: u64| format!("{}.{}", count / unit, count % unit * 10 / unit);
    match count {
        0..1024 => format!("{count} B"),
        1024..1_048_576 => format!("{} KiB", parts(1024)),
        1_048_576..1_073_741_824 => format!("{} MiB", parts(1_048_576)),
        _ => format!("{} GiB", parts(1_073_741_824)),
    }
}

/// A thing counted, in the singular or with an `s`.
pub(crate) fn count(number: u64, thing: &str) -> String {
    if number == 1 {
        format!("1 {thing}")
    } else {
        format!("{number} {thing}s")
    }
}

/// A dash for an empty text.
pub(crate) fn dash(text: &str) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        text.to_owned()
    }
}

/// A SPIFFE ID without its scheme and trust domain; anything else as it is.
pub(crate) fn short_id(id: &str) -> &str {
    let path = id.strip_prefix("spiffe://").and_then(|rest| rest.split_once('/'));
    path.map_or(id, |(_, path)| path)
}

/// An address and a port; IPv6 in brackets.
pub(crate) fn endpoint(address: &str, port: u32) -> String {
    match (port, address.contains(':')) {
        (0, _) => address.to_owned(),
        (port, true) => format!("[{address}]:{port}"),
        (port, false) => format!("{address}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_show_two_units() {
        let shown: Vec<_> = [-5, 59, 61, 3725, 90_000].into_iter().map(span).collect();
        assert_eq!(shown, ["0s", "59s", "1m01s", "1h02m", "1d01h"]);
    }

    #[test]
    fn times_are_seen_from_now() {
        assert_eq!(
            (when(0, 9).as_str(), when(70, 9).as_str(), when(5, 9).as_str()),
            ("never", "in 1m01s", "4s ago")
        );
    }

    #[test]
    fn sizes_and_durations_keep_one_decimal() {
        assert_eq!(
            (bytes(1023), bytes(1536), bytes(5 << 30)),
            ("1023 B".into(), "1.5 KiB".into(), "5.0 GiB".into())
        );
        assert_eq!(nanoseconds(2_340_000), "2.3 ms");
        assert_eq!(nanoseconds(0), "-");
    }

    #[test]
    fn ids_lose_only_scheme_and_trust_domain() {
        assert_eq!(
            short_id("spiffe://cluster.local/ns/shop/sa/web"),
            "ns/shop/sa/web"
        );
        assert_eq!(short_id("world"), "world");
        assert_eq!(endpoint("fd00::1", 80), "[fd00::1]:80");
    }
}
