//! What a daemon gives up before it does anything: capabilities, new privileges, core dumps.
//!
//! The systemd units take the same away from outside; this holds where somebody starts a daemon as root by hand, in a lab or in
//! a container.

#![forbid(unsafe_code)]

use std::{fs, io};

use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::{
    CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

pub use rustix::thread::CapabilitySet as Capabilities;

/// Why a process still has what it should not have. It must not go on then.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// Capabilities are a thread's, and other threads would keep theirs.
    #[error("privileges must be dropped before the first thread is started, and there are {0}")]
    Threads(usize),
    /// The threads could not be counted.
    #[error("failed to look at this process's threads in /proc")]
    Proc(#[source] io::Error),
    /// The kernel refused.
    #[error("failed to {step}")]
    Kernel {
        /// What.
        step: &'static str,
        /// Its answer.
        #[source]
        source: Errno,
    },
}

/// Gives up, for this process and all that it starts, every capability but those in `keep`, gaining any through `exec`, core
/// dumps, and being looked into by debuggers of the same user. A capability in `keep` that the process does not have is not
/// missed here: who runs a daemon without it will hear of it from the call that needs it.
///
/// # Errors
/// See [`ConfineError`]. Call it first in `main`, before there is a runtime.
pub fn confine(keep: Capabilities) -> Result<(), ConfineError> {
    let threads = fs::read_dir("/proc/self/task")
        .map_err(ConfineError::Proc)?
        .count();
    if threads != 1 {
        return Err(ConfineError::Threads(threads));
    }
    let failed = |step| move |source| ConfineError::Kernel { step, source };
    let held = capabilities(None).map_err(failed("read the capabilities"))?;
    if held.effective.contains(Capabilities::SETPCAP) {
        shrink_bounding_set(keep).map_err(failed("shrink the bounding set"))?;
    }
    clear_ambient_capability_set().map_err(failed("clear the ambient capabilities"))?;
    let kept = held.permitted & keep;
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: Capabilities::empty(),
    };
    set_capabilities(None, sets).map_err(failed("drop capabilities"))?;
    set_no_new_privs(true).map_err(failed("forbid new privileges"))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(failed("shut out debuggers"))?;
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none).map_err(failed("turn core dumps off"))?;
    let files = open_files(getrlimit(Resource::Nofile));
    setrlimit(Resource::Nofile, files).map_err(failed("raise the limit of open files"))
}

/// As many open files as the process may have. What it has at first, often 1,024, is for programs that call `select`, and is
/// less than the connections that a daemon admits.
fn open_files(limit: Rlimit) -> Rlimit {
    Rlimit {
        current: limit.maximum,
        ..limit
    }
}

/// Takes out of the bounding set what is not in `keep`.
fn shrink_bounding_set(keep: Capabilities) -> Result<(), Errno> {
    for bit in 0..u64::BITS {
        let one = Capabilities::from_bits_retain(1 << bit);
        match capability_is_in_bounding_set(one) {
            Ok(true) if !keep.contains(one) => remove_capability_from_bounding_set(one)?,
            Ok(_) => {}
            // Beyond the last one that this kernel knows.
            Err(Errno::INVAL) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_files_may_be_open_as_the_process_may_have() {
        let limit = |current, maximum| Rlimit { current, maximum };
        assert_eq!(
            open_files(limit(Some(1024), Some(524_288))).current,
            Some(524_288)
        );
        assert_eq!(open_files(limit(Some(1024), None)).current, None);
    }
}
