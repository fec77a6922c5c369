//! Where a peer's UDP port is.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// A unicast address and port that another node can have. IPv4-mapped IPv6 is stored as IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint(SocketAddr);

/// Text or an address that cannot be another node's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Not `ip:port`.
    #[error("{0:?} is not an endpoint: write ip:port, or [ip]:port for IPv6")]
    Syntax(String),
    /// Port 0.
    #[error("{0} has port 0: the peer's UDP port is needed")]
    Port(SocketAddr),
    /// Unspecified, loopback, multicast or broadcast.
    #[error("{0} is not another node's address: loopback, unspecified, multicast and broadcast are refused")]
    Address(SocketAddr),
    /// `fe80::/10` without an interface.
    #[error("{0} is link-local: give an address that is valid on every interface")]
    LinkLocal(SocketAddr),
}

impl Endpoint {
    /// The address and port.
    pub fn socket_addr(&self) -> SocketAddr {
        self.0
    }
}

impl TryFrom<SocketAddr> for Endpoint {
    type Error = EndpointError;

    fn try_from(address: SocketAddr) -> Result<Self, EndpointError> {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        if address.port() == 0 {
            return Err(EndpointError::Port(address));
        }
        let (bad, link_local) = match address.ip() {
            IpAddr::V4(ip) => (ip.is_broadcast() || ip.octets()[0] == 0, false),
            IpAddr::V6(ip) => (false, ip.is_unicast_link_local()),
        };
        let ip = address.ip();
        if bad || ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() {
            return Err(EndpointError::Address(address));
        }
        if link_local {
            return Err(EndpointError::LinkLocal(address));
        }
        Ok(Self(address))
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let address: SocketAddr = text.parse().map_err(|_| EndpointError::Syntax(text.to_owned()))?;
        Self::try_from(address)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_other_nodes_pass() {
        for good in ["192.0.2.7:51871", "[2001:db8::7]:51871", "[::ffff:192.0.2.7]:1"] {
            assert!(good.parse::<Endpoint>().is_ok(), "{good}");
        }
        for bad in [
            "192.0.2.7",
            "192.0.2.7:0",
            "node2:51871",
            "127.0.0.1:51871",
            "[::1]:51871",
            "[::ffff:127.0.0.1]:51871",
            "0.0.0.0:51871",
            "0.1.2.3:51871",
            "[::]:51871",
            "224.0.0.1:51871",
            "[ff02::1]:51871",
            "255.255.255.255:51871",
            "[fe80::1]:51871",
        ] {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_mapped_address_becomes_ipv4() {
        let endpoint: Endpoint = "[::ffff:192.0.2.7]:9".parse().unwrap();
        assert_eq!(endpoint.to_string(), "192.0.2.7:9");
    }
}
