//! Who keeps keys.

use std::fmt;
use std::sync::Arc;

use crate::kind::KeyKind;
use crate::record::{KeyRecord, RecordError};
use crate::signer::Signer;

/// Makes private keys, and opens them again. All calls may block.
pub trait KeyManager: Send + Sync + fmt::Debug {
    /// Its name, as in records and on command lines.
    fn name(&self) -> &'static str;

    /// Makes a key. It can be used at once, and again after a restart by whoever has the record.
    fn generate(&self, kind: KeyKind) -> Result<(KeyRecord, Arc<dyn Signer>), KeyManagerError>;

    /// Takes over a key from elsewhere, unencrypted PKCS #8 (RFC 5208) in DER.
    fn import(&self, pkcs8: &[u8]) -> Result<(KeyRecord, Arc<dyn Signer>), KeyManagerError>;

    /// Opens a key that it made.
    fn open(&self, record: &KeyRecord) -> Result<Arc<dyn Signer>, KeyManagerError>;

    /// Destroys what the manager itself has of a key; the caller deletes the record. No error if there is nothing (left).
    fn forget(&self, record: &KeyRecord) -> Result<(), KeyManagerError>;
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyManagerError {
    /// The system's random source or the cryptographic library failed.
    #[error("no {kind} key could be generated")]
    Generate {
        /// What was asked for.
        kind: KeyKind,
    },
    /// The manager, or the device behind it, does not have such keys.
    #[error("the key manager {manager} has no {kind} keys: {reason}")]
    Kind {
        /// Whose keys.
        manager: &'static str,
        /// What was asked for.
        kind: KeyKind,
        /// What it said.
        reason: String,
    },
    /// A key from elsewhere that is none of ours.
    #[error(
        "the private key is not PKCS #8 of a kind that Signet uses ({})",
        crate::UnknownKind
    )]
    Pkcs8,
    /// Keys of this manager are made by it.
    #[error(
        "the key manager {manager} takes no keys that were made elsewhere: start with --key-manager sealed, change to \
         {manager} afterwards, and rotate"
    )]
    Import {
        /// Whose keys.
        manager: &'static str,
    },
    /// Of another manager.
    #[error("the key was made by the key manager `{manager}`, which is not set up: {how}")]
    OtherManager {
        /// Who made it.
        manager: String,
        /// What to do.
        how: &'static str,
    },
    /// A record that its manager did not write.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Sealed under a data key that is not ours.
    #[error(
        "the key is sealed under another data key: the keys were rewrapped while this CA ran, or its record comes from another \
         database; restart this CA with the key-encryption key that is used now"
    )]
    OtherDataKey,
    /// It does not open, or does not fit its public half.
    #[error(
        "the key's record was changed: what is sealed in it does not open, or is another key; restore it from a backup"
    )]
    Changed,
    /// It was there once.
    #[error("the key is gone: {0}")]
    Gone(String),
    /// The device does not answer.
    #[error("the key manager cannot be reached: {0}")]
    Unreachable(String),
}
