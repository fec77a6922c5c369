use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use nix::sys::socket::{getsockopt, sockopt};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tonic::transport::server::Connected;

use crate::groups;

/// Who connected, by the kernel's word (`SO_PEERCRED`, `SO_PEERGROUPS`, `SO_PEERPIDFD`).
#[derive(Clone, Debug)]
pub struct PeerInfo {
    /// Process that connected, in this process's PID namespace; 0 where it is not visible here.
    pub pid: i32,
    /// Effective user at the time of `connect`.
    pub uid: u32,
    /// Effective group at the time of `connect`.
    pub gid: u32,
    /// Supplementary groups at the time of `connect`.
    pub supplementary: Arc<[u32]>,
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
    /// All groups that counted for the process when it connected, the effective one first.
    pub fn groups(&self) -> Vec<u32> {
        std::iter::once(self.gid)
            .chain(self.supplementary.iter().copied())
            .collect()
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
            supplementary: groups::of_peer(&stream)?.into(),
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
