//! A signer as rcgen wants it.

use std::fmt;
use std::sync::Arc;

use rcgen::{PublicKeyData, SigningKey, SubjectPublicKeyInfo};
use tracing::error;

use crate::signer::Signer;

/// A [`Signer`] that rcgen can sign certificates and lists with.
#[derive(Clone)]
pub struct CertificateKey {
    signer: Arc<dyn Signer>,
    public: SubjectPublicKeyInfo,
}

impl CertificateKey {
    /// For this signer. None if its public key is not of its kind.
    pub fn new(signer: Arc<dyn Signer>) -> Option<Self> {
        let public = SubjectPublicKeyInfo::from_der(signer.public_key()).ok()?;
        // What certificates say must be, to the byte, what the key's record says.
        let key = Self { signer, public };
        (key.subject_public_key_info() == key.signer.public_key()).then_some(key)
    }

    /// What signs.
    pub fn signer(&self) -> &Arc<dyn Signer> {
        &self.signer
    }
}

impl PublicKeyData for CertificateKey {
    fn der_bytes(&self) -> &[u8] {
        self.public.der_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.signer.kind().certificate_algorithm()
    }
}

impl SigningKey for CertificateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.signer.sign(message).map_err(|error| {
            // rcgen's error has no room for the reason.
            error!(%error, key.kind = %self.signer.kind(), "a signing key failed");
            rcgen::Error::RemoteKeyError
        })
    }
}

impl fmt::Debug for CertificateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CertificateKey").field(&self.signer).finish()
    }
}
