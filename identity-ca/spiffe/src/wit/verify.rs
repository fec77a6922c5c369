//! Verification of WIT-SVIDs (WIT-SVID §4), which is half of it: the other half is the proof.

use rustls_pki_types::UnixTime;
use serde_json::{Map, Value};

use super::bundle::WitBundleSet;
use super::confirmation::{ConfirmationError, ConfirmationKey};
use crate::id::{IdError, SpiffeId};
use crate::jwt::{Compact, JwtAlgorithm, JwtSvidError, MAX_KEY_ID_BYTES, moment};
use crate::revocation::{Revoked, TokenFacts};

/// A WIT-SVID whose trust domain vouches for it. Nobody has shown yet that it is theirs: it may be a copy. It says who sent it
/// once [`proven_by`](Self::proven_by) has seen a proof, and not before (WIT-SVID §4, §7.1).
#[derive(Debug, Clone)]
#[must_use = "a WIT-SVID without a proof of possession authenticates nobody"]
pub struct UnprovenWitSvid {
    pub(super) token: String,
    pub(super) id: SpiffeId,
    pub(super) key: ConfirmationKey,
    pub(super) expires: UnixTime,
    pub(super) key_id: String,
    pub(super) claims: Map<String, Value>,
}

impl UnprovenWitSvid {
    /// Whose token it is. Not: who sent it.
    pub fn issued_to(&self) -> &SpiffeId {
        &self.id
    }

    /// The key that it is bound to.
    pub fn key(&self) -> &ConfirmationKey {
        &self.key
    }

    /// End of validity, in whole seconds.
    pub fn expires(&self) -> UnixTime {
        self.expires
    }

    /// When it was made, in whole seconds, from `iat`.
    pub fn issued(&self) -> Option<UnixTime> {
        self.claims.get("iat").and_then(moment)
    }

    /// Its `jti`.
    pub fn token_id(&self) -> Option<&str> {
        self.claims.get("jti")?.as_str()
    }

    /// ID of the key in the bundle that verified it.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Says whether it still counts, by what is revoked in this set of bundles.
    pub fn check_revocations(&self, bundles: &WitBundleSet) -> Result<(), Revoked> {
        bundles.revocations().check_facts(&TokenFacts {
            id: &self.id,
            token_id: self.token_id(),
            issued: self.issued(),
        })
    }
}

/// Why a JOSE header is no WIT-SVID's (§2).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WitHeaderError {
    /// Absent, or another one than those of §2.3. `none` is another one.
    #[error("its alg is none of RS, ES and PS with 256, 384 or 512")]
    Algorithm,
    /// Absent, or another one (§2.2).
    #[error("its typ is not wit+jwt")]
    Type,
    /// Absent, which a JWT-SVID's may be, empty, or longer than [`MAX_KEY_ID_BYTES`] (§2.1).
    #[error("its kid is absent, or no text of 1 to {MAX_KEY_ID_BYTES} bytes")]
    KeyId,
    /// Something that has to be understood (RFC 7515 §4.1.11), and nothing such is.
    #[error("its crit asks for extensions, of which none is known here")]
    Critical,
}

/// Why a token is no WIT-SVID that we trust.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WitSvidError {
    /// Too long, no compact JWS, or with a part that cannot be read.
    #[error(transparent)]
    Form(#[from] JwtSvidError),
    /// A header that a WIT-SVID cannot have.
    #[error("the token's header is no WIT-SVID's: {0}")]
    Header(#[from] WitHeaderError),
    /// No `sub`, or one that is no text.
    #[error("the token has no sub")]
    NoSubject,
    /// A `sub` that is no SPIFFE ID (§3.1).
    #[error("the token's sub is no SPIFFE ID: {0}")]
    Subject(#[source] IdError),
    /// A `sub` without a path: that is the trust domain's own ID, no workload's (SPIFFE-ID §3.1).
    #[error("the token's sub has no path, so it is a signing authority's")]
    RootPath,
    /// An `aud`, which a WIT-SVID does not have (§3.8): who it is for stands in the proof.
    #[error("the token has an aud, which a WIT-SVID must not have")]
    Audience,
    /// No `cnf`, or none with a key that proofs can be checked with (§3.2).
    #[error("the token's cnf cannot be used: {0}")]
    Confirmation(#[from] ConfirmationError),
    /// No `exp` (§3.4), or one that is no moment.
    #[error("the token has no exp, or one that is no time")]
    NoExpiry,
    /// An `nbf` or `iat` that is no moment (RFC 7519 §4.1.5, §4.1.6).
    #[error("the token's {claim} is no time")]
    Time {
        /// Which claim.
        claim: &'static str,
    },
    /// There is no bundle of the trust domain, or none with WIT keys.
    #[error("{id} is of a trust domain of which there are no WIT keys")]
    UntrustedDomain {
        /// What the token claims.
        id: SpiffeId,
    },
    /// The bundle has no WIT key of that ID.
    #[error("the token of {id} names a key that its trust domain's bundle does not have")]
    UnknownKey {
        /// What the token claims.
        id: SpiffeId,
    },
    /// The signature is bad, or by a key of another kind.
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
    /// `now` is before `nbf` (§3.5).
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

/// Checks all rules for a token that its own text can be checked for: its form, its signature under the WIT keys of its own trust
/// domain, its time, the key that it is bound to, and that it is not revoked.
///
/// There is no leeway in time. `iat` and `jti` say which tokens a revocation means, and decide nothing else; `iss` and what else
/// there is are not looked at.
pub fn verify_wit_svid(
    token: &str,
    bundles: &WitBundleSet,
    now: UnixTime,
) -> Result<UnprovenWitSvid, WitSvidError> {
    let compact = Compact::parse(token)?;
    let (algorithm, key_id) = check_header(&compact.header)?;
    let claims = compact.claims()?;
    let (id, key) = whose(&claims)?;
    let expires = claims.get("exp").and_then(moment).ok_or(WitSvidError::NoExpiry)?;
    let not_before = optional(&claims, "nbf")?;
    optional(&claims, "iat")?;
    let Some(bundle) = bundles
        .get(id.trust_domain())
        .filter(|bundle| !bundle.keys().is_empty())
    else {
        return Err(WitSvidError::UntrustedDomain { id });
    };
    let Some(signed_with) = bundle.key(&key_id) else {
        return Err(WitSvidError::UnknownKey { id });
    };
    if !signed_with.verifies(algorithm, compact.signed, &compact.signature()?) {
        return Err(WitSvidError::Signature { id });
    }
    if now >= expires {
        return Err(WitSvidError::Expired { id, expired: expires });
    }
    if let Some(not_before) = not_before.filter(|not_before| now < *not_before) {
        return Err(WitSvidError::NotYetValid { id, not_before });
    }
    let svid = UnprovenWitSvid {
        token: token.to_owned(),
        id,
        key,
        expires,
        key_id,
        claims,
    };
    svid.check_revocations(bundles)?;
    Ok(svid)
}

/// Members that are not known are passed over, unless `crit` says that they must not be (§2.4).
fn check_header(header: &Map<String, Value>) -> Result<(JwtAlgorithm, String), WitHeaderError> {
    let algorithm = header.get("alg").and_then(Value::as_str);
    let algorithm = algorithm.and_then(JwtAlgorithm::parse);
    let algorithm = algorithm.ok_or(WitHeaderError::Algorithm)?;
    if header.get("typ").and_then(Value::as_str) != Some("wit+jwt") {
        return Err(WitHeaderError::Type);
    }
    if header.contains_key("crit") {
        return Err(WitHeaderError::Critical);
    }
    let key_id = header.get("kid").and_then(Value::as_str);
    let key_id = key_id.filter(|id| !id.is_empty() && id.len() <= MAX_KEY_ID_BYTES);
    Ok((algorithm, key_id.ok_or(WitHeaderError::KeyId)?.to_owned()))
}

fn whose(claims: &Map<String, Value>) -> Result<(SpiffeId, ConfirmationKey), WitSvidError> {
    let subject = claims.get("sub").and_then(Value::as_str);
    let subject = subject.ok_or(WitSvidError::NoSubject)?;
    let id = SpiffeId::parse(subject).map_err(WitSvidError::Subject)?;
    if id.path().is_empty() {
        return Err(WitSvidError::RootPath);
    }
    if claims.contains_key("aud") {
        return Err(WitSvidError::Audience);
    }
    let key = ConfirmationKey::read(claims.get("cnf").unwrap_or(&Value::Null))?;
    Ok((id, key))
}

fn optional(claims: &Map<String, Value>, claim: &'static str) -> Result<Option<UnixTime>, WitSvidError> {
    claims.get(claim).map_or(Ok(None), |value| {
        moment(value).map(Some).ok_or(WitSvidError::Time { claim })
    })
}
