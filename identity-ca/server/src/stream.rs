//! A node's connection, and how long it lives.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use signet_node_attest::ChannelBinding;
use signet_spiffe::{BundleSet, CertificateDer, UnixTime, VerifiedSvid};
use signet_tls::{PeerError, peer_svid};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::per_address::Share;

/// What a chain was found to be, and under which bundles and revocations.
pub(crate) type Verified = (VerifiedSvid, Arc<BundleSet>);

/// Who is at the other end, for request handlers.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Where the connection comes from.
    pub(crate) address: SocketAddr,
    /// The certificates that it showed, leaf first; none where it showed none. They were good when it connected.
    pub(crate) chain: Arc<[CertificateDer<'static>]>,
    /// What the chain was last found to be.
    pub(crate) verified: Arc<Mutex<Option<Verified>>>,
    /// What both ends of the connection know, and nobody else; none where it could not be had.
    pub(crate) binding: Option<ChannelBinding>,
    /// Held by the one exchange that may be under way.
    pub(crate) attesting: Arc<Semaphore>,
}

impl Peer {
    /// The SVID, good at `now` and under these bundles and revocations. The chain is verified anew where they are others than
    /// the last time: under the same ones only the time can make a difference.
    pub(crate) fn svid(&self, bundles: Arc<BundleSet>, now: UnixTime) -> Result<VerifiedSvid, PeerError> {
        // A value is replaced as a whole, so poison leaves none half written.
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((svid, then)) = verified.as_ref()
            && Arc::ptr_eq(then, &bundles)
            && svid.not_before() <= now
            && now < svid.not_after()
        {
            return Ok(svid.clone());
        }
        *verified = None;
        let svid = peer_svid(Some(&self.chain), &bundles, now)?;
        *verified = Some((svid.clone(), bundles));
        Ok(svid)
    }
}

impl Peer {
    /// What the chain was last found to be. It may count no more.
    pub(crate) fn shown(&self) -> Option<VerifiedSvid> {
        let verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        verified.as_ref().map(|(svid, _)| svid.clone())
    }
}

/// What a connection holds of the server's limits.
#[derive(Debug)]
pub(crate) struct Holds {
    pub(crate) _connection: OwnedSemaphorePermit,
    /// Given back once the connection has shown a node's SVID.
    pub(crate) _anonymous: Option<(OwnedSemaphorePermit, Share)>,
}

/// A TLS connection that ends at a moment that is known from its beginning.
#[derive(Debug)]
pub(crate) struct NodeStream {
    pub(crate) tls: Box<TlsStream<TcpStream>>,
    pub(crate) peer: Peer,
    pub(crate) end: Pin<Box<Sleep>>,
    pub(crate) _holds: Holds,
}

impl Connected for NodeStream {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for NodeStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // HTTP/2 always waits to read, so the end is noticed here even on a silent connection.
        if self.end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.tls).poll_read(cx, buf)
    }
}

impl AsyncWrite for NodeStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }
}
