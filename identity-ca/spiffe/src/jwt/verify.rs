//! Verification of JWT-SVIDs (JWT-SVID §4).

use rustls_pki_types::UnixTime;
use serde_json::{Map, Value};

use super::bundle::JwtBundleSet;
use super::header::{HeaderError, check_header};
use crate::id::SpiffeId;
use crate::revocation::{Revocations, Revoked};
use crate::token::{Claimed, Compact, TokenError, Vouched, texts};

/// Proof that a token was verified: only [`verify_jwt_svid`] makes one.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a verified SVID says who sent it; nothing is authorized until that was looked at"]
pub struct VerifiedJwtSvid {
    vouched: Vouched,
    audience: Vec<String>,
}

impl VerifiedJwtSvid {
    /// The SPIFFE ID, from `sub`.
    pub fn id(&self) -> &SpiffeId {
        &self.vouched.id
    }

    /// All that the token is for; the audience that was asked for is among them.
    pub fn audience(&self) -> &[String] {
        &self.audience
    }

    /// End of validity, in whole seconds.
    pub fn expires(&self) -> UnixTime {
        self.vouched.expires
    }

    /// When it was made, in whole seconds, from `iat`.
    pub fn issued(&self) -> Option<UnixTime> {
        self.vouched.issued
    }

    /// Its `jti`.
    pub fn token_id(&self) -> Option<&str> {
        self.vouched.token_id()
    }

    /// ID of the key in the bundle that verified it.
    pub fn key_id(&self) -> &str {
        &self.vouched.key_id
    }

    /// All claims, as they were signed.
    pub fn claims(&self) -> &Map<String, Value> {
        &self.vouched.claims
    }

    /// Says whether it still counts.
    pub(crate) fn check(&self, revocations: &Revocations) -> Result<(), Revoked> {
        self.vouched.check(revocations)
    }
}

/// Why a token is no JWT-SVID that we trust.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwtSvidError {
    /// What no kind of token may be.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A header that a JWT-SVID cannot have.
    #[error("the token's header is no JWT-SVID's: {0}")]
    Header(#[from] HeaderError),
    /// No `aud`, an empty one, or one that is neither text nor a list of texts (§3.2).
    #[error("the token has no aud, or one that is not text or a list of texts")]
    NoAudience,
    /// It is for others (§3.2).
    #[error("the token of {id} is for another audience")]
    Audience {
        /// Whose it is.
        id: SpiffeId,
    },
}

/// Checks all rules for a token: its form, its signature under the keys of its own trust domain, its time and its audience,
/// and that it is not revoked.
///
/// There is no leeway in time: `exp` is the first moment at which it is refused (RFC 7519 §4.1.4). Without a `kid` all
/// keys of the trust domain are tried (§2.2). `iat` and `jti` say which tokens a revocation means, and decide nothing else.
pub fn verify_jwt_svid(
    token: &str,
    bundles: &JwtBundleSet,
    audience: &str,
    now: UnixTime,
) -> Result<VerifiedJwtSvid, JwtSvidError> {
    let token = Compact::parse(token)?;
    // Nothing of the claims is read before the header, and nothing of the header before its `alg` (§4).
    let header = check_header(&token.header)?;
    let claimed = Claimed::read(token.claims()?)?;
    let audiences = claimed
        .get("aud")
        .and_then(texts)
        .filter(|audience| !audience.is_empty())
        .ok_or(JwtSvidError::NoAudience)?;
    let vouched = claimed.vouched_for(&token, &header, bundles, now)?;
    if !audiences.iter().any(|named| named == audience) {
        return Err(JwtSvidError::Audience { id: vouched.id });
    }
    vouched.check(bundles.revocations()).map_err(TokenError::from)?;
    Ok(VerifiedJwtSvid {
        vouched,
        audience: audiences,
    })
}
