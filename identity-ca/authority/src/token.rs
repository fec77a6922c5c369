//! What JWT-SVIDs and WIT-SVIDs have in common where they are made.

use std::fmt;
use std::time::Duration;

use signet_spiffe::{JwtSignerError, SpiffeId, TrustDomain, UnixTime};
use zeroize::Zeroizing;

use crate::serial::Serial;

/// Why a token was not issued.
#[derive(Debug, thiserror::Error)]
pub enum TokenIssueError {
    /// The ID is of another trust domain.
    #[error("{id} is not of the trust domain {trust_domain}")]
    TrustDomain {
        /// Whose token was asked for.
        id: SpiffeId,
        /// Ours.
        trust_domain: TrustDomain,
    },
    /// The ID has no path: that is the authority's own.
    #[error("{id} has no path, so it is no workload's")]
    RootPath {
        /// Whose token was asked for.
        id: SpiffeId,
    },
    /// Shorter than the second that tokens count in.
    #[error("the token would have no life")]
    NoLife,
    /// The signature failed.
    #[error(transparent)]
    Sign(#[from] JwtSignerError),
}

/// A token that was just signed. `Debug` does not show it: whoever has a JWT-SVID is who it says.
pub struct IssuedToken {
    /// Whose it is.
    pub id: SpiffeId,
    /// The compact JWS.
    pub token: Zeroizing<String>,
    /// Its `jti`, in hexadecimal there.
    pub serial: Serial,
    /// ID of the key that signed it.
    pub key_id: String,
    /// When it was made.
    pub issued_at: UnixTime,
    /// The first moment at which it is not valid any more.
    pub expires: UnixTime,
}

impl fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedToken")
            .field("id", &self.id)
            .field("serial", &self.serial)
            .field("key_id", &self.key_id)
            .field("issued_at", &self.issued_at)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// Whose tokens a trust domain issues: its workloads'.
pub(crate) fn check_id(id: &SpiffeId, trust_domain: &TrustDomain) -> Result<(), TokenIssueError> {
    if id.trust_domain() != trust_domain {
        return Err(TokenIssueError::TrustDomain {
            id: id.clone(),
            trust_domain: trust_domain.clone(),
        });
    }
    if id.path().is_empty() {
        return Err(TokenIssueError::RootPath { id: id.clone() });
    }
    Ok(())
}

/// When a token ends that is made now.
pub(crate) fn end_of(now: UnixTime, life: Duration) -> Result<UnixTime, TokenIssueError> {
    match life.as_secs() {
        0 => Err(TokenIssueError::NoLife),
        life => Ok(UnixTime::since_unix_epoch(Duration::from_secs(
            now.as_secs().saturating_add(life),
        ))),
    }
}
