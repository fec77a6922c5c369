//! The key that signs.

use std::fmt;

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_pki_types::PrivatePkcs8KeyDer;
use zeroize::{Zeroize, Zeroizing};

/// A P-256 signing key. Its encoded form is overwritten on drop, and `Debug` shows nothing of it.
pub struct SigningKey(pub(crate) KeyPair);

/// Why there is no signing key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The system's random source failed.
    #[error("no key could be generated: {0}")]
    Generate(#[source] rcgen::Error),
    /// Not PKCS#8, or not a P-256 key.
    #[error("the key is no P-256 key in PKCS#8: {0}")]
    Decode(#[source] rcgen::Error),
    /// A key that cannot be used although it was read.
    #[error("the key's public half cannot be used")]
    Public,
}

impl SigningKey {
    /// A new key. aws-lc draws it from the system's random source: it takes no randomness from outside.
    pub fn generate() -> Result<Self, KeyError> {
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
            .map(Self)
            .map_err(KeyError::Generate)
    }

    /// Reads PKCS#8, DER.
    pub fn from_pkcs8(der: &PrivatePkcs8KeyDer<'_>) -> Result<Self, KeyError> {
        KeyPair::from_pkcs8_der_and_sign_algo(der, &PKCS_ECDSA_P256_SHA256)
            .map(Self)
            .map_err(KeyError::Decode)
    }

    /// The secret, PKCS#8 in PEM, to be kept where nobody else can read.
    pub fn to_secret_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.0.serialize_pem())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

impl Drop for SigningKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
