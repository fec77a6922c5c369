use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A process at the other end of a Unix socket, by the kernel's word, held so that it cannot be taken for another.
///
/// The socket can have been passed on; the process is the one that connected.
#[derive(Clone, Debug)]
pub struct Process {
    pub(crate) pid: Pid,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pidfd: Arc<OwnedFd>,
    /// Whether the pidfd came with the connection.
    pub(crate) is_exact: bool,
}

/// Why a peer cannot be held.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The PID is 0.
    #[error("the peer lives in a PID namespace that is not visible from here")]
    NotVisible,
    /// It has ended.
    #[error("the peer process has ended")]
    Ended,
    /// No pidfd could be had.
    #[error("no pidfd for the peer; Linux 5.3 or later is needed")]
    NoPidfd(#[source] io::Error),
}

impl Process {
    /// Takes the peer credentials of a connection (`SO_PEERCRED`) with the pidfd that came with it (`SO_PEERPIDFD`).
    ///
    /// On kernels before 6.5 there is none and it is opened by number. Between `connect` and that moment the process
    /// may have ended and its number may have gone to another of the same user and group. So of such a process only these
    /// two count: whatever else [`Attestor`](crate::Attestor) could read may be another's.
    ///
    /// # Errors
    /// See [`ProcessError`].
    pub fn new(pid: i32, uid: u32, gid: u32, pidfd: Option<Arc<OwnedFd>>) -> Result<Self, ProcessError> {
        let pid = Pid::from_raw(pid).ok_or(ProcessError::NotVisible)?;
        let is_exact = pidfd.is_some();
        let pidfd = match pidfd {
            Some(pidfd) => pidfd,
            None => Arc::new(open(pid)?),
        };
        Ok(Self {
            pid,
            uid,
            gid,
            pidfd,
            is_exact,
        })
    }

    /// PID in our PID namespace. Names this process while it [`is_alive`](Self::is_alive), and nothing after.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Whether the pidfd came with the connection, or is what the number was asked for. Of another one the number may have been
    /// somebody else's before.
    pub fn is_exact(&self) -> bool {
        self.is_exact
    }

    /// Effective user at `connect`.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Whether it runs: not ended, not a zombie.
    ///
    /// # Errors
    /// The pidfd could not be asked.
    pub fn is_alive(&self) -> io::Result<bool> {
        let mut fds = [PollFd::new(&*self.pidfd, PollFlags::IN)];
        let ready = poll(
            &mut fds,
            Some(&Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            }),
        )?;
        Ok(ready == 0)
    }

    /// Comes back when the process has ended. Needs a tokio runtime with I/O.
    ///
    /// # Errors
    /// The pidfd could not be watched: take it for an ended process.
    #[expect(
        deprecated,
        reason = "deprecated for types whose AsRawFd may lie, which OwnedFd's cannot; what replaces it is unsafe"
    )]
    pub async fn ended(&self) -> io::Result<()> {
        // A descriptor of its own: one descriptor can be registered once, and many streams may wait.
        let pidfd = AsyncFd::with_interest(self.pidfd.try_clone()?, Interest::READABLE)?;
        pidfd.readable().await?.retain_ready();
        Ok(())
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

fn open(pid: Pid) -> Result<OwnedFd, ProcessError> {
    pidfd_open(pid, PidfdFlags::empty()).map_err(|error| match error {
        rustix::io::Errno::SRCH => ProcessError::Ended,
        other => ProcessError::NoPidfd(other.into()),
    })
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    fn child() -> Child {
        Command::new("sleep").arg("600").spawn().unwrap()
    }

    fn held(child: &Child) -> Process {
        Process::new(child.id().cast_signed(), 0, 0, None).unwrap()
    }

    #[tokio::test]
    async fn a_process_that_ends_is_seen_by_all_who_wait() {
        let mut child = child();
        let process = held(&child);
        assert!(process.is_alive().unwrap());
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let process = process.clone();
                tokio::spawn(async move { process.ended().await })
            })
            .collect();
        tokio::task::yield_now().await;
        child.kill().unwrap();
        for wait in waiting {
            wait.await.unwrap().unwrap();
        }
        // A zombie already counts as ended; so does one that was reaped.
        assert!(!process.is_alive().unwrap());
        child.wait().unwrap();
        assert!(!process.is_alive().unwrap());
        process.ended().await.unwrap();
    }

    #[test]
    fn a_peer_that_is_gone_or_not_visible_cannot_be_held() {
        let mut child = child();
        child.kill().unwrap();
        child.wait().unwrap();
        let pid = child.id().cast_signed();
        assert!(matches!(Process::new(pid, 0, 0, None), Err(ProcessError::Ended)));
        assert!(matches!(
            Process::new(0, 0, 0, None),
            Err(ProcessError::NotVisible)
        ));
    }
}
