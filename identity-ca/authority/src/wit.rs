//! Making WIT-SVIDs: tokens that are bound to a key of their workload.

use std::fmt;
use std::time::Duration;

use signet_spiffe::{
    ConfirmationKey, JwtAlgorithm, JwtSigner as _, SpiffeId, TrustDomain, UnixTime, WitSvidClaims,
    sign_wit_svid,
};
use zeroize::Zeroizing;

use crate::jwt::{JwtIssueError, JwtSigningKey, public};
use crate::request::{RequestError, RequestedKey};
use crate::serial::Serial;

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

/// A token that was just signed. `Debug` does not show it.
pub struct IssuedWitSvid {
    /// Whose it is.
    pub id: SpiffeId,
    /// The compact JWS.
    pub token: Zeroizing<String>,
    /// Its `jti`, in hexadecimal there.
    pub serial: Serial,
    /// When it was made.
    pub issued_at: UnixTime,
    /// The first moment at which it is not valid any more.
    pub expires: UnixTime,
}

impl fmt::Debug for IssuedWitSvid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedWitSvid")
            .field("id", &self.id)
            .field("serial", &self.serial)
            .field("issued_at", &self.issued_at)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
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
    ) -> Result<IssuedWitSvid, JwtIssueError> {
        self.check(id)?;
        if life.as_secs() == 0 {
            return Err(JwtIssueError::NoLife);
        }
        let expires =
            UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs().saturating_add(life.as_secs())));
        let claims = WitSvidClaims {
            id,
            key: &key.0,
            issued_at: now,
            expires,
            token_id: &serial.to_string(),
        };
        Ok(IssuedWitSvid {
            id: id.clone(),
            token: Zeroizing::new(sign_wit_svid(&self.key, &claims)?),
            serial,
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

    fn check(&self, id: &SpiffeId) -> Result<(), JwtIssueError> {
        if *id.trust_domain() != self.trust_domain {
            return Err(JwtIssueError::TrustDomain {
                id: id.clone(),
                trust_domain: self.trust_domain.clone(),
            });
        }
        if id.path().is_empty() {
            return Err(JwtIssueError::RootPath { id: id.clone() });
        }
        Ok(())
    }
}
