//! Serial numbers of certificates.

use std::fmt;

use data_encoding::HEXLOWER;
use signet_spiffe::{NODE_SERIAL_BYTES, UnixTime, node_serial};

/// A positive serial number (RFC 5280 §4.1.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Serial {
    /// Right-aligned.
    bytes: [u8; NODE_SERIAL_BYTES],
    length: usize,
}

impl Serial {
    /// A serial of these bytes, which must come from a cryptographic random source.
    pub fn from_random(mut random: [u8; 16]) -> Self {
        // Zero is not positive. It comes up once in 2^128 draws, or from a source that is broken.
        if random == [0; 16] {
            random = 1_u128.to_be_bytes();
        }
        let mut bytes = [0; NODE_SERIAL_BYTES];
        if let Some(end) = bytes.last_chunk_mut() {
            *end = random;
        }
        Self {
            bytes,
            length: random.len(),
        }
    }

    /// A serial that begins with its time and says which node asked (0: none), see [`node_serial`]. The last bytes must come
    /// from a cryptographic random source.
    pub fn ordered(now: UnixTime, counter: u32, node: u16, random: [u8; 9]) -> Self {
        Self {
            bytes: node_serial(now, counter, node, random),
            length: NODE_SERIAL_BYTES,
        }
    }

    /// Big-endian, unsigned.
    pub fn as_bytes(&self) -> &[u8] {
        let start = NODE_SERIAL_BYTES.saturating_sub(self.length);
        self.bytes.get(start..).unwrap_or_default()
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(self.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_is_never_zero_and_shows_as_hex() {
        assert_eq!(Serial::from_random([0; 16]).to_string(), format!("{:032x}", 1));
        assert_eq!(Serial::from_random([0xab; 16]).to_string(), "ab".repeat(16));
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(0x6a00_0000));
        let serial = Serial::ordered(now, 1, 2, [0; 9]);
        assert_eq!(serial.to_string(), "536a0000000000010002000000000000000000");
        assert_eq!(serial.as_bytes().len(), NODE_SERIAL_BYTES);
    }
}
