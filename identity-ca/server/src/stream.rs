//! A node's connection, and how long it lives.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use signet_spiffe::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::per_address::Share;

/// Who is at the other end, for request handlers.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Where the connection comes from.
    pub(crate) address: SocketAddr,
    /// The certificates that it showed, leaf first; none where it showed none. They were good when it connected.
    pub(crate) chain: Arc<[CertificateDer<'static>]>,
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
