//! Processes that somebody else names by number.

use std::io;
use std::sync::Arc;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::proc;
use crate::{Process, ProcessError};

impl Process {
    /// The process that has this number now, in our PID namespace.
    ///
    /// It is held before anything is read of it, and what was read is its own if it still runs afterwards; so whatever
    /// becomes of the number later, the result stands for this process. Whether it is the one that was meant by
    /// whoever said the number, only they know: a number is free again once its process has ended.
    ///
    /// # Errors
    /// [`ProcessError::Ended`]: no process has the number, or one that has ended. A thread's number is no process's.
    pub fn by_number(pid: i32) -> Result<Self, ProcessError> {
        let number = if pid > 0 { Pid::from_raw(pid) } else { None };
        let number = number.ok_or(ProcessError::NotVisible)?;
        let pidfd = pidfd_open(number, PidfdFlags::empty()).map_err(|error| match error {
            // The latter two: a thread that leads no process.
            rustix::io::Errno::SRCH | rustix::io::Errno::INVAL | rustix::io::Errno::NOENT => {
                ProcessError::Ended
            }
            other => ProcessError::NoPidfd(other.into()),
        })?;
        let credentials = proc::credentials(number);
        let process = |uid, gid| Self::new(pid, uid, gid, Some(Arc::new(pidfd)));
        let credentials = match credentials {
            Ok(credentials) => credentials,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(ProcessError::Ended),
            Err(error) => return Err(ProcessError::NoPidfd(error)),
        };
        let process = process(credentials.uid, credentials.gid)?;
        if process.is_alive().map_err(ProcessError::NoPidfd)? {
            Ok(process)
        } else {
            Err(ProcessError::Ended)
        }
    }

    /// Whether this process means by a number the process that we mean by it: it is in our PID namespace.
    ///
    /// # Errors
    /// `/proc` does not tell, or the process has ended.
    pub fn counts_as_we_do(&self) -> io::Result<bool> {
        let theirs = proc::pid_namespace(self.pid)?;
        let ours = proc::pid_namespace(rustix::process::getpid())?;
        if self.is_alive()? {
            Ok(theirs == ours)
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;
    use crate::Attestor;

    fn child() -> Child {
        Command::new("sleep").arg("600").spawn().unwrap()
    }

    #[test]
    fn what_is_known_of_a_process_is_its_own_and_not_of_whoever_named_it() {
        let mut child = Command::new("setpriv")
            .args(["--reuid", "4241", "--regid", "4242", "--clear-groups"])
            .args(["sh", "-c", "echo; exec sleep 600"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        // It has changed its user once it says something.
        io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        let process = Process::by_number(child.id().cast_signed()).unwrap();
        let selectors = Attestor::default()
            .attest(&process)
            .unwrap()
            .selectors
            .to_string();
        assert!(selectors.contains("unix:uid:4241, unix:gid:4242"), "{selectors}");
        assert!(selectors.contains("unix:sha256:"), "{selectors}");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn no_process_no_number_and_no_thread() {
        let mut child = child();
        let pid = child.id().cast_signed();
        let held = Process::by_number(pid).unwrap();
        child.kill().unwrap();
        while held.is_alive().unwrap() {
            std::thread::yield_now();
        }
        assert!(
            matches!(Process::by_number(pid), Err(ProcessError::Ended)),
            "a zombie"
        );
        child.wait().unwrap();
        assert!(matches!(Process::by_number(pid), Err(ProcessError::Ended)));
        for none in [0, -1, i32::MIN] {
            assert!(matches!(Process::by_number(none), Err(ProcessError::NotVisible)));
        }
        assert!(matches!(Process::by_number(i32::MAX), Err(ProcessError::Ended)));
        std::thread::spawn(|| {
            let thread = rustix::thread::gettid().as_raw_nonzero().get();
            assert!(matches!(Process::by_number(thread), Err(ProcessError::Ended)));
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_process_of_another_pid_namespace_counts_otherwise() {
        let ours = Process::by_number(std::process::id().cast_signed()).unwrap();
        assert!(ours.counts_as_we_do().unwrap());
        let mut parent = Command::new("unshare")
            .args([
                "--pid",
                "--fork",
                "--kill-child",
                "sh",
                "-c",
                "echo; exec sleep 600",
            ])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        io::Read::read_exact(parent.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        let pid = parent.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        let inside = Process::by_number(children.trim().parse().unwrap()).unwrap();
        assert!(!inside.counts_as_we_do().unwrap());
        parent.kill().unwrap();
        parent.wait().unwrap();
    }
}
