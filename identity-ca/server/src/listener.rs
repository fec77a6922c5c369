//! Accepts connections from nodes, and from operators elsewhere: bounded, and past its TLS handshake before anything else sees it.

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use signet_node_attest::{ChannelBinding, EXPORTER};
use signet_spiffe::VerifiedSvid;
use signet_telemetry::Throttle;
use signet_tls::{BundleSource, peer_svid};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tracing::{debug, warn};

use crate::ca::Ca;
use crate::clock::Clock;
use crate::limits::{
    ANONYMOUS, ANONYMOUS_LIFE, ANONYMOUS_PER_ADDRESS, CONNECTIONS, EXPIRED_GRACE, HANDSHAKE, TOLD, TOLD_PER,
};
use crate::operators::role;
use crate::per_address::{PerAddress, Share};
use crate::stream::{Holds, NodeStream, Peer};

/// Pause after a failed `accept` (out of file descriptors), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Connections that are done with their handshake and not yet taken over.
const READY: usize = 16;

/// Accepts connections for as long as somebody takes them.
pub(crate) struct Listener {
    /// Bound already.
    pub(crate) tcp: TcpListener,
    /// The configuration of the moment; it changes with the CA's own SVID.
    pub(crate) tls: watch::Receiver<Arc<ServerConfig>>,
    /// What nodes are checked against.
    pub(crate) bundles: Arc<dyn BundleSource>,
    /// What time it is.
    pub(crate) clock: Clock,
    /// Whose connections may last.
    pub(crate) welcome: Welcome,
}

/// Whose connections may last, and do not count among those of strangers. What a call may do is judged call by call.
#[derive(Clone)]
pub(crate) enum Welcome {
    /// Nodes, and CAs that are registered below this one.
    Nodes(Arc<Ca>),
    /// Whoever has a role.
    Operators(Arc<Ca>),
}

impl Welcome {
    /// Who cannot be looked up now is a stranger, and may come back.
    async fn is_for(&self, svid: &VerifiedSvid) -> bool {
        match self {
            Self::Nodes(ca) => {
                let is_node = svid.id().node_name().is_some();
                let is_known = is_node
                    || ca
                        .known
                        .downstream(&ca.registry, svid.id())
                        .await
                        .is_ok_and(|is_one| is_one);
                // Another CA of the trust domain admits whom it likes.
                is_known && ca.check_signed_here(svid).await.is_ok()
            }
            Self::Operators(ca) => role(ca, svid.id()).await.is_ok_and(|role| role.is_some()),
        }
    }
}

impl Listener {
    /// The stream of accepted connections. Accepting ends when it is dropped.
    pub(crate) fn incoming(self) -> ReceiverStream<io::Result<NodeStream>> {
        let (ready, incoming) = mpsc::channel(READY);
        tokio::spawn(async move {
            tokio::select! {
                () = ready.closed() => {}
                () = self.accept(&ready) => {}
            }
        });
        ReceiverStream::new(incoming)
    }

    async fn accept(&self, ready: &mpsc::Sender<io::Result<NodeStream>>) {
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        let anonymous = Arc::new(Semaphore::new(ANONYMOUS));
        let per_address = PerAddress::new(ANONYMOUS_PER_ADDRESS);
        let refusals = Arc::new(Throttle::new(TOLD, TOLD_PER));
        loop {
            let (tcp, address) = match self.tcp.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    if let Some(untold) = refusals.admit(Instant::now()) {
                        warn!(%error, untold, "failed to accept a connection");
                    }
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // Whoever comes while all is taken is turned away rather than queued.
            let connection = Arc::clone(&connections).try_acquire_owned();
            let stranger = Arc::clone(&anonymous).try_acquire_owned();
            let (Ok(connection), Ok(stranger), Some(share)) =
                (connection, stranger, per_address.take(address.ip()))
            else {
                debug!(peer.address = %address, "turned a connection away: too many are open");
                continue;
            };
            let handshake = Handshake {
                acceptor: TlsAcceptor::from(Arc::clone(&self.tls.borrow())),
                bundles: Arc::clone(&self.bundles),
                clock: self.clock.clone(),
                address,
                refusals: Arc::clone(&refusals),
                welcome: self.welcome.clone(),
            };
            let ready = ready.clone();
            tokio::spawn(async move {
                if let Some(stream) = handshake.run(tcp, connection, (stranger, share)).await {
                    // Nobody takes it: the server is shutting down.
                    let _ = ready.send(Ok(stream)).await;
                }
            });
        }
    }
}

struct Handshake {
    acceptor: TlsAcceptor,
    bundles: Arc<dyn BundleSource>,
    clock: Clock,
    address: SocketAddr,
    refusals: Arc<Throttle>,
    welcome: Welcome,
}

impl Handshake {
    async fn run(
        self,
        tcp: TcpStream,
        connection: OwnedSemaphorePermit,
        anonymous: (OwnedSemaphorePermit, Share),
    ) -> Option<NodeStream> {
        let address = self.address;
        if let Err(error) = tcp.set_nodelay(true) {
            debug!(peer.address = %address, %error, "a connection was gone at once");
            return None;
        }
        let tls = match timeout(HANDSHAKE, self.acceptor.accept(tcp)).await {
            Ok(Ok(tls)) => tls,
            Ok(Err(error)) => {
                self.refused(&error);
                return None;
            }
            Err(_) => {
                self.refused(&format_args!("it took too long"));
                return None;
            }
        };
        let chain: Arc<[_]> = tls.get_ref().1.peer_certificates().unwrap_or_default().into();
        let now = self.clock.now();
        let bundles = self.bundles.bundles();
        let verified = peer_svid(Some(&chain), &bundles, now)
            .ok()
            .map(|svid| (svid, bundles));
        let welcome = match &verified {
            Some((svid, _)) if self.welcome.is_for(svid).await => Some(svid),
            Some(_) | None => None,
        };
        let (life, anonymous) = match welcome {
            Some(svid) => {
                let left = svid.not_after().as_secs().saturating_sub(now.as_secs());
                (Duration::from_secs(left) + EXPIRED_GRACE, None)
            }
            None => (ANONYMOUS_LIFE, Some(anonymous)),
        };
        let exported = tls.get_ref().1.export_keying_material([0; 32], EXPORTER, None);
        Some(NodeStream {
            tls: Box::new(tls),
            peer: Peer {
                address,
                chain,
                verified: Arc::new(Mutex::new(verified)),
                binding: exported.ok().map(ChannelBinding::new),
                attesting: Arc::new(Semaphore::new(1)),
            },
            end: Box::pin(sleep(life)),
            _holds: Holds {
                _connection: connection,
                _anonymous: anonymous,
            },
        })
    }

    /// Anybody can make this happen, so it is not always told.
    fn refused(&self, why: &dyn Display) {
        if let Some(untold) = self.refusals.admit(Instant::now()) {
            warn!(peer.address = %self.address, error = %why, untold, "refused a connection: the TLS handshake failed");
        }
    }
}
