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

/// Why a JWT-SVID was not issued.
#[derive(Debug, thiserror::Error)]
pub enum JwtIssueError {
    /// The ID is of another trust domain.
    #[error("{id} is not of the trust domain {trust_domain}")]
    TrustDomain {
        /// Whose token was asked for.
        id: SpiffeId,
        /// Ours.
        trust_domain: TrustDomain,
    },
    /// The ID has no path: that is the authority's own.
    #[error("{id} has no path, so it is no workload's")]
    RootPath {
        /// Whose token was asked for.
        id: SpiffeId,
    },
    /// Shorter than the second that tokens count in.
    #[error("the token would have no life")]
    NoLife,
    /// The signature failed.
    #[error(transparent)]
    Sign(#[from] JwtSignerError),
}

/// A token that was just signed. `Debug` does not show it: whoever has it is who it says.
pub struct IssuedJwtSvid {
    /// Whose it is.
    pub id: SpiffeId,
    /// The compact JWS.
    pub token: Zeroizing<String>,
    /// Its `jti`, in hexadecimal there.
    pub serial: Serial,
    /// ID of the key that signed it.
    pub key_id: String,
    /// When it was made.
    pub issued_at: UnixTime,
    /// The first moment at which it is not valid any more.
    pub expires: UnixTime,
}

impl fmt::Debug for IssuedJwtSvid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedJwtSvid")
            .field("id", &self.id)
            .field("serial", &self.serial)
            .field("key_id", &self.key_id)
            .field("issued_at", &self.issued_at)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
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
    ) -> Result<IssuedJwtSvid, JwtIssueError> {
        self.check_id(id)?;
        let life = life.min(MAX_JWT_SVID_LIFE).as_secs();
        if life == 0 {
            return Err(JwtIssueError::NoLife);
        }
        let expires = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs().saturating_add(life)));
        let claims = JwtSvidClaims {
            id,
            audience,
            issued_at: now,
            expires,
            token_id: &serial.to_string(),
            issuer: self.issuer.as_deref(),
        };
        Ok(IssuedJwtSvid {
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

    fn check_id(&self, id: &SpiffeId) -> Result<(), JwtIssueError> {
        let trust_domain = self.bundle.trust_domain();
        if id.trust_domain() != trust_domain {
            return Err(JwtIssueError::TrustDomain {
                id: id.clone(),
                trust_domain: trust_domain.clone(),
            });
        }
        if id.path().is_empty() {
            return Err(JwtIssueError::RootPath { id: id.clone() });
        }
        Ok(())
    }
}
