//! AllowedIPs: which inner addresses a peer may use.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnetwork::IpNetwork;

/// A prefix of inner addresses. Host bits are zero, and it is never a default route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AllowedIp(IpNetwork);

/// Text that is not an [`AllowedIp`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllowedIpError {
    /// Not `address/length`.
    #[error("{0:?} is not a prefix: write address/length, for example 10.244.2.0/24")]
    Syntax(String),
    /// Bits after the prefix are set.
    #[error("{given} has bits set after its prefix: did you mean {meant}?")]
    HostBits {
        /// What was given.
        given: String,
        /// The network that it lies in.
        meant: String,
    },
    /// Length 0: the peer could claim any address.
    #[error("{0} covers every address: a node may only send from its own prefixes")]
    Default(String),
}

impl AllowedIp {
    /// Network address.
    pub fn address(&self) -> IpAddr {
        self.0.ip()
    }

    /// Prefix length, bits.
    pub fn prefix_len(&self) -> u8 {
        self.0.prefix()
    }

    /// Whether both contain a common address.
    pub fn overlaps(&self, other: &Self) -> bool {
        // Two prefixes are disjoint or nested, so one's first address tells.
        self.0.contains(other.0.ip()) || other.0.contains(self.0.ip())
    }

    pub(crate) fn from_parts(address: IpAddr, prefix_len: u8) -> Option<Self> {
        IpNetwork::new(address, prefix_len).ok().map(Self)
    }

    pub(crate) fn network(&self) -> IpNetwork {
        self.0
    }
}

impl FromStr for AllowedIp {
    type Err = AllowedIpError;

    fn from_str(text: &str) -> Result<Self, AllowedIpError> {
        let syntax = || AllowedIpError::Syntax(text.to_owned());
        let (address, len) = text.split_once('/').ok_or_else(syntax)?;
        let address: IpAddr = address.parse().map_err(|_| syntax())?;
        let len: u8 = len.parse().map_err(|_| syntax())?;
        let network = IpNetwork::new(address, len).map_err(|_| syntax())?;
        if network.network() != address {
            return Err(AllowedIpError::HostBits {
                given: text.to_owned(),
                meant: format!("{}/{len}", network.network()),
            });
        }
        if len == 0 {
            return Err(AllowedIpError::Default(text.to_owned()));
        }
        Ok(Self(network))
    }
}

impl fmt::Display for AllowedIp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> AllowedIp {
        text.parse().unwrap()
    }

    #[test]
    fn prefixes_overlap_when_one_contains_the_other() {
        assert!(ip("10.244.0.0/16").overlaps(&ip("10.244.2.0/24")));
        assert!(ip("10.244.2.0/24").overlaps(&ip("10.244.0.0/16")));
        assert!(!ip("10.244.1.0/24").overlaps(&ip("10.244.2.0/24")));
        assert!(ip("fd00:244:2::/48").overlaps(&ip("fd00:244:2::7/128")));
        assert!(
            !ip("10.0.0.0/8").overlaps(&ip("::a00:0/104")),
            "families are apart"
        );
    }

    #[test]
    fn what_is_not_a_prefix_is_refused_with_its_reason() {
        use AllowedIpError::{Default, HostBits, Syntax};
        let parse = |text: &str| text.parse::<AllowedIp>().unwrap_err();
        assert!(matches!(parse("10.244.2.0"), Syntax(_)));
        assert!(matches!(parse("10.244.2.0/33"), Syntax(_)));
        assert!(matches!(parse("nonsense/8"), Syntax(_)));
        assert!(matches!(parse("10.244.2.10/24"), HostBits { meant, .. } if meant == "10.244.2.0/24"));
        assert!(matches!(parse("0.0.0.0/0"), Default(_)));
        assert!(matches!(parse("::/0"), Default(_)));
    }
}
