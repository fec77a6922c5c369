//! Who sends what to whom: the addresses, identities and packets that tests have in common.

use std::net::IpAddr;

use signet_abi::{
    Direction, MARK_LOCAL, MARK_RETURNED, NodeId, PolicyId, PolicyKey, SecurityIdentity, endpoint_flags,
};
use signet_datapath::Hook;
use signet_maps::PolicyPrefix;

use super::packet;

/// `TC_ACT_UNSPEC`: go on.
pub(crate) const PASS: i32 = -1;
/// `TC_ACT_SHOT`: drop.
pub(crate) const DROP: i32 = 2;
/// `TC_ACT_REDIRECT`
pub(crate) const REDIRECT: i32 = 7;

/// The loopback device: the one interface that every namespace has, here standing for the workload's.
pub(crate) const INTERFACE: u32 = 1;
/// An interface that is not the workload's.
pub(crate) const OTHER_INTERFACE: u32 = 9_999;
/// The parking device.
pub(crate) const PARKING: u32 = 77;

pub(crate) const OWN_NODE: NodeId = NodeId(1);
pub(crate) const PEER_NODE: NodeId = NodeId(2);
pub(crate) const LOCAL: SecurityIdentity = SecurityIdentity(300);
pub(crate) const REMOTE: SecurityIdentity = SecurityIdentity(400);
pub(crate) const POLICY: PolicyId = PolicyId(7);
pub(crate) const BOTH_ENFORCED: u32 = endpoint_flags::INGRESS_ENFORCED | endpoint_flags::EGRESS_ENFORCED;

/// A minute, ns.
pub(crate) const MINUTE: u64 = 60_000_000_000;

/// Address family of a test's packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    fn pick(self, v4: &str, v6: &str) -> IpAddr {
        match self {
            Self::V4 => v4.parse().unwrap(),
            Self::V6 => v6.parse().unwrap(),
        }
    }

    /// The local endpoint.
    pub(crate) fn local(self) -> IpAddr {
        self.pick("10.244.1.10", "fd00:244:1::10")
    }

    /// A workload on another node.
    pub(crate) fn remote(self) -> IpAddr {
        self.pick("10.244.2.10", "fd00:244:2::10")
    }

    /// An address that nobody knows.
    pub(crate) fn stranger(self) -> IpAddr {
        self.pick("198.51.100.7", "2001:db8::7")
    }
}

/// The hook of a direction.
pub(crate) fn hook(direction: Direction) -> Hook {
    match direction {
        Direction::Ingress => Hook::ToContainer,
        Direction::Egress => Hook::FromContainer,
    }
}

/// What a packet has on it of its way so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub mark: u32,
    pub received_by: u32,
}

impl Origin {
    /// The host itself, or an interface that nobody watches.
    pub(crate) const NOWHERE: Self = Self {
        mark: 0,
        received_by: 0,
    };

    /// Out of a workload's interface.
    pub(crate) const fn interface(index: u32) -> Self {
        Self {
            mark: MARK_LOCAL,
            received_by: index,
        }
    }

    /// Back from the parking device: to the workload it is known by the device that it comes from, from the workload by its mark.
    pub(crate) const fn returned(direction: Direction) -> Self {
        match direction {
            Direction::Ingress => Self {
                mark: 0,
                received_by: PARKING,
            },
            Direction::Egress => Self {
                mark: MARK_RETURNED,
                received_by: INTERFACE,
            },
        }
    }

    /// Where packets come from that a hook sees.
    pub(crate) const fn usual(hook: Hook) -> Self {
        match hook {
            Hook::ToNetdev => Self::interface(INTERFACE),
            Hook::FromContainer
            | Hook::ToContainer
            | Hook::FromNetdev
            | Hook::FromTunnel
            | Hook::FromParking => Self::NOWHERE,
        }
    }
}

/// The ends of a packet going `direction`, seen from the local endpoint.
pub(crate) fn ends(family: Family, direction: Direction) -> (IpAddr, IpAddr) {
    match direction {
        Direction::Ingress => (family.remote(), family.local()),
        Direction::Egress => (family.local(), family.remote()),
    }
}

/// A connection's packets for tests that go through all transports.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Transport {
    Tcp,
    Udp,
    Sctp,
    Echo,
    Gre,
}

impl Transport {
    pub(crate) const ALL: [Self; 5] = [Self::Tcp, Self::Udp, Self::Sctp, Self::Echo, Self::Gre];

    pub(crate) const CLIENT_PORT: u16 = 40_000;
    pub(crate) const SERVER_PORT: u16 = 8_080;

    pub(crate) fn protocol(self, family: Family) -> u8 {
        match self {
            Self::Tcp => packet::TCP,
            Self::Udp => packet::UDP,
            Self::Sctp => packet::SCTP,
            Self::Gre => packet::GRE,
            Self::Echo if family == Family::V4 => packet::ICMP,
            Self::Echo => packet::ICMPV6,
        }
    }

    /// A rule of the remote workload for this kind of connection alone.
    pub(crate) fn rule(self, family: Family, direction: Direction) -> PolicyPrefix {
        exact(REMOTE, direction, self.protocol(family), self.rule_port())
    }

    /// The port that rules are looked up with.
    pub(crate) fn rule_port(self) -> u16 {
        match self {
            Self::Tcp | Self::Udp | Self::Sctp => Self::SERVER_PORT,
            Self::Echo | Self::Gre => 0,
        }
    }

    /// The first packet of a connection opened in `direction`.
    pub(crate) fn opening(self, family: Family, direction: Direction) -> Vec<u8> {
        let (source, destination) = ends(family, direction);
        self.between(source, destination, true)
    }

    /// The answer to it: it goes the other way.
    pub(crate) fn answer(self, family: Family, direction: Direction) -> Vec<u8> {
        let (source, destination) = ends(family, direction);
        self.between(destination, source, false)
    }

    pub(crate) fn between(self, source: IpAddr, destination: IpAddr, forward: bool) -> Vec<u8> {
        let (from, to) = if forward {
            (Self::CLIENT_PORT, Self::SERVER_PORT)
        } else {
            (Self::SERVER_PORT, Self::CLIENT_PORT)
        };
        let flags = if forward {
            packet::SYN
        } else {
            packet::SYN | packet::ACK
        };
        match self {
            Self::Tcp => packet::ip(source, destination, packet::TCP, &packet::tcp(from, to, flags)),
            Self::Udp => packet::ip(source, destination, packet::UDP, &packet::udp(from, to)),
            Self::Sctp => packet::ip(source, destination, packet::SCTP, &packet::udp(from, to)),
            Self::Echo => packet::echo(source, destination, 77, forward),
            Self::Gre => packet::ip(source, destination, packet::GRE, &[0; 8]),
        }
    }
}

/// The key of a rule for exactly one port of the remote workload.
pub(crate) fn exact(
    identity: SecurityIdentity,
    direction: Direction,
    protocol: u8,
    port: u16,
) -> PolicyPrefix {
    PolicyPrefix::exactly(PolicyKey {
        policy: POLICY,
        identity,
        direction: direction as u8,
        protocol,
        port: port.to_be_bytes(),
    })
}
