//! Making JWT-SVIDs: the key that signs them, and the keys that are published.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use signet_keys::{KeyKind, Signer, fixed_signature};
use signet_spiffe::{
    Audience, JwtAlgorithm, JwtBundle, JwtBundleError, JwtKey, JwtSigner, JwtSignerError, JwtSvidClaims,
    SpiffeId, TrustDomain, UnixTime, sign_jwt_svid,
};
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;
use zeroize::Zeroizing;

use crate::key::{KeyError, unkept};
use crate::serial::Serial;
use crate::token::{IssuedToken, TokenIssueError, check_id, end_of};

/// Longest life of a JWT-SVID. It is a bearer token that nothing but its end takes back from those who only have the keys
/// (JWT-SVID §7.1).
pub const MAX_JWT_SVID_LIFE: Duration = Duration::from_hours(1);

/// A key for JWT-SVIDs, wherever it is. `Debug` shows nothing of it.
pub struct JwtSigningKey {
    signer: Arc<dyn Signer>,
    algorithm: JwtAlgorithm,
    public: JwtKey,
}

impl JwtSigningKey {
    /// What a key manager has opened.
    pub fn new(signer: Arc<dyn Signer>) -> Result<Self, KeyError> {
        let kind = signer.kind();
        let algorithm = match kind {
            KeyKind::P256 => JwtAlgorithm::Es256,
            KeyKind::P384 => JwtAlgorithm::Es384,
            KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096 => JwtAlgorithm::Rs256,
            KeyKind::Ed25519 => return Err(KeyError::Kind(kind)),
        };
        let public = public(signer.public_key()).ok_or(KeyError::Public)?;
        Ok(Self {
            signer,
            algorithm,
            public,
        })
    }

    /// A new key for ES256 that nobody keeps.
    pub fn generate() -> Result<Self, KeyError> {
        Self::new(unkept()?)
    }

    /// What is published of it. Its ID is its RFC 7638 thumbprint.
    pub fn public(&self) -> &JwtKey {
        &self.public
    }

    /// Whether signatures leave the process, and so take milliseconds.
    pub fn is_remote(&self) -> bool {
        self.signer.is_remote()
    }
}

/// From a `SubjectPublicKeyInfo`.
pub(crate) fn public(spki: &[u8]) -> Option<JwtKey> {
    let (_, info) = SubjectPublicKeyInfo::from_der(spki).ok()?;
    #[expect(clippy::wildcard_enum_match_arm, reason = "x509-parser's kinds are not ours")]
    match info.parsed().ok()? {
        PublicKey::EC(point) => JwtKey::ec(point.data()).ok(),
        PublicKey::RSA(key) => JwtKey::rsa(key.modulus, key.exponent).ok(),
        _ => None,
    }
}

impl JwtSigner for JwtSigningKey {
    fn algorithm(&self) -> JwtAlgorithm {
        self.algorithm
    }

    fn key_id(&self) -> &str {
        self.public.id()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, JwtSignerError> {
        let signature = self.signer.sign(message).map_err(|_| JwtSignerError)?;
        fixed_signature(self.signer.kind(), &signature).ok_or(JwtSignerError)
    }
}

impl fmt::Debug for JwtSigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JwtSigningKey({})", self.public.id())
    }
}

/// The JWT half of a trust domain's authority.
///
/// One key signs. Others may be published beside it: one that is prepared, so that validators have it before its first
/// token (Federation §4.1), and old ones whose tokens still live.
#[derive(Debug)]
pub struct JwtAuthority {
    active: JwtSigningKey,
    bundle: JwtBundle,
    issuer: Option<String>,
}

impl JwtAuthority {
    /// An authority whose `active` key signs, and which publishes the keys `beside` as well.
    pub fn new(
        trust_domain: TrustDomain,
        active: JwtSigningKey,
        beside: impl IntoIterator<Item = JwtKey>,
    ) -> Result<Self, JwtBundleError> {
        let keys = std::iter::once(active.public().clone()).chain(beside).collect();
        Ok(Self {
            bundle: JwtBundle::new(trust_domain, keys)?,
            active,
            issuer: None,
        })
    }

    /// The same with an issuer in its tokens (`iss`), for validators that find keys by OIDC discovery. SPIFFE's own
    /// do not look at it.
    #[must_use]
    pub fn with_issuer(mut self, issuer: Option<&str>) -> Self {
        self.issuer = issuer.map(str::to_owned);
        self
    }

    /// What its tokens are signed with.
    pub fn algorithm(&self) -> JwtAlgorithm {
        self.active.algorithm()
    }

    /// Issues a token (JWT-SVID §3). It ends after `life`, at most [`MAX_JWT_SVID_LIFE`], and begins at once: there is no
    /// `nbf` that a slow clock could trip over.
    pub fn issue(
        &self,
        id: &SpiffeId,
        audience: &Audience,
        life: Duration,
        serial: Serial,
        now: UnixTime,
    ) -> Result<IssuedToken, TokenIssueError> {
        check_id(id, self.bundle.trust_domain())?;
        let expires = end_of(now, life.min(MAX_JWT_SVID_LIFE))?;
        let claims = JwtSvidClaims {
            id,
            audience,
            issued_at: now,
            expires,
            token_id: &serial.to_string(),
            issuer: self.issuer.as_deref(),
        };
        Ok(IssuedToken {
            id: id.clone(),
            token: Zeroizing::new(sign_jwt_svid(&self.active, &claims)?),
            serial,
            key_id: self.active.key_id().to_owned(),
            issued_at: now,
            expires,
        })
    }

    /// What its tokens are checked against: the keys in use and those beside.
    pub fn bundle(&self) -> &JwtBundle {
        &self.bundle
    }

    /// Whether signatures leave the process, and so take milliseconds.
    pub fn is_remote(&self) -> bool {
        self.active.is_remote()
    }

    /// ID of the key that signs.
    pub fn key_id(&self) -> &str {
        self.active.key_id()
    }
}
