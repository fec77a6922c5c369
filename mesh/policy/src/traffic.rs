//! Which packets a rule speaks of, apart from who sends them.

use std::fmt;

use thiserror::Error;

use crate::port::PortRange;

/// A transport protocol that the kernel programs track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
    /// RFC 9260.
    Sctp,
    /// RFC 792.
    Icmp,
    /// RFC 4443.
    IcmpV6,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Tcp, Self::Udp, Self::Sctp, Self::Icmp, Self::IcmpV6];

    /// The number in the IP header (IANA "Assigned Internet Protocol Numbers").
    pub const fn number(self) -> u8 {
        match self {
            Self::Icmp => 1,
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::IcmpV6 => 58,
            Self::Sctp => 132,
        }
    }

    /// The protocol with this number, if it is tracked.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.number() == number)
    }

    /// The name that policies use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
            Self::Icmp => "ICMP",
            Self::IcmpV6 => "ICMPv6",
        }
    }

    /// Whether its packets have ports.
    pub const fn has_ports(self) -> bool {
        match self {
            Self::Tcp | Self::Udp | Self::Sctp => true,
            Self::Icmp | Self::IcmpV6 => false,
        }
    }
}

/// Why a protocol and a range do not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TrafficError {
    /// ICMP has no ports.
    #[error("{} has no ports: leave out port and endPort", .0.name())]
    NoPorts(Protocol),
}

/// A set of packets: a protocol, or all, with some ports, or all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Traffic {
    protocol: Option<Protocol>,
    ports: Option<PortRange>,
}

impl Traffic {
    /// Every packet.
    pub const ANY: Self = Self {
        protocol: None,
        ports: None,
    };

    /// Packets of one protocol, or, with `None`, of every protocol (of every one with ports, where ports are given).
    pub fn new(protocol: Option<Protocol>, ports: Option<PortRange>) -> Result<Self, TrafficError> {
        match (protocol, ports) {
            (Some(portless), Some(_)) if !portless.has_ports() => Err(TrafficError::NoPorts(portless)),
            (protocol, ports) => Ok(Self { protocol, ports }),
        }
    }

    /// Whether a packet with this protocol number and destination port is one of them. `port` is not looked at for
    /// protocols without ports.
    pub fn covers(self, protocol: u8, port: u16) -> bool {
        let right_protocol = match (self.protocol, self.ports) {
            (Some(wanted), _) => wanted.number() == protocol,
            (None, Some(_)) => Protocol::from_number(protocol).is_some_and(Protocol::has_ports),
            (None, None) => true,
        };
        right_protocol && self.ports.is_none_or(|ports| ports.contains(port))
    }

    /// The prefixes of the kernel's trie which together are exactly these packets; at most 90.
    pub fn prefixes(self) -> Vec<Prefix> {
        let Some(ports) = self.ports else {
            return vec![self.protocol.map_or(Prefix::ALL, Prefix::of_protocol)];
        };
        Protocol::ALL
            .into_iter()
            .filter(|protocol| protocol.has_ports() && self.protocol.is_none_or(|wanted| wanted == *protocol))
            .flat_map(|protocol| {
                ports.blocks().map(move |(port, bits)| Prefix {
                    bits: 8 + bits,
                    protocol: protocol.number(),
                    port,
                })
            })
            .collect()
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.protocol.map_or("any protocol", Protocol::name))?;
        self.ports.map_or(Ok(()), |ports| write!(f, " {ports}"))
    }
}

/// The variable part of a policy prefix: 0 bits (every packet), 8 (one protocol), or 8 and up to 16 of its ports.
/// Bits behind the prefix are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    /// 0, or 8 to 24.
    pub bits: u8,
    /// IP protocol number; 0 where `bits` is 0.
    pub protocol: u8,
    /// First port.
    pub port: u16,
}

impl Prefix {
    /// Every packet.
    pub const ALL: Self = Self {
        bits: 0,
        protocol: 0,
        port: 0,
    };

    /// Every packet of a protocol.
    pub const fn of_protocol(protocol: Protocol) -> Self {
        Self {
            bits: 8,
            protocol: protocol.number(),
            port: 0,
        }
    }

    /// What the kernel looks up: a protocol and a port, all bits of both.
    pub const fn of_packet(protocol: u8, port: u16) -> Self {
        Self {
            bits: 24,
            protocol,
            port,
        }
    }

    /// This prefix and the shorter ones that contain it, longest first.
    pub fn lineage(self) -> impl Iterator<Item = Self> {
        let shorter = (8..=self.bits).rev().map(move |bits| Self {
            bits,
            protocol: self.protocol,
            port: self.port & !(u16::MAX.checked_shr(u32::from(bits) - 8).unwrap_or(0)),
        });
        shorter.chain(std::iter::once(Self::ALL))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn traffic() -> impl Strategy<Value = Traffic> {
        let ports = proptest::option::of((1_u16.., 1_u16..))
            .prop_map(|pair| pair.map(|(a, b)| PortRange::new(a.min(b), a.max(b)).unwrap()));
        let protocol = proptest::option::of(proptest::sample::select(&Protocol::ALL[..]));
        (protocol, ports).prop_filter_map("ports need a protocol that has them", |(protocol, ports)| {
            Traffic::new(protocol, ports).ok()
        })
    }

    proptest! {
        #[test]
        fn prefixes_contain_exactly_what_the_traffic_covers(
            traffic in traffic(),
            protocol in proptest::sample::select(vec![1_u8, 6, 17, 47, 58, 132]),
            port in any::<u16>(),
        ) {
            let prefixes = traffic.prefixes();
            let contained = Prefix::of_packet(protocol, port).lineage().any(|p| prefixes.contains(&p));
            prop_assert_eq!(contained, traffic.covers(protocol, port));
            prop_assert!(prefixes.len() <= 90);
        }
    }

    #[test]
    fn ports_of_icmp_are_refused() {
        let range = PortRange::single(8).unwrap();
        assert_eq!(
            Traffic::new(Some(Protocol::Icmp), Some(range)),
            Err(TrafficError::NoPorts(Protocol::Icmp))
        );
    }

    #[test]
    fn lineage_of_a_packet_has_every_prefix_length_once() {
        let lineage: Vec<_> = Prefix::of_packet(6, 0x1f91).lineage().collect();
        assert_eq!(lineage.len(), 18);
        assert_eq!(
            lineage[1],
            Prefix {
                bits: 23,
                protocol: 6,
                port: 0x1f90
            }
        );
        assert_eq!(
            lineage[16],
            Prefix {
                bits: 8,
                protocol: 6,
                port: 0
            }
        );
        assert_eq!(lineage[17], Prefix::ALL);
        assert_eq!(Prefix::ALL.lineage().collect::<Vec<_>>(), [Prefix::ALL]);
    }
}
