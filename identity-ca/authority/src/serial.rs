//! Serial numbers of certificates.

use std::fmt;

/// A positive serial number of 128 random bits (RFC 5280 §4.1.2.2 allows up to 20 bytes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Serial([u8; 16]);

impl Serial {
    /// A serial of these bytes, which must come from a cryptographic random source.
    pub fn from_random(mut bytes: [u8; 16]) -> Self {
        // Zero is not positive. It comes up once in 2^128 draws, or from a source that is broken.
        if bytes == [0; 16] {
            bytes = 1_u128.to_be_bytes();
        }
        Self(bytes)
    }

    /// Big-endian, unsigned.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_is_never_zero_and_shows_as_hex() {
        assert_eq!(Serial::from_random([0; 16]).to_string(), format!("{:032x}", 1));
        assert_eq!(Serial::from_random([0xab; 16]).to_string(), "ab".repeat(16));
    }
}
