//! From a connection on the socket to somebody who has shown an SVID of our trust domain.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt as _};
use signet_spiffe::TrustDomain;
use signet_telemetry::Throttle;
use signet_tls::{ClientAuth, Expect, PeerError, TlsError, server_config};
use signet_uds::PeerStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::Host;
use crate::caller::Caller;
use crate::shares::{Share, Shares};

/// For TLS.
const DEADLINE: Duration = Duration::from_secs(5);
/// Connections of one process, of all processes of one user, and of all.
const EACH: usize = 16;
const OF_USER: usize = 128;
const TOTAL: usize = 256;
/// What those without a right can make the agent log, and in what time.
const TOLD: u32 = 10;
const TOLD_PER: Duration = Duration::from_secs(10);

/// Its places among those of its process and of its user.
type Held = (Share<i32>, Share<u32>);

/// A connection of somebody who has shown who it is.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Box<TlsStream<PeerStream>>,
    caller: Caller,
    _held: Held,
}

#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("this node has no SVID yet")]
    NotReady,
    #[error("this node's SVID cannot be used")]
    Config(#[from] TlsError),
    #[error("no TLS handshake in time")]
    Deadline,
    #[error("TLS handshake failed")]
    Tls(#[source] io::Error),
    #[error("SVID is refused")]
    Peer(#[from] PeerError),
}

/// The connections that got through their handshakes.
pub(crate) fn authenticated(
    incoming: impl Stream<Item = io::Result<PeerStream>> + Send,
    host: Arc<dyn Host>,
    trust_domain: TrustDomain,
) -> impl Stream<Item = io::Result<Connection>> + Send {
    let (shares, of_users) = (Shares::new(EACH, TOTAL), Shares::new(OF_USER, TOTAL));
    let refusals = Arc::new(Throttle::new(TOLD, TOLD_PER));
    incoming
        .filter_map(move |stream| {
            let admitted = stream.ok().and_then(|stream| {
                // Turned away rather than queued.
                let of_user = of_users.take(stream.peer().uid)?;
                let share = shares.take(stream.peer().pid)?;
                Some((stream, (share, of_user)))
            });
            std::future::ready(admitted)
        })
        .map(move |(stream, held)| {
            let (host, trust_domain, refusals) = (host.clone(), trust_domain.clone(), refusals.clone());
            async move {
                let (pid, uid) = (stream.peer().pid, stream.peer().uid);
                match accept(stream, held, host, trust_domain).await {
                    Ok(connection) => Some(Ok(connection)),
                    Err(error) => {
                        if let Some(untold) = refusals.admit(Instant::now()) {
                            let error: &(dyn std::error::Error + 'static) = &error;
                            tracing::warn!(
                                peer.pid = pid,
                                peer.uid = uid,
                                error,
                                untold,
                                "refused a broker's connection"
                            );
                        }
                        None
                    }
                }
            }
        })
        .buffer_unordered(TOTAL)
        .filter_map(std::future::ready)
}

async fn accept(
    stream: PeerStream,
    held: Held,
    host: Arc<dyn Host>,
    trust_domain: TrustDomain,
) -> Result<Connection, Refused> {
    let identity = host.identity().ok_or(Refused::NotReady)?;
    // Whoever is of our trust domain gets to hear that it is no broker; others get no answer at all.
    let expect = Expect::AnyInTrustDomain(trust_domain);
    let mut config = server_config(&identity, host.clone(), expect, ClientAuth::Required)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    let peer = stream.peer().clone();
    let accepting = TlsAcceptor::from(Arc::new(config)).accept(stream);
    let stream = timeout(DEADLINE, accepting)
        .await
        .map_err(|_| Refused::Deadline)?
        .map_err(Refused::Tls)?;
    let chain = stream
        .get_ref()
        .1
        .peer_certificates()
        .unwrap_or_default()
        .to_vec();
    let caller = Caller::new(chain, peer, host)?;
    tracing::debug!(caller.id = %caller.id(), caller.pid = caller.peer().pid, "a broker connected");
    Ok(Connection {
        stream: Box::new(stream),
        caller,
        _held: held,
    })
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
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
