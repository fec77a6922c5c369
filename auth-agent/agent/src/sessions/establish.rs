//! From a TCP connection to a session: TLS, who is it, hello.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls_pki_types::ServerName;
use signet_session::{CodecError, Decoder, Dialer, Established, OpenError, Opening, PeerNode, encode};
use signet_spiffe::{SpiffeId, UnixTime, VerifiedSvid};
use signet_tls::{
    ClientAuth, Expect, PeerError, TlsError, client_config, peer_error, peer_svid, server_config,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{timeout, timeout_at};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::context::Context;
use super::secrets::{Secrets, state};
use crate::ca::NodeIdentity;
use crate::clock::{now, seconds};
use crate::view::Node;

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum EstablishError {
    /// Us: too early.
    #[error("this node has no SVID or no view yet")]
    NotReady,
    /// Us: our own SVID.
    #[error("this node's SVID cannot be used")]
    Config(#[from] TlsError),
    /// Nowhere to go.
    #[error("node {0} has announced no address yet")]
    NoAddress(String),
    /// The network.
    #[error("cannot connect to {address}")]
    Connect {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Too slow.
    #[error("no {0} in time")]
    Deadline(&'static str),
    /// TLS refused, on either side.
    #[error("TLS handshake failed")]
    Tls(#[source] io::Error),
    /// A certificate that did not hold a second look.
    #[error("peer's SVID is refused")]
    Peer(#[from] PeerError),
    /// Authenticated, but no node that we know.
    #[error("{0} is not a node of the view")]
    UnknownNode(SpiffeId),
    /// A node of another CA of the trust domain, which may have any name.
    #[error("{0} was admitted by another CA of the trust domain, and is none of the nodes of the view")]
    OtherCa(SpiffeId),
    /// The connection broke.
    #[error("connection broke off")]
    Broken(#[source] io::Error),
    /// Not our protocol.
    #[error("peer does not speak the session protocol")]
    Codec(#[from] CodecError),
    /// Not with us.
    #[error("peer's hello is refused")]
    Hello(#[from] OpenError),
    /// No exporter.
    #[error("TLS exporter failed")]
    Exporter(#[source] rustls::Error),
}

/// An established session that nobody drives yet.
pub(super) struct Fresh {
    pub(super) stream: TlsStream<TcpStream>,
    pub(super) decoder: Decoder,
    pub(super) session: Established,
    pub(super) peer: Arc<Node>,
    pub(super) dialer: Dialer,
    pub(super) address: SocketAddr,
    pub(super) secrets: Arc<Secrets>,
    pub(super) key_exchange: String,
    /// The SVIDs of this node and of the peer that it was opened with.
    pub(super) svids: Arc<[VerifiedSvid; 2]>,
    /// End of the SVID that lasts shorter, Unix seconds: the session ends with it.
    pub(super) not_after: i64,
}

pub(super) async fn dial(context: &Context, node: &Node) -> Result<Fresh, EstablishError> {
    let address = node
        .dial()
        .ok_or_else(|| EstablishError::NoAddress(node.name.to_string()))?;
    let access = context.identity()?;
    let wanted = context.node_id(&node.name);
    // An error here is a name that no TLS could carry; it cannot be one.
    let name = signet_handshake::server_name(&wanted)
        .map_err(|error| EstablishError::Tls(io::Error::other(error)))?;
    let config = client_config(
        Some(&access.identity.key_pair),
        context.bundles.clone(),
        Expect::Exactly(wanted),
    )?;
    let stream = timeout(context.tls_deadline, TcpStream::connect(address))
        .await
        .map_err(|_| EstablishError::Deadline("TCP connection"))?
        .map_err(|source| EstablishError::Connect { address, source })?;
    stream.set_nodelay(true).map_err(EstablishError::Broken)?;
    let connecting = TlsConnector::from(Arc::new(config)).connect(ServerName::DnsName(name), stream);
    let stream = timeout(context.tls_deadline, connecting)
        .await
        .map_err(|_| EstablishError::Deadline("TLS handshake"))?
        .map_err(refused)?;
    open(context, stream.into(), Dialer::Us, address, &access.identity).await
}

pub(super) async fn accept(
    context: &Context,
    stream: TcpStream,
    address: SocketAddr,
) -> Result<Fresh, EstablishError> {
    let access = context.identity()?;
    let expect = Expect::AnyNode(context.trust_domain.clone());
    let config = server_config(
        &access.identity.key_pair,
        context.bundles.clone(),
        expect,
        ClientAuth::Required,
    )?;
    stream.set_nodelay(true).map_err(EstablishError::Broken)?;
    let stream = timeout(
        context.tls_deadline,
        TlsAcceptor::from(Arc::new(config)).accept(stream),
    )
    .await
    .map_err(|_| EstablishError::Deadline("TLS handshake"))?
    .map_err(refused)?;
    open(context, stream.into(), Dialer::Peer, address, &access.identity).await
}

/// Why TLS failed; where our own verifier has ended it, in the verifier's words.
fn refused(error: io::Error) -> EstablishError {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls.and_then(peer_error) {
        Some(reason) => EstablishError::Peer(reason.clone()),
        None => EstablishError::Tls(error),
    }
}

/// Both hellos, on an authenticated connection.
async fn open(
    context: &Context,
    mut stream: TlsStream<TcpStream>,
    dialer: Dialer,
    address: SocketAddr,
    own: &NodeIdentity,
) -> Result<Fresh, EstablishError> {
    let certificates = state(&stream).peer_certificates();
    let svid = peer_svid(certificates, &context.bundles.bundles(), UnixTime::now())?;
    let unknown = || EstablishError::UnknownNode(svid.id().clone());
    let view = context.view()?;
    if !view.is_of_our_ca(&svid) {
        return Err(EstablishError::OtherCa(svid.id().clone()));
    }
    let peer = svid
        .id()
        .node_name()
        .and_then(|name| view.node(&name).cloned())
        .ok_or_else(unknown)?;
    let (opening, hello) = Opening::new(
        context.local(&view)?,
        PeerNode { node: peer.number },
        context.limits,
        now().clock,
    );
    let deadline = tokio::time::Instant::from_std(opening.deadline());
    let mut decoder = Decoder::default();
    let exchange = async {
        stream
            .write_all(&encode(&hello)?)
            .await
            .map_err(EstablishError::Broken)?;
        stream.flush().await.map_err(EstablishError::Broken)?;
        let mut buffer = vec![0; 4096];
        loop {
            if let Some(message) = decoder.next_message()? {
                return Ok(message);
            }
            let read = stream.read(&mut buffer).await.map_err(EstablishError::Broken)?;
            if read == 0 {
                return Err(EstablishError::Broken(io::ErrorKind::UnexpectedEof.into()));
            }
            decoder.push(buffer.get(..read).unwrap_or_default());
        }
    };
    let message = timeout_at(deadline, exchange)
        .await
        .map_err(|_| EstablishError::Deadline("hello"))??;
    let session = opening.on_message(&message, now().clock)?;
    let secrets = Arc::new(Secrets::export(&stream).map_err(EstablishError::Exporter)?);
    let group = state(&stream).negotiated_key_exchange_group();
    Ok(Fresh {
        key_exchange: group
            .map(|group| format!("{:?}", group.name()))
            .unwrap_or_default(),
        not_after: own.not_after.min(seconds(svid.not_after())),
        svids: Arc::new([own.svid.clone(), svid]),
        stream,
        decoder,
        session,
        peer,
        dialer,
        address,
        secrets,
    })
}
