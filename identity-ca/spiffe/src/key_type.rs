//! Kinds of keys that X.509-SVIDs are for.

use std::fmt;
use std::str::FromStr;

/// The kind of key of a workload's X.509-SVID.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyType {
    /// ECDSA on P-256.
    #[default]
    P256,
    /// ECDSA on P-384.
    P384,
    /// RSA with a modulus of 2048 bits and the exponent 65537, for those who know nothing else.
    Rsa2048,
    /// Ed25519 (RFC 8410).
    Ed25519,
}

/// Why a text is no kind of key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a key type is one of p256, p384, rsa2048, ed25519")]
pub struct KeyTypeError;

impl KeyType {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::P256, Self::P384, Self::Rsa2048, Self::Ed25519];

    /// Its one spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::P256 => "p256",
            Self::P384 => "p384",
            Self::Rsa2048 => "rsa2048",
            Self::Ed25519 => "ed25519",
        }
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for KeyType {
    type Err = KeyTypeError;

    fn from_str(text: &str) -> Result<Self, KeyTypeError> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or(KeyTypeError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_one_spelling() {
        for kind in KeyType::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        for bad in ["", "P256", "rsa", "rsa1024", "p521"] {
            assert_eq!(bad.parse::<KeyType>(), Err(KeyTypeError), "{bad}");
        }
    }
}
