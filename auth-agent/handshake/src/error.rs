//! Why a handshake gave no proof.

use signet_spiffe::{Revoked, SpiffeId};
use signet_tls::{PeerError, TlsError};

/// Why a handshake gave no proof. By blame: us, the peer, or time.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HandshakeError {
    /// Our own SVID or settings cannot be used.
    #[error("this node cannot take part in the handshake")]
    Config(#[source] TlsError),
    /// Our own SVID has expired.
    #[error("the local SVID of {0} has expired and was not renewed")]
    LocalExpired(SpiffeId),
    /// Our own SVID is revoked.
    #[error("the local SVID is not shown any more")]
    LocalRevoked(#[from] Revoked),
    /// A name that TLS cannot carry.
    #[error("the wanted identity has no server name")]
    ServerName,
    /// The TLS handshake failed: wrong certificate, garbage, an alert.
    #[error("inner TLS handshake failed")]
    Tls(#[source] rustls::Error),
    /// The peer wants another workload than its opening message said.
    #[error("peer's server name is not that of the wanted workload")]
    WrongServerName,
    /// The peer's chain does not verify.
    #[error("peer's SVID is refused")]
    PeerSvid(#[source] PeerError),
    /// The peer proved another identity.
    #[error("peer proved to be {proven}, wanted {wanted}")]
    WrongIdentity {
        /// Whom we want.
        wanted: SpiffeId,
        /// Who it is.
        proven: SpiffeId,
    },
    /// More bytes than any honest handshake has.
    #[error("handshake exceeds {0} bytes in one direction")]
    TooLarge(usize),
    /// More messages than any honest handshake has.
    #[error("handshake exceeds {0} messages")]
    TooManyMessages(u32),
    /// Data or a closure where a handshake was due.
    #[error("peer sent something else than a handshake")]
    Unexpected,
    /// The confirmation is not that of this handshake in this session.
    #[error("peer's confirmation does not fit this session")]
    Binding,
    /// Too slow.
    #[error("handshake took too long")]
    Deadline,
}

impl HandshakeError {
    /// What TLS says; where our own verifier has ended it, in the verifier's words.
    pub(crate) fn from_tls(error: rustls::Error) -> Self {
        match signet_tls::peer_error(&error) {
            Some(reason) => Self::PeerSvid(reason.clone()),
            None => Self::Tls(error),
        }
    }
}
