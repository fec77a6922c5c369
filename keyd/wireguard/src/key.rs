//! Keys: 32 bytes each, and only the public one can be printed.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gotatun::x25519;
use rustix::rand::{GetRandomFlags, getrandom};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Length of every WireGuard key, bytes.
pub const KEY_LEN: usize = 32;

/// Bytes that are not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Another length than [`KEY_LEN`].
    #[error("the key has {0} bytes: it must have 32")]
    Length(usize),
    /// All bytes are zero: the identity point as a public key, "no preshared key" as a preshared one.
    #[error("the key is all zero: a key of zeros protects nothing")]
    Zero,
    /// The kernel's random source failed.
    #[error("the kernel gave no random bytes")]
    Random(#[from] rustix::io::Errno),
}

/// An X25519 private key (RFC 7748). Zeroized on drop; its `Debug` shows nothing.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct PrivateKey([u8; KEY_LEN]);

impl PrivateKey {
    /// A new key from the kernel's random source.
    ///
    /// # Errors
    /// [`KeyError::Random`] if that source fails.
    pub fn generate() -> Result<Self, KeyError> {
        let mut key = Self([0; KEY_LEN]);
        let mut filled = 0;
        while filled < KEY_LEN {
            let rest = key.0.get_mut(filled..).unwrap_or_default();
            filled += getrandom(rest, GetRandomFlags::empty())?;
        }
        // RFC 7748 section 5: the kernel's WireGuard expects the key clamped.
        key.0[0] &= 0xf8;
        key.0[31] = (key.0[31] & 0x7f) | 0x40;
        Ok(key)
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(x25519::PublicKey::from(&self.to_dalek()).to_bytes())
    }

    pub(crate) fn to_dalek(&self) -> x25519::StaticSecret {
        x25519::StaticSecret::from(self.0)
    }

    pub(crate) fn expose(&self) -> &[u8; KEY_LEN] {
        &self.0
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(redacted)")
    }
}

/// A preshared key of one peer, never all zero. Zeroized on drop; its `Debug` shows nothing.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct PresharedKey([u8; KEY_LEN]);

impl PresharedKey {
    /// Takes the key out of `bytes`, which are zeroized in any case.
    ///
    /// # Errors
    /// [`KeyError::Length`] and [`KeyError::Zero`]: WireGuard would read zeros as "no preshared key".
    pub fn take(bytes: Vec<u8>) -> Result<Self, KeyError> {
        let bytes = Zeroizing::new(bytes);
        let key = Self(parse(&bytes)?);
        Ok(key)
    }

    pub(crate) fn expose(&self) -> &[u8; KEY_LEN] {
        &self.0
    }
}

impl fmt::Debug for PresharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresharedKey(redacted)")
    }
}

/// An X25519 public key (RFC 7748), never all zero. Prints as base64, the way WireGuard's tools do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; KEY_LEN]);

impl PublicKey {
    /// Reads a public key.
    ///
    /// # Errors
    /// [`KeyError::Length`] and [`KeyError::Zero`].
    pub fn from_slice(bytes: &[u8]) -> Result<Self, KeyError> {
        parse(bytes).map(Self)
    }

    /// The key's bytes.
    pub fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    pub(crate) fn to_dalek(self) -> x25519::PublicKey {
        x25519::PublicKey::from(self.0)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

fn parse(bytes: &[u8]) -> Result<[u8; KEY_LEN], KeyError> {
    let key: [u8; KEY_LEN] = bytes.try_into().map_err(|_| KeyError::Length(bytes.len()))?;
    if key == [0; KEY_LEN] {
        return Err(KeyError::Zero);
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_half_is_rfc_7748s() {
        // RFC 7748 section 6.1, Alice.
        let private = PrivateKey([
            0x77, 0x07, 0x6d, 0x0a, 0x73, 0x18, 0xa5, 0x7d, 0x3c, 0x16, 0xc1, 0x72, 0x51, 0xb2, 0x66, 0x45,
            0xdf, 0x4c, 0x2f, 0x87, 0xeb, 0xc0, 0x99, 0x2a, 0xb1, 0x77, 0xfb, 0xa5, 0x1d, 0xb9, 0x2c, 0x2a,
        ]);
        let public = [
            0x85, 0x20, 0xf0, 0x09, 0x89, 0x30, 0xa7, 0x54, 0x74, 0x8b, 0x7d, 0xdc, 0xb4, 0x3e, 0xf7, 0x5a,
            0x0d, 0xbf, 0x3a, 0x0d, 0x26, 0x38, 0x1a, 0xf4, 0xeb, 0xa4, 0xa9, 0x8e, 0xaa, 0x9b, 0x4e, 0x6a,
        ];
        assert_eq!(private.public().as_bytes(), &public);
    }

    #[test]
    fn two_generated_keys_differ_and_are_clamped() {
        let (one, two) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
        assert_ne!(one.public(), two.public());
        assert_eq!((one.0[0] & 7, one.0[31] & 0xc0), (0, 0x40));
    }

    #[test]
    fn secrets_do_not_print() {
        let preshared = PresharedKey::take(vec![7; 32]).unwrap();
        assert_eq!(format!("{preshared:?}"), "PresharedKey(redacted)");
        assert_eq!(format!("{:?}", PrivateKey([7; 32])), "PrivateKey(redacted)");
    }

    #[test]
    fn zeros_and_wrong_lengths_are_not_keys() {
        assert_eq!(PublicKey::from_slice(&[0; 32]), Err(KeyError::Zero));
        assert_eq!(PublicKey::from_slice(&[1; 31]), Err(KeyError::Length(31)));
        assert_eq!(PresharedKey::take(vec![0; 32]).err(), Some(KeyError::Zero));
        assert_eq!(PresharedKey::take(vec![1; 33]).err(), Some(KeyError::Length(33)));
    }
}
