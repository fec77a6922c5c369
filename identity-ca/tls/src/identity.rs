//! What a side of a connection shows of itself.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::PrivateKeyDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use signet_spiffe::CertificateDer;
use zeroize::Zeroize;

/// An X.509-SVID with its private key. The key is overwritten on drop.
pub struct SvidKeyPair {
    /// Leaf first, without the root.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's key.
    pub key: PrivateKeyDer<'static>,
}

/// Why no configuration came about. All of these blame the caller's own identity.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TlsError {
    /// An identity without a certificate.
    #[error("the identity has no certificate")]
    NoCertificate,
    /// The private key cannot be read, or is of a kind that TLS 1.3 cannot sign with.
    #[error("the private key cannot be used: {0}")]
    Key(#[source] rustls::Error),
    /// The certificate is for another key.
    #[error("certificate and private key do not belong together: {0}")]
    Mismatch(#[source] rustls::Error),
    /// rustls refused the rest.
    #[error("the configuration was refused: {0}")]
    Config(#[source] rustls::Error),
}

impl SvidKeyPair {
    /// Made ready for handshakes: the key is read, and seen to be that of the certificate.
    pub fn shown(&self) -> Result<Shown, TlsError> {
        if self.chain.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&self.key).map_err(TlsError::Key)?;
        let certified = CertifiedKey::new(self.chain.clone(), key);
        certified.keys_match().map_err(TlsError::Mismatch)?;
        Ok(Shown(Arc::new(SingleCertAndKey::from(certified))))
    }
}

/// An identity that is ready for handshakes. Clones share the key; whoever holds one can sign with it.
#[derive(Clone)]
pub struct Shown(Arc<SingleCertAndKey>);

impl Shown {
    /// A resolver that always shows this chain.
    pub(crate) fn resolver(&self) -> Arc<SingleCertAndKey> {
        Arc::clone(&self.0)
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shown").finish_non_exhaustive()
    }
}

impl Clone for SvidKeyPair {
    fn clone(&self) -> Self {
        Self {
            chain: self.chain.clone(),
            key: self.key.clone_key(),
        }
    }
}

impl fmt::Debug for SvidKeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SvidKeyPair")
            .field("chain", &self.chain.len())
            .finish_non_exhaustive()
    }
}

impl Drop for SvidKeyPair {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}
