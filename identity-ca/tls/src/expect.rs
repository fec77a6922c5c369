//! Whom a side of a connection accepts as its peer.

use std::io;
use std::sync::Arc;

use rustls::{CertificateError, OtherError};
use signet_spiffe::{SpiffeId, SvidError, TrustDomain, UnixTime, VerifiedSvid};

/// Whom to accept, once the peer's SVID is verified. There is no "anyone": each use says whom it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// Any node agent of this trust domain.
    AnyNode(TrustDomain),
    /// This one alone.
    Exactly(SpiffeId),
    /// Any SVID of this trust domain.
    AnyInTrustDomain(TrustDomain),
}

/// Why a peer was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// The peer sent no certificate.
    #[error("the peer sent no certificate")]
    NoCertificate,
    /// Its chain is no X.509-SVID that we trust.
    #[error(transparent)]
    Svid(#[from] SvidError),
    /// It is who it says, but not whom we want.
    #[error("the peer is {found}, expected {expected}")]
    Unexpected {
        /// Its verified ID.
        found: SpiffeId,
        /// For people: whom we wanted.
        expected: String,
    },
    /// It has the name that we want, from another CA of the trust domain.
    #[error("the SVID of {found} that the peer shows was signed by another CA of the trust domain than ours")]
    Signer {
        /// Its verified ID.
        found: SpiffeId,
    },
}

impl Expect {
    /// Passes the SVID on if its holder is one of those expected.
    pub fn check(&self, svid: VerifiedSvid) -> Result<VerifiedSvid, PeerError> {
        let id = svid.id();
        let as_expected = match self {
            Self::AnyNode(domain) => id.trust_domain() == domain && id.node_name().is_some(),
            Self::Exactly(wanted) => id == wanted,
            Self::AnyInTrustDomain(domain) => id.trust_domain() == domain,
        };
        if as_expected {
            return Ok(svid);
        }
        Err(PeerError::Unexpected {
            found: id.clone(),
            expected: self.to_string(),
        })
    }
}

impl std::fmt::Display for Expect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AnyNode(domain) => write!(f, "a node of {domain}"),
            Self::Exactly(id) => write!(f, "{id}"),
            Self::AnyInTrustDomain(domain) => write!(f, "a member of {domain}"),
        }
    }
}

impl PeerError {
    /// The rustls error that ends the handshake. Expiry keeps rustls' own variants: their alert tells the peer that it
    /// has to renew.
    pub(crate) fn into_rustls(self, now: UnixTime) -> rustls::Error {
        match self {
            Self::NoCertificate => rustls::Error::NoCertificatesPresented,
            Self::Svid(SvidError::Expired { not_after, .. }) => {
                CertificateError::ExpiredContext { time: now, not_after }.into()
            }
            Self::Svid(SvidError::NotYetValid { not_before, .. }) => CertificateError::NotValidYetContext {
                time: now,
                not_before,
            }
            .into(),
            error @ (Self::Svid(_) | Self::Unexpected { .. } | Self::Signer { .. }) => {
                CertificateError::Other(OtherError(Arc::new(error))).into()
            }
        }
    }
}

/// Our verifier's reason inside a rustls error, where it came from our verifier and rustls has no name for it.
pub fn peer_error(error: &rustls::Error) -> Option<&PeerError> {
    if let rustls::Error::InvalidCertificate(CertificateError::Other(other)) = error {
        other.0.downcast_ref()
    } else {
        None
    }
}

/// The same failure in words: rustls shows what it has no name for as Rust has it in memory.
pub fn in_words(error: io::Error) -> io::Error {
    let ours = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref())
        .and_then(peer_error);
    match ours {
        Some(why) => io::Error::new(error.kind(), why.to_string()),
        None => error,
    }
}
