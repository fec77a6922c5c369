//! The workload's own key in a WIT-SVID (WIT-SVID §3.2, RFC 7800 §3).

use serde_json::{Map, Value};

use crate::jwk::Jwk;
use crate::jwt::{JwtAlgorithm, JwtKey, JwtKeyError, PublicKey, Verifier};

/// Members of a JWK that say something secret (RFC 7518 §6.2.2, §6.3.2, §6.4.1): who publishes one has lost the key.
const SECRET: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// Other ways to name a key. A token names one key, in one way (RFC 7800 §3.1).
const OTHER_WAYS: [&str; 2] = ["jwe", "jku"];

/// A workload's public key, and the one algorithm that it signs proofs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfirmationKey {
    algorithm: JwtAlgorithm,
    key: JwtKey,
}

/// Why a `cnf` names no key that proofs can be checked with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfirmationError {
    /// No object with a `jwk`, which is one (§3.2).
    #[error("it has no jwk")]
    NoKey,
    /// A key by reference, or encrypted, beside the `jwk`.
    #[error("it has {member:?} beside its jwk")]
    Several {
        /// Which.
        member: &'static str,
    },
    /// A private key, or a symmetric one.
    #[error("its jwk has the member {member:?}, which is secret")]
    Secret {
        /// Which.
        member: &'static str,
    },
    /// No `alg`, or one of another kind than those of JWT-SVIDs.
    #[error("its jwk's alg is none of RS, ES and PS with 256, 384 or 512")]
    Algorithm,
    /// Neither RSA nor on a NIST curve.
    #[error("its jwk is no RSA key and none on P-256, P-384 or P-521")]
    Kind,
    /// An `alg` that such a key does not sign with.
    #[error("its jwk's alg does not go with its kind of key")]
    Mismatch,
    /// A damaged key.
    #[error("its jwk {0}")]
    Key(#[from] JwtKeyError),
}

impl ConfirmationKey {
    /// A key that signs with this algorithm.
    ///
    /// # Errors
    /// Such a key does not sign with it.
    pub fn new(key: &JwtKey, algorithm: JwtAlgorithm) -> Result<Self, ConfirmationError> {
        let fits = match (key.public(), algorithm.verifier()) {
            (PublicKey::Ec { curve, .. }, Verifier::Ec(wanted)) => *curve == wanted,
            (PublicKey::Rsa { .. }, Verifier::Rsa(_)) => true,
            (PublicKey::Ec { .. }, Verifier::Rsa(_)) | (PublicKey::Rsa { .. }, Verifier::Ec(_)) => false,
        };
        fits.then(|| Self {
            algorithm,
            key: JwtKey::thumbprinted(key.public().clone()),
        })
        .ok_or(ConfirmationError::Mismatch)
    }

    /// What proofs are signed with.
    pub fn algorithm(&self) -> JwtAlgorithm {
        self.algorithm
    }

    /// Its RFC 7638 thumbprint.
    pub fn thumbprint(&self) -> &str {
        self.key.id()
    }

    /// Whether a signature with the key's own algorithm is good.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verifies(self.algorithm, message, signature)
    }

    pub(super) fn read(confirmation: &Value) -> Result<Self, ConfirmationError> {
        let confirmation = confirmation.as_object().ok_or(ConfirmationError::NoKey)?;
        let jwk = confirmation.get("jwk").and_then(Value::as_object);
        let jwk = jwk.ok_or(ConfirmationError::NoKey)?;
        if let Some(member) = first_of(&OTHER_WAYS, confirmation) {
            return Err(ConfirmationError::Several { member });
        }
        if let Some(member) = first_of(&SECRET, jwk) {
            return Err(ConfirmationError::Secret { member });
        }
        let algorithm = jwk.get("alg").and_then(Value::as_str);
        let algorithm = algorithm.and_then(JwtAlgorithm::parse);
        let algorithm = algorithm.ok_or(ConfirmationError::Algorithm)?;
        let key = Jwk::read(jwk).to_public_key()?.ok_or(ConfirmationError::Kind)?;
        Self::new(&JwtKey::thumbprinted(key), algorithm)
    }

    pub(super) fn to_jwk(&self) -> Jwk {
        Jwk::confirmation(&self.key, self.algorithm)
    }
}

fn first_of<const N: usize>(
    names: &'static [&'static str; N],
    among: &Map<String, Value>,
) -> Option<&'static str> {
    names.iter().copied().find(|name| among.contains_key(*name))
}
