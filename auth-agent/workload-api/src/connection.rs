use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use signet_uds::{PeerInfo, PeerStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use tonic::transport::server::Connected;

use crate::authority::AuthorityMender;
use crate::places::Place;

/// A connection that holds its place as long as it lives, that must begin to speak in time, and whose requests have an
/// authority that HTTP/2 accepts. Once it speaks, HTTP/2's pings find out whether it still does.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: PeerStream,
    mender: AuthorityMender,
    /// When it must have said something; none once it has.
    silence: Option<Pin<Box<Sleep>>>,
    _place: Place,
}

impl Connection {
    pub(crate) fn new(stream: PeerStream, place: Place, first: Duration) -> Self {
        Self {
            stream,
            mender: AuthorityMender::default(),
            silence: Some(Box::pin(sleep(first))),
            _place: place,
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = PeerInfo;

    fn connect_info(&self) -> PeerInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            self.silence = None;
        } else if let Some(silence) = &mut self.silence
            && silence.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.mender
            .pass(buf.filled_mut().get_mut(before..).unwrap_or_default());
        read
    }
}

impl AsyncWrite for Connection {
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
