//! The key that everything else hangs on, and where it comes from.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use data_encoding::{BASE64, BASE64_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE};
use zeroize::Zeroizing;

use super::aead::{KEY, Key};
use crate::secret_file::{SecretFile, SecretFileError};

/// Fewest bytes of a passphrase: what is shorter is guessed.
const MIN_PASSPHRASE: usize = 12;

/// The key-encryption key, or what it is made of. `Debug` shows which of the two.
#[derive(Clone)]
pub enum Kek {
    /// 256 random bits.
    Key(Zeroizing<[u8; KEY]>),
    /// Words that people can keep; the key comes out of them by Argon2id.
    Passphrase(Zeroizing<Vec<u8>>),
}

/// Why there is no key-encryption key.
#[derive(Debug, thiserror::Error)]
pub enum KekError {
    /// The file.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// Not 32 bytes.
    #[error(
        "{0} does not hold 32 bytes, as 64 hexadecimal digits, in base 64 or plain; make one with `openssl rand -hex 32`"
    )]
    Form(String),
    /// Too short.
    #[error("the passphrase in {0} is shorter than {MIN_PASSPHRASE} bytes")]
    Short(String),
    /// The system's random source failed.
    #[error("no key could be generated")]
    Random,
}

impl Kek {
    /// A new one.
    pub fn generate() -> Result<Self, KekError> {
        let mut key = Key::default();
        SystemRandom::new()
            .fill(&mut *key)
            .map_err(|_| KekError::Random)?;
        Ok(Self::Key(key))
    }

    /// From a file with 32 bytes: hexadecimal, base 64 or plain, told apart by their length.
    pub fn from_key_file(file: &SecretFile) -> Result<Self, KekError> {
        let bytes = file.read()?;
        Self::from_key_bytes(&bytes).ok_or_else(|| KekError::Form(file.path().display().to_string()))
    }

    /// The same for what is in such a file.
    pub fn from_key_bytes(bytes: &[u8]) -> Option<Self> {
        if let Ok(key) = bytes.try_into() {
            return Some(Self::Key(Zeroizing::new(key)));
        }
        let text = bytes.trim_ascii();
        let encoding = match text.len() {
            64 => &HEXLOWER_PERMISSIVE,
            44 => &BASE64,
            43 => &BASE64_NOPAD,
            _ => return None,
        };
        let decoded = Zeroizing::new(encoding.decode(text).ok()?);
        let key = <[u8; KEY]>::try_from(decoded.as_slice()).ok()?;
        Some(Self::Key(Zeroizing::new(key)))
    }

    /// From a file with a passphrase; line ends behind it do not count.
    pub fn from_passphrase_file(file: &SecretFile) -> Result<Self, KekError> {
        let mut bytes = file.read()?;
        while matches!(bytes.last(), Some(b'\n' | b'\r')) {
            bytes.pop();
        }
        if bytes.len() < MIN_PASSPHRASE {
            return Err(KekError::Short(file.path().display().to_string()));
        }
        Ok(Self::Passphrase(bytes))
    }

    /// As it is written into a file; none of a passphrase, which is not ours to write.
    pub fn to_file_text(&self) -> Option<Zeroizing<String>> {
        match self {
            Self::Key(key) => {
                let mut text = Zeroizing::new(String::with_capacity(2 * KEY + 1));
                HEXLOWER.encode_append(&**key, &mut text);
                text.push('\n');
                Some(text)
            }
            Self::Passphrase(_) => None,
        }
    }
}

impl fmt::Debug for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key(_) => "Kek::Key(..)",
            Self::Passphrase(_) => "Kek::Passphrase(..)",
        })
    }
}

/// How a passphrase becomes a key: Argon2id (RFC 9106) with these costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    /// Memory, KiB.
    pub(super) memory: u32,
    /// Passes over it.
    pub(super) passes: u8,
    /// Lanes.
    pub(super) lanes: u8,
    pub(super) salt: [u8; 16],
}

impl Stretch {
    /// RFC 9106 §4, the second recommended set: 64 MiB, three passes, four lanes. The first one wants 2 GiB, more than many a CA's
    /// unit may have.
    pub(super) const COSTS: (u32, u8, u8) = (64 * 1024, 3, 4);

    /// Bounds for what is read: who can write the registry must not be able to stop the CA's start by it, nor to make guessing cheap
    /// for the next passphrase.
    const BOUNDS: (u32, u8, u8) = (1024 * 1024, 16, 16);

    pub(super) fn is_within_bounds(&self) -> bool {
        let (memory, passes, lanes) = Self::BOUNDS;
        (8 * 1024..=memory).contains(&self.memory)
            && (1..=passes).contains(&self.passes)
            && (1..=lanes).contains(&self.lanes)
    }

    pub(super) fn key(&self, passphrase: &[u8]) -> Option<Key> {
        let params = Params::new(self.memory, self.passes.into(), self.lanes.into(), Some(KEY)).ok()?;
        let mut key = Key::default();
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase, &self.salt, &mut *key)
            .ok()?;
        Some(key)
    }
}
