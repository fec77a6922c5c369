//! Why a token is none that we trust, whatever kind it is of.

use rustls_pki_types::UnixTime;

use super::compact::{JwtPart, MAX_JWT_BYTES};
use crate::id::{IdError, SpiffeId};
use crate::revocation::Revoked;

/// Why no trust domain vouches for a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// More than [`MAX_JWT_BYTES`].
    #[error("the token has {bytes} bytes, at most {MAX_JWT_BYTES} are read")]
    TooLong {
        /// Its size.
        bytes: usize,
    },
    /// Not three parts with dots between them (JWT-SVID §5.1): the JSON serializations and encrypted tokens are no SVIDs.
    #[error("the token is no compact JWS, which is three parts with dots between them")]
    NotCompact,
    /// A part that is not base64url without padding.
    #[error("the token's {part} is not unpadded base64url")]
    Base64 {
        /// Which part.
        part: JwtPart,
    },
    /// A part that is no JSON object, or one with a member that comes twice.
    #[error("the token's {part} is no JSON object: {reason}")]
    Json {
        /// Which part.
        part: JwtPart,
        /// The parser's words.
        reason: String,
    },
    /// No `sub`, or one that is no text.
    #[error("the token has no sub")]
    NoSubject,
    /// A `sub` that is no SPIFFE ID (JWT-SVID §3.1, WIT-SVID §3.1).
    #[error("the token's sub is no SPIFFE ID: {0}")]
    Subject(#[source] IdError),
    /// A `sub` without a path: that is the trust domain's own ID, no workload's (SPIFFE-ID §3.1).
    #[error("the token's sub has no path, so it is a signing authority's")]
    RootPath,
    /// No `exp` (JWT-SVID §3.3, WIT-SVID §3.4), or one that is no moment.
    #[error("the token has no exp, or one that is no time")]
    NoExpiry,
    /// An `nbf` or `iat` that is no moment (RFC 7519 §4.1.5, §4.1.6).
    #[error("the token's {claim} is no time")]
    Time {
        /// Which claim.
        claim: &'static str,
    },
    /// There is no bundle of the trust domain: it is foreign. Or there is one without keys of this kind.
    #[error("{id} is of a trust domain of which there are no {kind} keys")]
    UntrustedDomain {
        /// What the token claims.
        id: SpiffeId,
        /// Of which kind of tokens.
        kind: &'static str,
    },
    /// The bundle has no key of that ID.
    #[error("the token of {id} names a key that its trust domain's bundle does not have")]
    UnknownKey {
        /// What the token claims.
        id: SpiffeId,
    },
    /// The signature is bad, or by a key of another kind, or by a key that the bundle does not have.
    #[error("the signature of the token of {id} does not verify")]
    Signature {
        /// What the token claims.
        id: SpiffeId,
    },
    /// `now` is at or after `exp`.
    #[error("the token of {id} expired at {} (Unix seconds)", expired.as_secs())]
    Expired {
        /// Whose it was.
        id: SpiffeId,
        /// Its end.
        expired: UnixTime,
    },
    /// `now` is before `nbf`.
    #[error("the token of {id} is not valid before {} (Unix seconds)", not_before.as_secs())]
    NotYetValid {
        /// Whose it is.
        id: SpiffeId,
        /// Its beginning.
        not_before: UnixTime,
    },
    /// It was all right until it was revoked.
    #[error(transparent)]
    Revoked(#[from] Revoked),
}
