//! The programs that the processes above a process run.

use std::io;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::UnixPath;
use crate::executable::Executable;
use crate::proc;

/// How many generations are looked at, the parent being the first. Whoever is further up does not count.
pub const MAX_ANCESTORS: usize = 8;

/// The paths of the executables of a process's ancestors, the parent's first. Ends at the first one that cannot be told for
/// sure, or that is of another PID namespace.
///
/// While a process lives its parent's number is the parent's: it is free only after the parent has ended, and then the
/// child has another parent at once. So whatever was read under a number is the parent's if the child, which is held or was
/// itself made sure of, has the same parent afterwards.
pub(crate) fn paths(pid: Pid) -> Vec<UnixPath> {
    let mut paths = Vec::new();
    let mut child = pid;
    for _ in 0..MAX_ANCESTORS {
        let Ok(Some((parent, path))) = parent_of(child) else {
            break;
        };
        paths.extend(path);
        child = parent;
    }
    paths
}

/// The parent, and its executable where it has a path that can be believed.
fn parent_of(child: Pid) -> io::Result<Option<(Pid, Option<UnixPath>)>> {
    let Some(parent) = proc::parent(child)? else {
        return Ok(None);
    };
    let held = pidfd_open(parent, PidfdFlags::empty())?;
    let path = match Executable::open(parent) {
        Ok(executable) => executable.path(parent)?,
        // A kernel thread, or a file system that we may not read.
        Err(_) => None,
    };
    let mut ended = [PollFd::new(&held, PollFlags::IN)];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let lives = poll(&mut ended, Some(&at_once))? == 0;
    let same = proc::parent(child)? == Some(parent);
    Ok((lives && same).then_some((parent, path)))
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    struct Running(Child);

    impl Drop for Running {
        fn drop(&mut self) {
            drop(self.0.kill());
            drop(self.0.wait());
        }
    }

    #[test]
    fn the_parent_comes_first_and_the_chain_is_cut() {
        let own = std::env::current_exe().unwrap();
        let child = Running(Command::new("sleep").arg("600").spawn().unwrap());
        let paths = paths(Pid::from_child(&child.0));
        assert_eq!(paths.first().unwrap().as_str(), own.to_str().unwrap());
        assert!(paths.len() <= MAX_ANCESTORS);
    }

    #[test]
    fn a_parent_that_has_ended_is_none_any_more() {
        // The shell ends as soon as it has said whose parent it was.
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "sleep 600 >/dev/null 2>&1 & echo $!"])
            .stdout(Stdio::piped());
        let output = shell.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let orphan = Pid::from_raw(text.trim().parse().unwrap()).unwrap();
        let found = paths(orphan);
        rustix::process::kill_process(orphan, rustix::process::Signal::KILL).unwrap();
        assert!(
            found.iter().all(|path| !path.as_str().ends_with("sh")),
            "{found:?}"
        );
    }

    #[test]
    fn whoever_is_gone_has_no_parents() {
        let mut child = Command::new("true").spawn().unwrap();
        let pid = Pid::from_child(&child);
        child.wait().unwrap();
        assert!(paths(pid).is_empty());
    }
}
