//! Ranges of ports, and the prefixes that cover them.

use std::fmt;

use thiserror::Error;

/// Why two numbers are not a range of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PortError {
    /// Port 0 cannot be connected to.
    #[error("port 0 cannot be used: write 1 to 65535")]
    Zero,
    /// The last port is before the first.
    #[error("endPort {last} is less than port {first}")]
    Backwards {
        /// `port`
        first: u16,
        /// `endPort`
        last: u16,
    },
}

/// Ports from the first to the last, both included; never empty, never port 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// `first` to `last`, both included.
    pub const fn new(first: u16, last: u16) -> Result<Self, PortError> {
        if first == 0 {
            return Err(PortError::Zero);
        }
        if last < first {
            return Err(PortError::Backwards { first, last });
        }
        Ok(Self { first, last })
    }

    /// One port.
    pub const fn single(port: u16) -> Result<Self, PortError> {
        Self::new(port, port)
    }

    /// The first port.
    pub const fn first(self) -> u16 {
        self.first
    }

    /// The last port.
    pub const fn last(self) -> u16 {
        self.last
    }

    /// Whether the port is among them.
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }

    /// The fewest aligned blocks that together are exactly this range, in order: `(port, bits)`, at most 30.
    pub fn blocks(self) -> impl Iterator<Item = (u16, u8)> {
        let mut next = Some(self.first);
        std::iter::from_fn(move || {
            let start = next?;
            // The block that begins here is as large as its alignment allows and the range still holds.
            let aligned = start.trailing_zeros().min(16);
            let room = u32::from(self.last - start) + 1;
            let size = aligned.min(room.ilog2());
            let end = u32::from(start) + (1 << size) - 1;
            next = if end < u32::from(self.last) {
                u16::try_from(end + 1).ok()
            } else {
                None
            };
            u8::try_from(16 - size).ok().map(|bits| (start, bits))
        })
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn impossible_ranges_are_refused() {
        assert_eq!(PortRange::single(0), Err(PortError::Zero));
        assert_eq!(
            PortRange::new(9, 8),
            Err(PortError::Backwards { first: 9, last: 8 })
        );
    }

    #[test]
    fn known_ranges_decompose_as_computed_by_hand() {
        let blocks = |first, last| PortRange::new(first, last).unwrap().blocks().collect::<Vec<_>>();
        assert_eq!(blocks(8080, 8080), [(8080, 16)]);
        assert_eq!(blocks(8080, 8090), [(8080, 13), (8088, 15), (8090, 16)]);
        assert_eq!(blocks(1024, 2047), [(1024, 6)]);
        assert_eq!(blocks(65535, 65535), [(65535, 16)]);
        assert_eq!(blocks(1, 65535).len(), 16);
        assert_eq!(blocks(1, 65534).len(), 30);
    }

    proptest! {
        #[test]
        fn blocks_cover_the_range_once_and_nothing_else(a in 1_u16.., b in 1_u16..) {
            let range = PortRange::new(a.min(b), a.max(b)).unwrap();
            let mut next = u32::from(range.first());
            for (port, bits) in range.blocks() {
                let size = 1_u32 << (16 - bits);
                prop_assert_eq!(u32::from(port), next);
                prop_assert_eq!(u32::from(port) % size, 0, "aligned");
                next += size;
            }
            prop_assert_eq!(next, u32::from(range.last()) + 1);
            prop_assert!(range.blocks().count() <= 30);
        }
    }
}
