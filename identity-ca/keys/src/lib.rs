//! Where the CA's private keys live.
//!
//! A [`KeyManager`] makes keys and opens them again by their [`KeyRecord`], which lies in the registry beside the certificate that
//! it belongs to; what signs is a [`Signer`]. [`MemoryKeys`] forgets at the end of the process; [`SealedKeys`] puts the key itself
//! into the record, sealed under a key that the registry does not have. [`KeyRing`] is several managers at once: one makes
//! new keys, all open what they once made.
//!
//! All of it blocks, some of it for long (a passphrase, a key on a device): [`Signer::is_remote`] says so.

mod certifier;
mod ecdsa;
mod kind;
mod manager;
mod memory;
mod record;
mod ring;
mod sealed;
mod secret_file;
mod signer;
mod software;

pub use certifier::CertificateKey;
pub use ecdsa::{der_signature, fixed_signature};
pub use kind::{KeyKind, UnknownKind};
pub use manager::{KeyManager, KeyManagerError};
pub use memory::MemoryKeys;
pub use record::{KeyRecord, MAX_RECORD_BYTES, RecordError};
pub use ring::KeyRing;
pub use sealed::{Envelope, EnvelopeError, Kek, KekError, SealedKeys};
pub use secret_file::{SecretFile, SecretFileError, credential};
pub use signer::{SignError, Signer};
