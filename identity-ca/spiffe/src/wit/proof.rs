//! Proofs of possession: WIMSE Workload Proof Tokens (draft-ietf-wimse-wpt-02, as WIT-SVID §5 recommends).

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64URL_NOPAD;
use rustls_pki_types::UnixTime;
use serde_json::{Map, Value};

use super::confirmation::ConfirmationKey;
use super::replay::SeenProofs;
use super::verify::UnprovenWitSvid;
use crate::id::SpiffeId;
use crate::token::{Compact, TokenError, moment, texts};

/// Proofs that end later than this are refused: how long a stolen one is worth something (WIT-SVID §7.2).
pub const MAX_PROOF_LIFE: Duration = Duration::from_mins(5);

/// Longest `jti` of a proof, bytes.
const MAX_PROOF_ID_BYTES: usize = 256;

/// What a proof has to be about: the request that it came with.
#[derive(Debug, Clone, Copy)]
pub struct ProofContext<'a> {
    /// The request's target URI without query and fragment, or what else senders and receivers have agreed upon.
    pub audience: &'a str,
    /// The OAuth access token in the request, where the receiver looks at it.
    pub access_token: Option<&'a str>,
    /// The transaction token in the request, where the receiver looks at it.
    pub transaction_token: Option<&'a str>,
}

impl<'a> ProofContext<'a> {
    /// A request with a WIT-SVID and a proof, and nothing else that says who somebody is.
    pub fn of(audience: &'a str) -> Self {
        Self {
            audience,
            access_token: None,
            transaction_token: None,
        }
    }
}

/// Proof that a WIT-SVID was verified, and that whoever sent it has its key: only [`UnprovenWitSvid::proven_by`] makes one.
#[derive(Debug, Clone)]
#[must_use = "a verified SVID says who sent it; nothing is authorized until that was looked at"]
pub struct VerifiedWitSvid {
    svid: UnprovenWitSvid,
}

impl VerifiedWitSvid {
    /// The SPIFFE ID of whoever sent the request.
    pub fn id(&self) -> &SpiffeId {
        self.svid.issued_to()
    }

    /// The key that they have.
    pub fn key(&self) -> &ConfirmationKey {
        &self.svid.key
    }

    /// End of the SVID's validity, in whole seconds.
    pub fn expires(&self) -> UnixTime {
        self.svid.expires()
    }

    /// The SVID's `jti`, to trace it by. Two workloads on one node may have the same one.
    pub fn token_id(&self) -> Option<&str> {
        self.svid.token_id()
    }

    /// All claims of the SVID, as they were signed.
    pub fn claims(&self) -> &Map<String, Value> {
        &self.svid.vouched.claims
    }
}

/// Why a proof proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Too long, no compact JWS, or with a part that cannot be read.
    #[error("the proof cannot be read: {0}")]
    Form(#[from] TokenError),
    /// Another `typ` than `wpt+jwt`: what was signed for something else proves nothing here.
    #[error("the proof's typ is not wpt+jwt")]
    Type,
    /// Not the `alg` that the key in the WIT-SVID is for.
    #[error("the proof's alg is not the one of the WIT-SVID's key")]
    Algorithm,
    /// `crit`: nothing such is known.
    #[error("the proof's crit asks for extensions, of which none is known here")]
    Critical,
    /// Not by the key that the WIT-SVID is bound to: it was stolen, or the proof was changed.
    #[error("the proof is not signed by the key that the WIT-SVID is bound to")]
    Signature,
    /// A claim that is not there, or not of its form.
    #[error("the proof has no {claim}, or one that cannot be read")]
    Claim {
        /// Which.
        claim: &'static str,
    },
    /// `now` is at or after its `exp`.
    #[error("the proof has expired")]
    Expired,
    /// It ends later than [`MAX_PROOF_LIFE`] from now.
    #[error("the proof lives longer than {} s", MAX_PROOF_LIFE.as_secs())]
    TooLong,
    /// It was made for another receiver or path.
    #[error("the proof is for another audience")]
    Audience,
    /// It was made with another WIT-SVID (`wth`).
    #[error("the proof is of another WIT-SVID")]
    OtherSvid,
    /// `ath` or `tth` does not fit what is in the request, or lacks where that is.
    #[error("the proof's {claim} does not fit the token beside it")]
    Beside {
        /// Which claim.
        claim: &'static str,
    },
    /// `oth`: hashes of tokens that nobody here knows of.
    #[error("the proof binds other tokens (oth), of which none is known here")]
    Others,
    /// It was here before.
    #[error("the proof was used before")]
    Replayed,
    /// [`SeenProofs`] is full: whether it was here before could not be told later.
    #[error("too many proofs are remembered; try again later")]
    Full,
}

impl UnprovenWitSvid {
    /// Checks that whoever sent this and `proof` has the key, and made the proof for this request, just now, and once.
    ///
    /// # Errors
    /// The proof proves nothing; the WIT-SVID is not to be believed either, wherever it came from.
    pub fn proven_by(
        self,
        proof: &str,
        context: &ProofContext<'_>,
        seen: &mut SeenProofs,
        now: UnixTime,
    ) -> Result<VerifiedWitSvid, ProofError> {
        let compact = Compact::parse(proof)?;
        self.check_header(&compact.header)?;
        if !self.key.verifies(compact.signed, &compact.signature()?) {
            return Err(ProofError::Signature);
        }
        let claims = compact.claims()?;
        let text = |claim| {
            let value = claims.get(claim).and_then(Value::as_str);
            value.ok_or(ProofError::Claim { claim })
        };
        if text("wth")? != hash_of(&self.token) {
            return Err(ProofError::OtherSvid);
        }
        // Its end may be later than that of the SVID by a moment.
        let expires = claims.get("exp").and_then(moment);
        let expires = expires.ok_or(ProofError::Claim { claim: "exp" })?;
        if now >= expires || now >= self.expires() {
            return Err(ProofError::Expired);
        }
        if expires.as_secs() - now.as_secs() > MAX_PROOF_LIFE.as_secs() {
            return Err(ProofError::TooLong);
        }
        let audience = claims.get("aud").and_then(texts);
        let audience = audience.ok_or(ProofError::Claim { claim: "aud" })?;
        if !audience.iter().any(|named| named == context.audience) {
            return Err(ProofError::Audience);
        }
        check_beside("ath", &claims, context.access_token)?;
        check_beside("tth", &claims, context.transaction_token)?;
        if claims.contains_key("oth") {
            return Err(ProofError::Others);
        }
        let id = text("jti")?;
        if id.is_empty() || id.len() > MAX_PROOF_ID_BYTES {
            return Err(ProofError::Claim { claim: "jti" });
        }
        // Last: what is refused for another reason is not used up.
        seen.take(self.key.thumbprint(), id, expires, now)?;
        Ok(VerifiedWitSvid { svid: self })
    }

    fn check_header(&self, header: &Map<String, Value>) -> Result<(), ProofError> {
        let text = |name| header.get(name).and_then(Value::as_str);
        if text("typ") != Some("wpt+jwt") {
            return Err(ProofError::Type);
        }
        if text("alg") != Some(self.key.algorithm().as_str()) {
            return Err(ProofError::Algorithm);
        }
        if header.contains_key("crit") {
            return Err(ProofError::Critical);
        }
        Ok(())
    }
}

/// A hash for what is not there is as bad as none for what is.
fn check_beside(
    claim: &'static str,
    claims: &Map<String, Value>,
    token: Option<&str>,
) -> Result<(), ProofError> {
    let said = claims.get(claim);
    let fits = match token {
        None => said.is_none(),
        Some(token) => said.and_then(Value::as_str) == Some(hash_of(token).as_str()),
    };
    fits.then_some(()).ok_or(ProofError::Beside { claim })
}

/// Base64url of SHA-256 over the ASCII text.
pub(super) fn hash_of(token: &str) -> String {
    BASE64URL_NOPAD.encode(digest(&SHA256, token.as_bytes()).as_ref())
}
