//! What is asked for.

use std::fmt;

use signet_keys::{Kek, KekError, SecretFile};
use signet_pkcs11::Pkcs11Settings;

/// Who makes the CA's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyManagerName {
    /// They end with the process. The only one for a CA in memory, and for no other.
    Memory,
    /// They lie in the registry, sealed.
    #[default]
    Sealed,
    /// They lie in a device.
    Pkcs11,
}

impl KeyManagerName {
    /// As on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sealed => "sealed",
            Self::Pkcs11 => "pkcs11",
        }
    }
}

impl fmt::Display for KeyManagerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What sealed keys are sealed under, in the end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum KekSource {
    /// A key in a file of the data directory, made at the first start. It protects copies of the database alone.
    #[default]
    DataDirectory,
    /// A key in a file that somebody else made.
    KeyFile(SecretFile),
    /// A passphrase in a file.
    PassphraseFile(SecretFile),
}

impl KekSource {
    /// Reads it; none where it is the data directory's.
    pub(super) fn read(&self) -> Result<Option<Kek>, KekError> {
        match self {
            Self::DataDirectory => Ok(None),
            Self::KeyFile(file) => Kek::from_key_file(file).map(Some),
            Self::PassphraseFile(file) => Kek::from_passphrase_file(file).map(Some),
        }
    }
}

impl fmt::Display for KekSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DataDirectory => f.write_str("the key in the data directory"),
            Self::KeyFile(file) => write!(f, "the key in {}", file.path().display()),
            Self::PassphraseFile(file) => write!(f, "the passphrase in {}", file.path().display()),
        }
    }
}

/// Where the CA's private keys live. Not looked at where everything is in memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyOptions {
    /// Who makes new ones.
    pub manager: KeyManagerName,
    /// What they are sealed under.
    pub kek: KekSource,
    /// The device, if there is one: also where it makes no new keys, for those that it made before.
    pub pkcs11: Option<Pkcs11Settings>,
}
