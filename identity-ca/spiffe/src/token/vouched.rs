//! The half of a token's verification that does not depend on its kind: whose it is, whether that trust domain signed it, its
//! time, and whether it is revoked (JWT-SVID §4, WIT-SVID §4).

use std::time::Duration;

use rustls_pki_types::UnixTime;
use serde_json::{Map, Value};

use super::compact::Compact;
use super::error::TokenError;
use crate::bundles::{BundlesOf, OfTrustDomain};
use crate::id::SpiffeId;
use crate::jwt::{JwtAlgorithm, JwtBundle, JwtKey};
use crate::revocation::{Revocations, Revoked, TokenFacts};

/// Keys that tokens of one kind are checked with.
pub(crate) trait TokenBundle: OfTrustDomain {
    /// What those tokens are called.
    const KIND: &'static str;

    fn keys(&self) -> &JwtBundle;
}

/// What a header says of the signature.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) algorithm: JwtAlgorithm,
    /// Without it all keys of the trust domain are tried (JWT-SVID §2.2).
    pub(crate) key_id: Option<String>,
}

/// The claims that all kinds have, read from an object that nobody has vouched for yet.
#[derive(Debug)]
pub(crate) struct Claimed {
    id: SpiffeId,
    expires: UnixTime,
    not_before: Option<UnixTime>,
    issued: Option<UnixTime>,
    claims: Map<String, Value>,
}

impl Claimed {
    pub(crate) fn read(claims: Map<String, Value>) -> Result<Self, TokenError> {
        let subject = claims.get("sub").and_then(Value::as_str);
        let subject = subject.ok_or(TokenError::NoSubject)?;
        let id = SpiffeId::parse(subject).map_err(TokenError::Subject)?;
        if id.path().is_empty() {
            return Err(TokenError::RootPath);
        }
        let optional = |claim| {
            let value = claims.get(claim);
            value.map_or(Ok(None), |value| {
                moment(value).map(Some).ok_or(TokenError::Time { claim })
            })
        };
        Ok(Self {
            id,
            expires: claims.get("exp").and_then(moment).ok_or(TokenError::NoExpiry)?,
            not_before: optional("nbf")?,
            issued: optional("iat")?,
            claims,
        })
    }

    pub(crate) fn get(&self, claim: &str) -> Option<&Value> {
        self.claims.get(claim)
    }

    /// Checks the signature under the keys of the token's own trust domain, and its time. There is no leeway in time: `exp` is
    /// the first moment at which it is refused (RFC 7519 §4.1.4).
    pub(crate) fn vouched_for<B: TokenBundle>(
        self,
        token: &Compact<'_>,
        header: &Header,
        bundles: &BundlesOf<B>,
        now: UnixTime,
    ) -> Result<Vouched, TokenError> {
        let bundle = bundles.get(self.id.trust_domain()).map(B::keys);
        let Some(bundle) = bundle.filter(|bundle| !bundle.keys().is_empty()) else {
            return Err(TokenError::UntrustedDomain {
                id: self.id,
                kind: B::KIND,
            });
        };
        let key_id = signed_by(token, header, bundle, &self.id)?.to_owned();
        if now >= self.expires {
            return Err(TokenError::Expired {
                id: self.id,
                expired: self.expires,
            });
        }
        if let Some(not_before) = self.not_before.filter(|not_before| now < *not_before) {
            return Err(TokenError::NotYetValid {
                id: self.id,
                not_before,
            });
        }
        Ok(Vouched {
            id: self.id,
            expires: self.expires,
            issued: self.issued,
            key_id,
            claims: self.claims,
        })
    }
}

/// The ID of the key that signed.
fn signed_by<'b>(
    token: &Compact<'_>,
    header: &Header,
    bundle: &'b JwtBundle,
    id: &SpiffeId,
) -> Result<&'b str, TokenError> {
    let signature = token.signature()?;
    let verifies = |key: &&JwtKey| key.verifies(header.algorithm, token.signed, &signature);
    let key = match &header.key_id {
        Some(key_id) => {
            let key = bundle
                .key(key_id)
                .ok_or_else(|| TokenError::UnknownKey { id: id.clone() })?;
            Some(key).filter(verifies)
        }
        None => bundle.keys().iter().find(verifies),
    };
    key.map(JwtKey::id)
        .ok_or_else(|| TokenError::Signature { id: id.clone() })
}

/// What a trust domain vouches for. Whether it is revoked is asked apart, since that changes later.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Vouched {
    pub(crate) id: SpiffeId,
    pub(crate) expires: UnixTime,
    pub(crate) issued: Option<UnixTime>,
    pub(crate) key_id: String,
    pub(crate) claims: Map<String, Value>,
}

impl Vouched {
    /// Its `jti`.
    pub(crate) fn token_id(&self) -> Option<&str> {
        self.claims.get("jti")?.as_str()
    }

    /// Says whether it still counts. `iat` and `jti` say which tokens a revocation means, and decide nothing else.
    pub(crate) fn check(&self, revocations: &Revocations) -> Result<(), Revoked> {
        revocations.check_facts(&TokenFacts {
            id: &self.id,
            token_id: self.token_id(),
            issued: self.issued,
        })
    }
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
