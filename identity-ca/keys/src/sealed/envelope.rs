//! The data key, sealed under the key-encryption key: one row of the registry, the same for all replicas.

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};

use super::aead::{self, KEY, Key, OVERHEAD};
use super::kek::{Kek, Stretch};
use super::manager::{NAME, SealedKeys};
use crate::record::KeyRecord;

const VERSION: u8 = 1;

/// Bytes of a data key's ID.
pub(super) const ID: usize = 16;

const HEADER: usize = 1 + ID + 1 + 4 + 1 + 1 + 16;

/// The data key under which private keys are sealed, itself sealed under the key-encryption key. It says how a passphrase
/// becomes that key, and holds no secret without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    id: [u8; ID],
    stretch: Option<Stretch>,
    sealed: Vec<u8>,
}

/// Why the data key is not to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Written by a later version.
    #[error("the data key has format {0}, which a later version of Signet wrote")]
    Version(u8),
    /// Cut off, too long, or never an envelope.
    #[error("the data key in the registry is damaged; restore it from a backup")]
    Damaged,
    /// A file was given where a passphrase is needed.
    #[error(
        "the keys are sealed under a passphrase: give --key-passphrase-file (or the credential signet-ca.passphrase)"
    )]
    NeedsPassphrase,
    /// The other way round.
    #[error(
        "the keys are sealed under a key, not a passphrase: give --key-encryption-key-file (or the credential signet-ca.kek), or \
         none of both where the key is in the data directory"
    )]
    NeedsKey,
    /// Another key-encryption key, or a changed row.
    #[error(
        "the key-encryption key (or passphrase) is not the one that the keys in the registry are sealed under; nothing was changed"
    )]
    WrongKek,
    /// The system's random source or the cryptographic library failed.
    #[error("nothing could be sealed")]
    Failed,
}

impl Envelope {
    /// A new data key under this key-encryption key. Takes a second for a passphrase.
    pub fn create(kek: &Kek) -> Result<(Self, SealedKeys), EnvelopeError> {
        let random = SystemRandom::new();
        let fill = |bytes: &mut [u8]| random.fill(bytes).map_err(|_| EnvelopeError::Failed);
        let (mut id, mut data_key) = ([0; ID], Key::default());
        fill(&mut id)?;
        fill(&mut *data_key)?;
        let stretch = match kek {
            Kek::Key(_) => None,
            Kek::Passphrase(_) => {
                let mut salt = [0; 16];
                fill(&mut salt)?;
                let (memory, passes, lanes) = Stretch::COSTS;
                Some(Stretch {
                    memory,
                    passes,
                    lanes,
                    salt,
                })
            }
        };
        let mut envelope = Self {
            id,
            stretch,
            sealed: Vec::new(),
        };
        let wrapping = envelope.wrapping_key(kek)?;
        envelope.sealed =
            aead::seal(&wrapping, &envelope.header(), &*data_key).ok_or(EnvelopeError::Failed)?;
        Ok((envelope, SealedKeys::new(id, data_key)))
    }

    /// Opens it. Takes a second for a passphrase.
    pub fn open(&self, kek: &Kek) -> Result<SealedKeys, EnvelopeError> {
        let wrapping = self.wrapping_key(kek)?;
        let opened = aead::open(&wrapping, &self.header(), &self.sealed).ok_or(EnvelopeError::WrongKek)?;
        let key = <[u8; KEY]>::try_from(opened.as_slice()).map_err(|_| EnvelopeError::Damaged)?;
        Ok(SealedKeys::new(self.id, Key::new(key)))
    }

    /// Whether a record is none of a sealed key, or is sealed under this data key.
    pub fn fits(&self, record: &KeyRecord) -> bool {
        record.manager() != NAME || record.body().starts_with(&self.id)
    }

    /// Whether what opens it is a passphrase.
    pub fn is_under_passphrase(&self) -> bool {
        self.stretch.is_some()
    }

    /// For a row of the registry.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.header();
        bytes.extend(&self.sealed);
        bytes
    }

    /// Reads what [`Envelope::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let damaged = EnvelopeError::Damaged;
        let (&version, rest) = bytes.split_first().ok_or(damaged)?;
        if version != VERSION {
            return Err(EnvelopeError::Version(version));
        }
        if bytes.len() != HEADER + KEY + OVERHEAD {
            return Err(damaged);
        }
        let (id, rest) = rest.split_first_chunk::<ID>().ok_or(damaged)?;
        let (&[kind, m0, m1, m2, m3, passes, lanes], rest) = rest.split_first_chunk::<7>().ok_or(damaged)?;
        let (salt, sealed) = rest.split_first_chunk::<16>().ok_or(damaged)?;
        let stretch = Stretch {
            memory: u32::from_be_bytes([m0, m1, m2, m3]),
            passes,
            lanes,
            salt: *salt,
        };
        let stretch = match kind {
            0 => None,
            1 if stretch.is_within_bounds() => Some(stretch),
            _ => return Err(damaged),
        };
        let envelope = Self {
            id: *id,
            stretch,
            sealed: sealed.to_vec(),
        };
        // Without a passphrase its costs are zero: each envelope has one encoding.
        if envelope.encode() == bytes {
            Ok(envelope)
        } else {
            Err(damaged)
        }
    }

    /// All but what is sealed; and what it is sealed with as additional data.
    fn header(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + KEY + OVERHEAD);
        bytes.push(VERSION);
        bytes.extend(self.id);
        match &self.stretch {
            None => bytes.extend([0; HEADER - 1 - ID]),
            Some(stretch) => {
                bytes.push(1);
                bytes.extend(stretch.memory.to_be_bytes());
                bytes.extend([stretch.passes, stretch.lanes]);
                bytes.extend(stretch.salt);
            }
        }
        bytes
    }

    fn wrapping_key(&self, kek: &Kek) -> Result<Key, EnvelopeError> {
        match (kek, &self.stretch) {
            (Kek::Key(key), None) => Ok(key.clone()),
            (Kek::Passphrase(passphrase), Some(stretch)) => {
                stretch.key(passphrase).ok_or(EnvelopeError::Failed)
            }
            (Kek::Key(_), Some(_)) => Err(EnvelopeError::NeedsPassphrase),
            (Kek::Passphrase(_), None) => Err(EnvelopeError::NeedsKey),
        }
    }
}
