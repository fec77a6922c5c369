//! Serial numbers of Signet's own CA say which node asked.
//!
//! | bytes | what |
//! | --- | --- |
//! | 1 | [`MARK`]: no other number of this length is likely to begin so, and none is negative in DER |
//! | 4 | seconds since 1970, so that whoever keeps serials in order appends at the end |
//! | 3 | a counter |
//! | 2 | the node's number; 0: no node asked |
//! | 9 | from a cryptographic random source; 72 bits are more than the 64 that the CA/Browser Forum's baseline (§7.1) asks for |
//!
//! So a node can be revoked with all that it ever asked for, by its number alone. The number is taken from what the CA has
//! signed, so nobody can put another one there.

use std::ops::Range;

use rustls_pki_types::UnixTime;

use crate::revocation::SerialNumber;

/// Bytes of such a number: within the 20 that RFC 5280 §4.1.2.2 allows.
pub const NODE_SERIAL_BYTES: usize = 19;

/// The first byte.
const MARK: u8 = 0x53;
const NODE: Range<usize> = 8..10;

/// Makes a number.
pub fn node_serial(now: UnixTime, counter: u32, node: u16, random: [u8; 9]) -> [u8; NODE_SERIAL_BYTES] {
    let [_, _, _, _, time @ ..] = now.as_secs().to_be_bytes();
    let [_, counter @ ..] = counter.to_be_bytes();
    let mut bytes = [MARK; NODE_SERIAL_BYTES];
    let parts = time
        .into_iter()
        .chain(counter)
        .chain(node.to_be_bytes())
        .chain(random);
    for (byte, part) in bytes.iter_mut().skip(1).zip(parts) {
        *byte = part;
    }
    bytes
}

/// Where the numbers that are made from a moment on begin, and where they end: big-endian bytes, compared one by one.
pub fn node_serials_since(moment: UnixTime) -> Range<[u8; 5]> {
    let seconds = u32::try_from(moment.as_secs()).unwrap_or(u32::MAX);
    let [a, b, c, d] = seconds.to_be_bytes();
    [MARK, a, b, c, d]..[MARK + 1, 0, 0, 0, 0]
}

impl SerialNumber {
    /// The number of the node that asked for what has this serial number, if it is one of our CA's and a node did.
    pub fn node(&self) -> Option<u16> {
        let bytes: &[u8; NODE_SERIAL_BYTES] = self.as_bytes().try_into().ok()?;
        let node = bytes.get(NODE)?.first_chunk().copied().map(u16::from_be_bytes)?;
        (bytes.first() == Some(&MARK) && node != 0).then_some(node)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use data_encoding::HEXLOWER;

    use super::*;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    #[test]
    fn a_serial_grows_with_time_and_counter_and_names_its_node() {
        let serial = node_serial(at(0x6a00_0000), 0x0102_0304, 0x0506, [0xff; 9]);
        let text = format!("536a0000000203040506{}", "ff".repeat(9));
        assert_eq!(HEXLOWER.encode(&serial), text);
        assert!(node_serial(at(0x6a00_0000), 0x0102_0305, 1, [0; 9]) > serial);
        assert!(node_serial(at(0x6a00_0001), 0, 1, [0; 9]) > serial);
        assert_eq!(
            SerialNumber::new(&serial).map(|serial| serial.node()),
            Ok(Some(0x0506))
        );
    }

    #[test]
    fn numbers_made_since_a_moment_lie_in_its_range_and_earlier_ones_do_not() {
        let since = node_serials_since(at(0x6a00_0001));
        let lies_in = |serial: &[u8]| since.start.as_slice() <= serial && serial < since.end.as_slice();
        assert!(lies_in(&node_serial(at(0x6a00_0001), 0, 0, [0; 9])));
        assert!(lies_in(&node_serial(
            at(0xffff_ffff),
            0x00ff_ffff,
            0xffff,
            [0xff; 9]
        )));
        assert!(!lies_in(&node_serial(
            at(0x6a00_0000),
            0x00ff_ffff,
            0xffff,
            [0xff; 9]
        )));
        assert!(!lies_in(&[0x54; 16]));
    }

    #[test]
    fn other_numbers_name_no_node() {
        let mut other = node_serial(at(1), 1, 7, [7; 9]);
        other[0] = 0x52;
        let none = node_serial(at(1), 1, 0, [7; 9]);
        let long = [&none[..], &[1]].concat();
        for bytes in [&other[..], &none, &long, &none[1..], &[0x53; 16]] {
            assert_eq!(SerialNumber::new(bytes).map(|serial| serial.node()), Ok(None));
        }
    }
}
