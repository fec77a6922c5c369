//! The kernel programs' clock, `CLOCK_BOOTTIME`, in nanoseconds.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Now. Goes on during suspend and never jumps.
pub fn boottime_now() -> u64 {
    u64::try_from(nanoseconds(clock_gettime(ClockId::Boottime))).unwrap_or(0)
}

/// When it will be `unix` (seconds since 1970, UTC), if nobody sets the wall clock meanwhile. An instant before boot
/// becomes 1, never 0, which in some maps means "for ever".
pub fn boottime_of(unix: i64) -> u64 {
    let wall = nanoseconds(clock_gettime(ClockId::Realtime));
    let boot = nanoseconds(clock_gettime(ClockId::Boottime));
    translate(unix, wall, boot)
}

fn translate(unix: i64, wall: i128, boot: i128) -> u64 {
    let at = i128::from(unix) * 1_000_000_000 - wall + boot;
    u64::try_from(at.max(1)).unwrap_or(u64::MAX)
}

fn nanoseconds(time: Timespec) -> i128 {
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: i128 = 1_700_000_000_000_000_000;

    #[test]
    fn an_instant_ahead_is_as_far_ahead_on_both_clocks() {
        assert_eq!(translate(1_700_000_060, WALL, 5_000_000_000), 65_000_000_000);
    }

    #[test]
    fn an_instant_before_boot_is_never_zero() {
        assert_eq!(translate(0, WALL, 5_000_000_000), 1);
        assert_eq!(translate(1_699_999_995, WALL, 5_000_000_000), 1);
        assert_eq!(translate(i64::MIN, WALL, 5_000_000_000), 1);
    }

    #[test]
    fn an_instant_beyond_the_clock_saturates() {
        assert_eq!(translate(i64::MAX, WALL, 5_000_000_000), u64::MAX);
    }
}
