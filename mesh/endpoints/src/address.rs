//! Addresses that a workload can have.

use std::fmt;
use std::net::IpAddr;

use signet_abi::Address;
use thiserror::Error;

/// Why a text is not a workload's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    /// Not an IP address at all.
    #[error(
        "this is not an IP address: write one such as 10.244.1.10 or fd00:244:1::10, without a prefix length"
    )]
    Syntax,
    /// An address that belongs to no single interface in a network, or only to one link.
    #[error("{0} cannot be a workload's address: it is {1}")]
    Special(IpAddr, &'static str),
}

/// An IPv4 or IPv6 unicast address that can be routed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadAddress(IpAddr);

impl WorkloadAddress {
    /// Parses an address.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        Self::new(text.parse().map_err(|_| AddressError::Syntax)?)
    }

    /// Takes an address that can be a workload's.
    pub fn new(address: IpAddr) -> Result<Self, AddressError> {
        let kind = if address.is_unspecified() {
            Some("unspecified")
        } else if address.is_loopback() {
            Some("a loopback address")
        } else if address.is_multicast() {
            Some("a multicast address")
        } else {
            match address {
                IpAddr::V4(v4) if v4.is_broadcast() => Some("the broadcast address"),
                IpAddr::V4(v4) if v4.is_link_local() => Some("link-local"),
                IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("link-local"),
                IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Some("an IPv4 address mapped into IPv6"),
                IpAddr::V4(_) | IpAddr::V6(_) => None,
            }
        };
        kind.map_or(Ok(Self(address)), |kind| {
            Err(AddressError::Special(address, kind))
        })
    }

    /// The address.
    pub fn ip(self) -> IpAddr {
        self.0
    }

    /// The address as kernel maps hold it.
    pub fn abi(self) -> Address {
        Address::from(self.0)
    }
}

impl fmt::Display for WorkloadAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_routable_unicast_addresses_are_taken() {
        assert!(WorkloadAddress::parse("10.244.1.10").is_ok());
        assert!(WorkloadAddress::parse("fd00:244:1::10").is_ok());
        for special in [
            "0.0.0.0",
            "::",
            "127.0.0.1",
            "::1",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
            "169.254.0.1",
            "fe80::1",
        ] {
            assert!(
                matches!(WorkloadAddress::parse(special), Err(AddressError::Special(..))),
                "{special}"
            );
        }
        assert!(matches!(
            WorkloadAddress::parse("::ffff:10.0.0.1"),
            Err(AddressError::Special(..))
        ));
        assert_eq!(WorkloadAddress::parse("10.244.1.0/24"), Err(AddressError::Syntax));
    }
}
