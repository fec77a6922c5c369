//! Ends processes found by what they are, never by a name.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// How long a process may take to end by itself.
const GRACE: Duration = Duration::from_secs(2);
/// How often the processes are looked up again: one that is being started may appear late.
const ROUNDS: usize = 5;

/// All processes for which `wanted` holds, given their `/proc` folder, this one excepted.
fn matching(wanted: impl Fn(&Path) -> bool) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let own = rustix::process::getpid();
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let number = entry.file_name().to_str()?.parse::<i32>().ok()?;
            Pid::from_raw(number).filter(|pid| *pid != own && wanted(&entry.path()))
        })
        .collect()
}

/// Ends all processes for which `wanted` holds: asks first, then kills, until none is found. Returns whether that
/// was reached.
pub(crate) fn kill_all(wanted: impl Fn(&Path) -> bool, ask_first: bool) -> bool {
    let mut signal = if ask_first { Signal::TERM } else { Signal::KILL };
    for _ in 0..ROUNDS {
        let found = matching(&wanted);
        if found.is_empty() {
            return true;
        }
        end(&found, signal);
        signal = Signal::KILL;
    }
    matching(&wanted).is_empty()
}

/// Signals and waits. A pidfd cannot hit a later process with the same number.
fn end(pids: &[Pid], signal: Signal) {
    let open = pids
        .iter()
        .filter_map(|pid| pidfd_open(*pid, PidfdFlags::empty()).ok())
        .collect::<Vec<_>>();
    for pidfd in &open {
        // Already gone: nothing to do.
        let _ = pidfd_send_signal(pidfd, signal);
    }
    let deadline = Instant::now() + GRACE;
    for pidfd in &open {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(0),
            tv_nsec: left.subsec_nanos().into(),
        };
        // A timeout or an interruption is seen in the next round.
        let _ = poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&timeout));
    }
}
