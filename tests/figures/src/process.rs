//! What a process uses.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// What a process used up to a moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// Seconds that it has computed for, in the kernel too.
    pub cpu: f64,
    /// Resident memory, in units of 1,000,000 bytes.
    pub rss: f64,
}

impl Usage {
    /// Of a process that runs; none where it has ended.
    pub fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The command, in parentheses, may hold any character.
        let fields: Vec<_> = stat.rsplit(") ").next()?.split(' ').collect();
        let ticks = |at: usize| fields.get(at)?.parse::<u32>().ok();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib: f64 = resident.trim_end_matches("kB").trim().parse().ok()?;
        Some(Self {
            // USER_HZ is 100 on every Linux that Rust runs on.
            cpu: (f64::from(ticks(11)?) + f64::from(ticks(12)?)) / 100.0,
            rss: kib * 1024.0 / 1e6,
        })
    }
}

/// Seconds that this process has computed for, in the kernel too.
pub fn own_cpu() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let whole = u64::try_from(time.tv_sec).unwrap_or(0);
    let parts = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(whole, parts).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_and_one_that_is_not_there_has_no_usage() {
        let own = Usage::of(std::process::id());
        assert!(own.is_some_and(|own| own.rss > 0.1));
        // Beyond the greatest that Linux gives out.
        assert!(Usage::of(u32::MAX).is_none());
    }
}
