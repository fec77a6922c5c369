//! Serial numbers of certificates.

use std::fmt;

use signet_spiffe::UnixTime;

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

    /// A serial that begins with its time, so that whoever keeps serials in order appends at the end: four bytes of seconds,
    /// three of a counter, and nine bytes which must come from a cryptographic random source. 72 random bits are more than
    /// the 64 that the CA/Browser Forum's baseline (§7.1) asks for.
    pub fn ordered(now: UnixTime, counter: u32, random: [u8; 9]) -> Self {
        let seconds = now.as_secs() & 0xffff_ffff;
        let time = (seconds << 24 | u64::from(counter & 0x00ff_ffff)) << 8;
        let mut bytes = [0; 16];
        if let Some(begin) = bytes.first_chunk_mut() {
            *begin = time.to_be_bytes();
        }
        if let Some(end) = bytes.last_chunk_mut() {
            *end = random;
        }
        Self::from_random(bytes)
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
    fn an_ordered_serial_grows_with_time_and_counter_and_has_nine_random_bytes() {
        let at = |seconds| UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        let serial = Serial::ordered(at(0x6a00_0000), 0x0102_0304, [0xff; 9]);
        assert_eq!(serial.to_string(), format!("6a000000020304{}", "ff".repeat(9)));
        let later = Serial::ordered(at(0x6a00_0000), 0x0102_0305, [0; 9]);
        assert!(later.as_bytes() > serial.as_bytes());
        assert!(Serial::ordered(at(0x6a00_0001), 0, [0; 9]).as_bytes() > later.as_bytes());
    }

    #[test]
    fn a_serial_is_never_zero_and_shows_as_hex() {
        assert_eq!(Serial::from_random([0; 16]).to_string(), format!("{:032x}", 1));
        assert_eq!(Serial::from_random([0xab; 16]).to_string(), "ab".repeat(16));
    }
}
