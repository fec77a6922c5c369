//! Blocks of addresses.

use std::fmt;
use std::net::IpAddr;

use signet_abi::Address;
use thiserror::Error;

/// Why a text is not a block of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CidrError {
    /// Not of the form `address/length`.
    #[error("this is not a CIDR: write one such as 10.244.1.0/24 or fd00:244:1::/64")]
    Syntax,
    /// More bits than the address has.
    #[error("/{found} is longer than the address: at most /{max} is possible")]
    Length {
        /// What was written.
        found: u8,
        /// 32 or 128.
        max: u8,
    },
    /// Bits behind the prefix are set.
    #[error("bits behind the prefix are set: write {0}")]
    HostBits(Cidr),
}

/// `address/length`, IPv4 mapped into IPv6; bits behind the prefix are zero. Ordered so that it can key a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    address: Address,
    bits: u8,
}

impl Cidr {
    /// Parses `address/length`.
    pub fn parse(text: &str) -> Result<Self, CidrError> {
        let (address, length) = text.split_once('/').ok_or(CidrError::Syntax)?;
        let address: IpAddr = address.parse().map_err(|_| CidrError::Syntax)?;
        // u8::from_str takes a sign, which no CIDR has.
        if !length.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(CidrError::Syntax);
        }
        let length: u8 = length.parse().map_err(|_| CidrError::Syntax)?;
        let cidr = Self::new(address, length)?;
        if cidr.address == Address::from(address) {
            Ok(cidr)
        } else {
            Err(CidrError::HostBits(cidr))
        }
    }

    /// The block of this length that an address is in.
    pub fn new(address: IpAddr, length: u8) -> Result<Self, CidrError> {
        let (max, mapped) = if address.is_ipv4() { (32, 96) } else { (128, 0) };
        if length > max {
            return Err(CidrError::Length { found: length, max });
        }
        Ok(Self::masked(Address::from(address), mapped + length))
    }

    /// A single address.
    pub fn host(address: Address) -> Self {
        Self { address, bits: 128 }
    }

    /// A block as the kernel's trie holds it: `bits` of the mapped address, at most 128.
    pub fn from_abi(address: Address, bits: u32) -> Option<Self> {
        let bits = u8::try_from(bits).ok().filter(|bits| *bits <= 128)?;
        Some(Self::masked(address, bits))
    }

    fn masked(address: Address, bits: u8) -> Self {
        let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
        Self {
            address: Address((u128::from_be_bytes(address.0) & mask).to_be_bytes()),
            bits,
        }
    }

    /// The first address, mapped.
    pub fn address(self) -> Address {
        self.address
    }

    /// Bits of the mapped address, as the kernel's trie counts them.
    pub fn abi_bits(self) -> u32 {
        u32::from(self.bits)
    }

    /// The length as users write it.
    pub fn length(self) -> u8 {
        if self.is_v4() { self.bits - 96 } else { self.bits }
    }

    /// Whether the block has this address.
    pub fn contains(self, address: Address) -> bool {
        Self::masked(address, self.bits) == self
    }

    /// Whether the block has all of another's addresses.
    pub fn covers(self, other: Self) -> bool {
        self.bits <= other.bits && self.contains(other.address)
    }

    fn is_v4(self) -> bool {
        self.bits >= 96 && self.address.is_v4()
    }

    /// The blocks that an address is in, smallest first.
    pub fn lineage(self) -> impl Iterator<Item = Self> {
        (0..=self.bits)
            .rev()
            .map(move |bits| Self::masked(self.address, bits))
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_v4() {
            write!(f, "{}/{}", IpAddr::from(self.address), self.length())
        } else {
            write!(f, "{}/{}", std::net::Ipv6Addr::from(self.address.0), self.bits)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::from(text.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn blocks_are_parsed_and_shown_as_users_write_them() {
        for text in [
            "10.244.1.0/24",
            "0.0.0.0/0",
            "10.0.0.1/32",
            "fd00:244:1::/64",
            "::/0",
            "::1/128",
        ] {
            assert_eq!(Cidr::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_block_is_refused_with_its_cause() {
        assert_eq!(Cidr::parse("10.0.0.0"), Err(CidrError::Syntax));
        assert_eq!(Cidr::parse("10.0.0.0/+8"), Err(CidrError::Syntax));
        assert_eq!(Cidr::parse("10.0.0.0/"), Err(CidrError::Syntax));
        assert_eq!(
            Cidr::parse("10.0.0.0/33"),
            Err(CidrError::Length { found: 33, max: 32 })
        );
        let error = Cidr::parse("10.1.2.3/8").unwrap_err();
        assert_eq!(
            error.to_string(),
            "bits behind the prefix are set: write 10.0.0.0/8"
        );
    }

    #[test]
    fn an_ipv6_block_never_contains_an_ipv4_address_by_accident() {
        let v4 = Cidr::parse("10.244.1.0/24").unwrap();
        assert!(v4.contains(address("10.244.1.255")));
        assert!(!v4.contains(address("10.244.2.0")));
        assert!(!v4.contains(address("fd00::1")));
        assert!(!Cidr::parse("fd00::/8").unwrap().contains(address("10.244.1.1")));
        assert!(Cidr::parse("0.0.0.0/0").unwrap().contains(address("255.1.2.3")));
        assert!(v4.covers(Cidr::parse("10.244.1.128/25").unwrap()));
        assert!(!v4.covers(Cidr::parse("10.244.0.0/16").unwrap()));
    }

    #[test]
    fn lineage_runs_from_the_address_to_everything() {
        let host = Cidr::host(address("10.0.0.1"));
        let lineage: Vec<_> = host.lineage().collect();
        assert_eq!((lineage.len(), lineage[0]), (129, host));
        assert!(lineage.iter().all(|block| block.covers(host)));
    }
}
