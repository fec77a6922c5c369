//! Making WIT-SVIDs: tokens that are bound to a key of their workload.

use std::time::Duration;

use signet_spiffe::{
    ConfirmationKey, JwtAlgorithm, JwtSigner as _, SpiffeId, TrustDomain, UnixTime, WitSvidClaims,
    sign_wit_svid,
};
use zeroize::Zeroizing;

use crate::jwt::{JwtSigningKey, public};
use crate::request::{RequestError, RequestedKey};
use crate::serial::Serial;
use crate::token::{IssuedToken, TokenIssueError, check_id, end_of};

/// The key of a WIT-SVID as the CA binds it: P-256, which signs proofs with ES256.
#[derive(Debug, Clone)]
#[must_use = "a checked key is worth a token"]
pub struct WitKey(ConfirmationKey);

impl WitKey {
    /// Takes the public key out of a certificate request (PKCS#10) after checking its kind and the request's self-signature:
    /// whoever asks has the private key.
    ///
    /// # Errors
    /// The request is not such a one.
    pub fn from_request(der: &[u8]) -> Result<Self, RequestError> {
        let requested = RequestedKey::of_kind(der, signet_spiffe::KeyType::P256)?;
        let key = public(&requested.spki());
        let key = key.and_then(|key| ConfirmationKey::new(&key, JwtAlgorithm::Es256).ok());
        key.map(Self).ok_or(RequestError::KeyType)
    }
}

/// The key that signs a trust domain's WIT-SVIDs.
#[derive(Debug)]
pub struct WitAuthority {
    trust_domain: TrustDomain,
    key: JwtSigningKey,
}

impl WitAuthority {
    /// An authority with this key.
    pub fn new(trust_domain: TrustDomain, key: JwtSigningKey) -> Self {
        Self { trust_domain, key }
    }

    /// Issues a token (WIT-SVID §4) that ends after `life`, and begins at once: there is no `nbf` that a slow clock could trip
    /// over.
    ///
    /// # Errors
    /// The ID is none of this trust domain's workloads, there is no life, or the key could not sign.
    pub fn issue(
        &self,
        id: &SpiffeId,
        key: &WitKey,
        life: Duration,
        serial: Serial,
        now: UnixTime,
    ) -> Result<IssuedToken, TokenIssueError> {
        check_id(id, &self.trust_domain)?;
        let expires = end_of(now, life)?;
        let claims = WitSvidClaims {
            id,
            key: &key.0,
            issued_at: now,
            expires,
            token_id: &serial.to_string(),
        };
        Ok(IssuedToken {
            id: id.clone(),
            token: Zeroizing::new(sign_wit_svid(&self.key, &claims)?),
            serial,
            key_id: self.key.key_id().to_owned(),
            issued_at: now,
            expires,
        })
    }

    /// Whether signatures leave the process, and so take milliseconds.
    pub fn is_remote(&self) -> bool {
        self.key.is_remote()
    }

    /// ID of the key that signs.
    pub fn key_id(&self) -> &str {
        self.key.key_id()
    }
}
