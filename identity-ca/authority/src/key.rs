//! The key that signs.

use std::fmt;
use std::sync::Arc;

use signet_keys::{CertificateKey, KeyKind, KeyManager as _, KeyManagerError, MemoryKeys, Signer};

/// A key that signs certificates and lists, wherever it is. `Debug` shows nothing of it.
pub struct SigningKey(pub(crate) CertificateKey);

/// Why there is no signing key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It was not made.
    #[error(transparent)]
    Manager(#[from] KeyManagerError),
    /// A public half that is not of the key's kind.
    #[error("the key's public half cannot be used")]
    Public,
    /// A kind that JWT-SVIDs do not know (JWT-SVID §2.1).
    #[error("JWT-SVIDs are not signed with keys of the kind {0}")]
    Kind(KeyKind),
}

impl SigningKey {
    /// What a key manager has opened.
    pub fn new(signer: Arc<dyn Signer>) -> Result<Self, KeyError> {
        CertificateKey::new(signer).map(Self).ok_or(KeyError::Public)
    }

    /// A new P-256 key that nobody keeps.
    pub fn generate() -> Result<Self, KeyError> {
        Self::new(unkept()?)
    }

    /// Whether signatures leave the process, and so take milliseconds.
    pub fn is_remote(&self) -> bool {
        self.0.signer().is_remote()
    }
}

/// A P-256 key that ends with whoever holds it.
pub(crate) fn unkept() -> Result<Arc<dyn Signer>, KeyManagerError> {
    let (_, signer) = MemoryKeys::default().generate(KeyKind::P256)?;
    Ok(signer)
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}
