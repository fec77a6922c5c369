//! Pod CIDRs: which addresses belong to a node's workloads.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A block of addresses in its one spelling: no bit is set beyond the prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodCidr {
    first: IpAddr,
    prefix: u8,
}

/// Why a text is no pod CIDR.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// Not `address/prefix`.
    #[error("a pod CIDR is written address/prefix, as in 10.244.1.0/24 or fd00:244:1::/64")]
    Syntax,
    /// Bits beyond the prefix.
    #[error("bits are set beyond the prefix; write it as {canonical}")]
    HostBits {
        /// What was meant, most likely.
        canonical: PodCidr,
    },
    /// Loopback, multicast, link-local, unspecified, or everything: never the addresses of workloads.
    #[error("{0} are not addresses that workloads can have")]
    Reserved(PodCidr),
}

impl PodCidr {
    /// Whether the two blocks share an address.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.first) || other.contains(self.first)
    }

    /// Whether all of the other block is in this one.
    pub(crate) fn contains_block(&self, other: &Self) -> bool {
        self.prefix <= other.prefix && self.contains(other.first)
    }

    /// All blocks with the address in them, the largest first.
    pub(crate) fn around(address: IpAddr) -> impl Iterator<Item = Self> {
        (0..=128).map_while(move |prefix| {
            let first = mask(address, prefix)?;
            Some(Self { first, prefix })
        })
    }

    /// The first address.
    pub(crate) fn first(&self) -> IpAddr {
        self.first
    }

    /// Whether the address is in the block.
    pub fn contains(&self, address: IpAddr) -> bool {
        mask(address, self.prefix) == Some(self.first)
    }
}

/// The address with its bits beyond the prefix cleared; `None` where it has no such prefix.
fn mask(address: IpAddr, prefix: u8) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => {
            let host = 32_u32.checked_sub(prefix.into())?;
            let kept = u32::MAX.checked_shl(host).unwrap_or(0);
            Some(IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & kept)))
        }
        IpAddr::V6(address) => {
            let host = 128_u32.checked_sub(prefix.into())?;
            let kept = u128::MAX.checked_shl(host).unwrap_or(0);
            Some(IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & kept)))
        }
    }
}

const RESERVED_V4: [(Ipv4Addr, u8); 4] = [
    (Ipv4Addr::UNSPECIFIED, 8),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(224, 0, 0, 0), 3),
];

const RESERVED_V6: [(Ipv6Addr, u8); 4] = [
    (Ipv6Addr::UNSPECIFIED, 127),                     // unspecified and loopback
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96), // IPv4 in IPv6's clothes
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
];

impl FromStr for PodCidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (address, prefix) = text.split_once('/').ok_or(CidrError::Syntax)?;
        let address: IpAddr = address.parse().map_err(|_| CidrError::Syntax)?;
        let number: u8 = prefix.parse().map_err(|_| CidrError::Syntax)?;
        if number.to_string() != prefix {
            return Err(CidrError::Syntax);
        }
        let first = mask(address, number).ok_or(CidrError::Syntax)?;
        let cidr = Self {
            first,
            prefix: number,
        };
        if first != address {
            return Err(CidrError::HostBits { canonical: cidr });
        }
        let v4 = RESERVED_V4
            .iter()
            .map(|(first, prefix)| (IpAddr::V4(*first), *prefix));
        let v6 = RESERVED_V6
            .iter()
            .map(|(first, prefix)| (IpAddr::V6(*first), *prefix));
        if v4
            .chain(v6)
            .any(|(first, prefix)| cidr.overlaps(&Self { first, prefix }))
        {
            return Err(CidrError::Reserved(cidr));
        }
        Ok(cidr)
    }
}

impl fmt::Display for PodCidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> PodCidr {
        text.parse().unwrap()
    }

    #[test]
    fn a_cidr_has_one_spelling() {
        for good in [
            "10.244.1.0/24",
            "10.0.0.0/8",
            "192.0.2.7/32",
            "fd00:244:1::/64",
            "fd00::1/128",
        ] {
            assert_eq!(cidr(good).to_string(), good);
        }
        for bad in [
            "",
            "10.0.0.0",
            "10.0.0.0/",
            "10.0.0.0/33",
            "fd00::/129",
            "10.0.0.0/08",
            "10.0.0.0/+8",
            "a/8",
            "10.0.0/8",
        ] {
            assert_eq!(bad.parse::<PodCidr>(), Err(CidrError::Syntax), "{bad}");
        }
        let canonical = cidr("10.244.1.0/24");
        assert_eq!(
            "10.244.1.9/24".parse::<PodCidr>(),
            Err(CidrError::HostBits { canonical })
        );
    }

    #[test]
    fn blocks_that_no_workload_can_live_in_are_refused() {
        for bad in [
            "0.0.0.0/0",
            "::/0",
            "127.0.0.0/8",
            "127.0.0.1/32",
            "224.0.0.0/4",
            "169.254.1.0/24",
            "fe80::/64",
            "ff02::/16",
            "::1/128",
            "::ffff:10.0.0.0/104",
            "240.0.0.0/4",
            "0.0.0.0/1",
        ] {
            assert!(
                matches!(bad.parse::<PodCidr>(), Err(CidrError::Reserved(_))),
                "{bad}"
            );
        }
    }

    #[test]
    fn blocks_overlap_where_one_is_inside_the_other() {
        for (a, b, overlap) in [
            ("10.244.0.0/16", "10.244.1.0/24", true),
            ("10.244.1.0/24", "10.244.1.0/24", true),
            ("10.244.1.0/24", "10.244.2.0/24", false),
            ("fd00::/16", "fd00:1::/64", true),
            ("fd00:1::/64", "fd00:1:0:1::/64", false),
            ("10.0.0.0/8", "fd00::/16", false),
        ] {
            assert_eq!(cidr(a).overlaps(&cidr(b)), overlap, "{a} {b}");
            assert_eq!(cidr(b).overlaps(&cidr(a)), overlap, "{b} {a}");
        }
    }
}
