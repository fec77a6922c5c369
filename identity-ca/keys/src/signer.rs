//! What signs.

use std::fmt;

use crate::kind::KeyKind;

/// A private key that can be used, wherever it is. Its `Debug` shows nothing of the secret.
pub trait Signer: Send + Sync + fmt::Debug {
    /// The public half: a `SubjectPublicKeyInfo` in DER (RFC 5280 §4.1).
    fn public_key(&self) -> &[u8];

    /// What kind of key it is, and so how it signs.
    fn kind(&self) -> KeyKind;

    /// Signs a message, which is hashed here, in the encoding of X.509: ECDSA as DER (RFC 3279 §2.2.3), others as they are. For JWTs see
    /// [`fixed_signature`](crate::fixed_signature).
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;

    /// Whether a signature leaves the process, and so takes milliseconds and may fail for a while: not to be waited for where others
    /// wait, too.
    fn is_remote(&self) -> bool {
        false
    }
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The cryptographic library refused, which its random source failing could be a reason for.
    #[error("the key could not be used")]
    Failed,
    /// The device that has the key does not answer. It is asked again the next time.
    #[error("the key cannot be reached: {0}")]
    Unreachable(String),
}
