use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use nix::sys::socket::{getsockopt, sockopt};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tonic::transport::server::Connected;

/// Who connected, by the kernel's word (`SO_PEERCRED`, `SO_PEERPIDFD`).
#[derive(Clone, Debug)]
pub struct PeerInfo {
    /// Process that connected, in this process's PID namespace; 0 where it is not visible here.
    pub pid: i32,
    /// Effective user at the time of `connect`.
    pub uid: u32,
    /// Effective group at the time of `connect`.
    pub gid: u32,
    /// Names the very process, even after its PID was given to another. `None` where neither the kernel (before 6.5)
    /// nor `pidfd_open` could give one.
    pub pidfd: Option<Arc<OwnedFd>>,
    /// Whether `pidfd` came with the connection. If not, it was opened by number, and the number may have been
    /// recycled in between: what is read of the process may be another's.
    pub pidfd_is_exact: bool,
}

/// An accepted connection with its [`PeerInfo`], which tonic hands to request handlers as an extension.
#[derive(Debug)]
pub struct PeerStream {
    stream: UnixStream,
    peer: PeerInfo,
}

impl PeerInfo {
    /// The supplementary groups of the process that connected, and its group when it did. Only the latter where the process is
    /// gone, or cannot be told from another one that has its number.
    pub fn groups(&self) -> Vec<u32> {
        let more = self.supplementary_groups().unwrap_or_default();
        std::iter::once(self.gid).chain(more).collect()
    }

    fn supplementary_groups(&self) -> Option<Vec<u32>> {
        let pidfd = self.pidfd.as_ref().filter(|_| self.pidfd_is_exact)?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        // It was read of this very process if that lives still.
        let mut ended = [PollFd::new(pidfd, PollFlags::IN)];
        if poll(&mut ended, Some(&Timespec::default())) != Ok(0) {
            return None;
        }
        let line = status.lines().find_map(|line| line.strip_prefix("Groups:"))?;
        line.split_whitespace().map(|gid| gid.parse().ok()).collect()
    }
}

impl PeerStream {
    pub(crate) fn new(stream: UnixStream) -> io::Result<Self> {
        let credentials = stream.peer_cred()?;
        let pid = credentials.pid().unwrap_or(0);
        let (pidfd, pidfd_is_exact) = match getsockopt(&stream, sockopt::PeerPidfd) {
            Ok(pidfd) => (Some(Arc::new(pidfd)), true),
            Err(_) => (open_pidfd(pid).map(Arc::new), false),
        };
        let peer = PeerInfo {
            pid,
            uid: credentials.uid(),
            gid: credentials.gid(),
            pidfd,
            pidfd_is_exact,
        };
        Ok(Self { stream, peer })
    }

    /// Who is at the other end.
    pub fn peer(&self) -> &PeerInfo {
        &self.peer
    }
}

fn open_pidfd(pid: i32) -> Option<OwnedFd> {
    pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()
}

impl Connected for PeerStream {
    type ConnectInfo = PeerInfo;

    fn connect_info(&self) -> PeerInfo {
        self.peer.clone()
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
