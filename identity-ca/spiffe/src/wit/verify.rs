//! Verification of WIT-SVIDs (WIT-SVID §4), which is half of it: the other half is the proof.

use rustls_pki_types::UnixTime;
use serde_json::{Map, Value};

use super::bundle::WitBundleSet;
use super::confirmation::{ConfirmationError, ConfirmationKey};
use crate::id::SpiffeId;
use crate::jwt::{JwtAlgorithm, MAX_KEY_ID_BYTES};
use crate::revocation::Revoked;
use crate::token::{Claimed, Compact, Header, TokenError, Vouched};

/// A WIT-SVID whose trust domain vouches for it. Nobody has shown yet that it is theirs: it may be a copy. It says who sent it
/// once [`proven_by`](Self::proven_by) has seen a proof, and not before (WIT-SVID §4, §7.1).
#[derive(Debug, Clone)]
#[must_use = "a WIT-SVID without a proof of possession authenticates nobody"]
pub struct UnprovenWitSvid {
    pub(super) token: String,
    pub(super) key: ConfirmationKey,
    pub(super) vouched: Vouched,
}

impl UnprovenWitSvid {
    /// Whose token it is. Not: who sent it.
    pub fn issued_to(&self) -> &SpiffeId {
        &self.vouched.id
    }

    /// The key that it is bound to.
    pub fn key(&self) -> &ConfirmationKey {
        &self.key
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

    /// Says whether it still counts, by what is revoked in this set of bundles.
    pub fn check_revocations(&self, bundles: &WitBundleSet) -> Result<(), Revoked> {
        self.vouched.check(bundles.revocations())
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
    /// What no kind of token may be.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A header that a WIT-SVID cannot have.
    #[error("the token's header is no WIT-SVID's: {0}")]
    Header(#[from] WitHeaderError),
    /// An `aud`, which a WIT-SVID does not have (§3.8): who it is for stands in the proof.
    #[error("the token has an aud, which a WIT-SVID must not have")]
    Audience,
    /// No `cnf`, or none with a key that proofs can be checked with (§3.2).
    #[error("the token's cnf cannot be used: {0}")]
    Confirmation(#[from] ConfirmationError),
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
    let header = check_header(&compact.header)?;
    let claimed = Claimed::read(compact.claims()?)?;
    if claimed.get("aud").is_some() {
        return Err(WitSvidError::Audience);
    }
    let key = ConfirmationKey::read(claimed.get("cnf").unwrap_or(&Value::Null))?;
    let vouched = claimed.vouched_for(&compact, &header, bundles, now)?;
    vouched.check(bundles.revocations()).map_err(TokenError::from)?;
    Ok(UnprovenWitSvid {
        token: token.to_owned(),
        key,
        vouched,
    })
}

/// Members that are not known are passed over, unless `crit` says that they must not be (§2.4).
fn check_header(header: &Map<String, Value>) -> Result<Header, WitHeaderError> {
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
    let key_id = key_id.ok_or(WitHeaderError::KeyId)?;
    Ok(Header {
        algorithm,
        key_id: Some(key_id.to_owned()),
    })
}
