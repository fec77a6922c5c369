//! Verification of JWT-SVIDs (JWT-SVID §4).

use std::time::Duration;

use rustls_pki_types::UnixTime;
use serde_json::{Map, Value};

use super::bundle::{JwtBundle, JwtBundleSet};
use super::token::{HeaderError, JwtPart, MAX_JWT_BYTES, Token};
use crate::id::{IdError, SpiffeId};
use crate::revocation::Revoked;

/// Proof that a token was verified: only [`verify_jwt_svid`] makes one.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a verified SVID says who sent it; nothing is authorized until that was looked at"]
pub struct VerifiedJwtSvid {
    id: SpiffeId,
    audience: Vec<String>,
    expires: UnixTime,
    issued: Option<UnixTime>,
    key_id: String,
    claims: Map<String, Value>,
}

impl VerifiedJwtSvid {
    /// The SPIFFE ID, from `sub`.
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// All that the token is for; the audience that was asked for is among them.
    pub fn audience(&self) -> &[String] {
        &self.audience
    }

    /// End of validity, in whole seconds.
    pub fn expires(&self) -> UnixTime {
        self.expires
    }

    /// When it was made, in whole seconds, from `iat`.
    pub fn issued(&self) -> Option<UnixTime> {
        self.issued
    }

    /// Its `jti`.
    pub fn token_id(&self) -> Option<&str> {
        self.claims.get("jti")?.as_str()
    }

    /// ID of the key in the bundle that verified it.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// All claims, as they were signed.
    pub fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }
}

/// Why a token is no JWT-SVID that we trust.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwtSvidError {
    /// More than [`MAX_JWT_BYTES`].
    #[error("the token has {bytes} bytes, at most {MAX_JWT_BYTES} are read")]
    TooLong {
        /// Its size.
        bytes: usize,
    },
    /// Not three parts with dots between them (§5.1): the JSON serializations and encrypted tokens are no JWT-SVIDs.
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
    /// A header that a JWT-SVID cannot have.
    #[error("the token's header is no JWT-SVID's: {0}")]
    Header(#[from] HeaderError),
    /// No `sub`, or one that is no text.
    #[error("the token has no sub")]
    NoSubject,
    /// A `sub` that is no SPIFFE ID (§3.1).
    #[error("the token's sub is no SPIFFE ID: {0}")]
    Subject(#[source] IdError),
    /// A `sub` without a path: that is the trust domain's own ID, no workload's (SPIFFE-ID §3.1).
    #[error("the token's sub has no path, so it is a signing authority's")]
    RootPath,
    /// No `aud`, an empty one, or one that is neither text nor a list of texts (§3.2).
    #[error("the token has no aud, or one that is not text or a list of texts")]
    NoAudience,
    /// No `exp` (§3.3), or one that is no moment.
    #[error("the token has no exp, or one that is no time")]
    NoExpiry,
    /// An `nbf` or `iat` that is no moment (RFC 7519 §4.1.5, §4.1.6).
    #[error("the token's {claim} is no time")]
    Time {
        /// Which claim.
        claim: &'static str,
    },
    /// There is no bundle of the trust domain: it is foreign.
    #[error("{id} is of a trust domain of which there are no JWT keys")]
    UntrustedDomain {
        /// What the token claims.
        id: SpiffeId,
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
    /// It is for others (§3.2).
    #[error("the token of {id} is for another audience")]
    Audience {
        /// Whose it is.
        id: SpiffeId,
    },
    /// It was all right until it was revoked.
    #[error(transparent)]
    Revoked(#[from] Revoked),
}

/// The claims that decide, read from an object that nobody has vouched for yet.
struct Claims {
    id: SpiffeId,
    audience: Vec<String>,
    expires: UnixTime,
    not_before: Option<UnixTime>,
    issued: Option<UnixTime>,
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
    let token = Token::parse(token)?;
    let Claims {
        id,
        audience: audiences,
        expires,
        not_before,
        issued,
    } = claims(&token.claims)?;
    let Some(bundle) = bundles
        .get(id.trust_domain())
        .filter(|bundle| !bundle.keys().is_empty())
    else {
        return Err(JwtSvidError::UntrustedDomain { id });
    };
    let key_id = match signed_by(&token, bundle, &id) {
        Ok(key_id) => key_id.to_owned(),
        Err(error) => return Err(error),
    };
    if now >= expires {
        return Err(JwtSvidError::Expired { id, expired: expires });
    }
    if let Some(not_before) = not_before.filter(|not_before| now < *not_before) {
        return Err(JwtSvidError::NotYetValid { id, not_before });
    }
    if !audiences.iter().any(|named| named == audience) {
        return Err(JwtSvidError::Audience { id });
    }
    let svid = VerifiedJwtSvid {
        id,
        audience: audiences,
        expires,
        issued,
        key_id,
        claims: token.claims,
    };
    bundles.check(&svid)?;
    Ok(svid)
}

/// The ID of the key that signed.
fn signed_by<'b>(token: &Token<'_>, bundle: &'b JwtBundle, id: &SpiffeId) -> Result<&'b str, JwtSvidError> {
    let verifies = |key: &&super::key::JwtKey| key.verifies(token.algorithm, token.signed, &token.signature);
    let key = match &token.key_id {
        Some(key_id) => {
            let key = bundle
                .key(key_id)
                .ok_or_else(|| JwtSvidError::UnknownKey { id: id.clone() })?;
            Some(key).filter(verifies)
        }
        None => bundle.keys().iter().find(verifies),
    };
    key.map(super::key::JwtKey::id)
        .ok_or_else(|| JwtSvidError::Signature { id: id.clone() })
}

fn claims(claims: &Map<String, Value>) -> Result<Claims, JwtSvidError> {
    let subject = claims
        .get("sub")
        .and_then(Value::as_str)
        .ok_or(JwtSvidError::NoSubject)?;
    let id = SpiffeId::parse(subject).map_err(JwtSvidError::Subject)?;
    if id.path().is_empty() {
        return Err(JwtSvidError::RootPath);
    }
    let audience = claims
        .get("aud")
        .and_then(texts)
        .filter(|audience| !audience.is_empty())
        .ok_or(JwtSvidError::NoAudience)?;
    let expires = claims.get("exp").and_then(moment).ok_or(JwtSvidError::NoExpiry)?;
    let optional = |claim| {
        let value = claims.get(claim);
        value.map_or(Ok(None), |value| {
            moment(value).map(Some).ok_or(JwtSvidError::Time { claim })
        })
    };
    Ok(Claims {
        id,
        audience,
        expires,
        not_before: optional("nbf")?,
        issued: optional("iat")?,
    })
}

/// RFC 7519 §4.1.3: one text, or a list of them.
pub(crate) fn texts(value: &Value) -> Option<Vec<String>> {
    if let Some(text) = value.as_str() {
        return Some(vec![text.to_owned()]);
    }
    let texts = value.as_array()?.iter();
    texts.map(|text| text.as_str().map(str::to_owned)).collect()
}

/// A `NumericDate` (RFC 7519 §2): seconds since 1970, perhaps with a fraction, which is cut off.
pub(crate) fn moment(value: &Value) -> Option<UnixTime> {
    let seconds = match value.as_u64() {
        Some(seconds) => seconds,
        None => Duration::try_from_secs_f64(value.as_f64()?).ok()?.as_secs(),
    };
    Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
}
