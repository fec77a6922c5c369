//! Packets that cannot be judged, byte by byte: all of them are refused, each for its reason.

use std::net::IpAddr;

use signet_abi::{Authentication, Direction, Reason, Verdict};

use crate::support::node::{Node, every_transport, everywhere};
use crate::support::packet::{self, ETHERNET};
use crate::support::scene::{BOTH_ENFORCED, Family, REMOTE, Transport, exact};

/// Offset of the transport header where nothing stands before it. `BPF_PROG_TEST_RUN` takes no packet that is shorter.
fn transport_offset(family: Family) -> usize {
    ETHERNET + if family == Family::V4 { 20 } else { 40 }
}

fn check(node: &mut Node, direction: Direction, rows: &[(&str, Vec<u8>, Reason)]) {
    for (what, packet, reason) in rows {
        assert_eq!(node.judge(direction, packet), *reason, "{what}, {direction:?}");
    }
}

/// The packet with some bytes replaced.
fn with(whole: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut changed = whole.to_vec();
    changed[at..at + bytes.len()].copy_from_slice(bytes);
    changed
}

#[test]
fn a_packet_cut_short_anywhere_is_refused() {
    every_transport(|node, family, direction, transport| {
        let whole = transport.opening(family, direction);
        let shapes = match (family, transport) {
            // No header of it is read.
            (_, Transport::Gre) => return,
            (Family::V4, _) => vec![packet::with_options(&whole, &[1; 8]), whole],
            (Family::V6, _) => vec![packet::extended(&whole, &[0, 60]), whole],
        };
        for shape in shapes {
            for length in transport_offset(family)..shape.len() {
                assert_eq!(
                    node.judge(direction, &shape[..length]),
                    Reason::InvalidPacket,
                    "{transport:?}, {length} of {}",
                    shape.len()
                );
            }
            assert_eq!(node.judge(direction, &shape), Reason::Forwarded, "{transport:?}");
        }
    });
}

#[test]
fn headers_that_contradict_themselves_are_refused() {
    everywhere(|node, family, direction| {
        let tcp = Transport::Tcp.opening(family, direction);
        let udp = Transport::Udp.opening(family, direction);
        let at = transport_offset(family);
        let mut rows = vec![
            ("version 5", with(&tcp, ETHERNET, &[0x55])),
            ("TCP header of 16 bytes", with(&tcp, at + 12, &[0x40])),
            ("TCP header beyond the packet", with(&tcp, at + 12, &[0x60])),
        ];
        match family {
            Family::V4 => rows.extend([
                ("version 6", with(&tcp, ETHERNET, &[0x65])),
                ("header of 16 bytes", with(&tcp, ETHERNET, &[0x44])),
                ("header beyond the packet", with(&tcp, ETHERNET, &[0x4f])),
                ("no length", with(&tcp, ETHERNET + 2, &[0, 0])),
                ("shorter than its header", with(&tcp, ETHERNET + 2, &[0, 19])),
                ("no room for TCP", with(&tcp, ETHERNET + 2, &[0, 39])),
                ("no room for UDP", with(&udp, ETHERNET + 2, &[0, 27])),
                ("longer than the frame", with(&tcp, ETHERNET + 2, &[0, 55])),
                ("much longer", with(&tcp, ETHERNET + 2, &[255, 255])),
            ]),
            Family::V6 => rows.extend([
                ("version 4", with(&tcp, ETHERNET, &[0x45])),
                ("no length", with(&tcp, ETHERNET + 4, &[0, 0])),
                ("no room for TCP", with(&tcp, ETHERNET + 4, &[0, 19])),
                ("no room for UDP", with(&udp, ETHERNET + 4, &[0, 7])),
                ("longer than the frame", with(&tcp, ETHERNET + 4, &[0, 35])),
                ("much longer", with(&tcp, ETHERNET + 4, &[255, 255])),
            ]),
        }
        for (what, packet) in rows {
            assert_eq!(node.judge(direction, &packet), Reason::InvalidPacket, "{what}");
        }
    });
}

#[test]
fn protocols_that_no_workload_may_speak_are_refused() {
    everywhere(|node, family, direction| {
        let udp = Transport::Udp.opening(family, direction);
        let echo = Transport::Echo.opening(family, direction);
        let at = transport_offset(family);
        let (l3, l4) = (Reason::UnknownL3, Reason::UnknownL4);
        let mut rows = vec![
            ("an experiment", with(&udp, 12, &[0x88, 0xb5]), l3),
            ("MPLS", with(&udp, 12, &[0x88, 0x47]), l3),
            ("a VLAN tag in the frame", with(&udp, 12, &[0x81, 0]), l3),
        ];
        match family {
            Family::V4 => rows.extend([
                ("ICMPv6 over IPv4", with(&udp, ETHERNET + 9, &[58]), l4),
                ("no next header", with(&udp, ETHERNET + 9, &[59]), l4),
                ("redirect", with(&echo, at, &[5]), l4),
                ("router advertisement", with(&echo, at, &[9]), l4),
            ]),
            Family::V6 => rows.extend([
                ("ICMP over IPv6", with(&udp, ETHERNET + 6, &[1]), l4),
                ("no next header", with(&udp, ETHERNET + 6, &[59]), l4),
                (
                    "the same behind options",
                    packet::extended(&with(&udp, ETHERNET + 6, &[59]), &[60]),
                    l4,
                ),
                ("redirect", with(&echo, at, &[137]), l4),
                (
                    "router solicitation that was forwarded",
                    with(&echo, at, &[133]),
                    l4,
                ),
                (
                    "neighbour advertisement that was forwarded",
                    with(&echo, at, &[136]),
                    l4,
                ),
            ]),
        }
        check(node, direction, &rows);
    });
}

#[test]
fn ipv4_options_pass_and_source_routes_do_not() {
    let mut node = Node::new();
    for direction in [Direction::Ingress, Direction::Egress] {
        let whole = Transport::Tcp.opening(Family::V4, direction);
        let (good, bad) = (Reason::Forwarded, Reason::InvalidPacket);
        let rows: [(&str, &[u8], Reason); 15] = [
            ("no operation", &[1; 40], good),
            ("record route", &[7, 7, 4, 0, 0, 0, 0, 0], good),
            ("router alert", &[148, 4, 0, 0], good),
            ("end", &[0; 4], good),
            ("loose source route", &[131, 7, 4, 0, 0, 0, 0, 0], bad),
            ("strict source route", &[137, 7, 4, 0, 0, 0, 0, 0], bad),
            ("behind padding", &[1, 1, 1, 131, 3, 4, 0, 0], bad),
            ("in the last byte", &[1, 1, 1, 137], bad),
            ("behind another option", &[148, 4, 0, 0, 131, 3, 4, 0], bad),
            ("its number in another option", &[148, 4, 131, 137], good),
            ("behind the end", &[0, 131, 3, 4], good),
            ("length 0", &[148, 0, 1, 1], bad),
            ("length 1", &[148, 1, 1, 1], bad),
            ("no length", &[1, 1, 1, 148], bad),
            ("longer than the header", &[148, 5, 0, 0], bad),
        ];
        for (what, options, reason) in rows {
            let packet = packet::with_options(&whole, options);
            assert_eq!(node.judge(direction, &packet), reason, "{what}, {direction:?}");
        }
    }
}

#[test]
fn ipv6_extension_headers_are_walked_or_refused() {
    const OPTIONS: u8 = 60;
    let mut node = Node::new();
    for direction in [Direction::Ingress, Direction::Egress] {
        let whole = Transport::Tcp.opening(Family::V6, direction);
        let (good, bad) = (Reason::Forwarded, Reason::InvalidExtensionHeader);
        let mut rows = vec![
            ("hop-by-hop", packet::extended(&whole, &[0]), good),
            ("destination options", packet::extended(&whole, &[OPTIONS]), good),
            ("both", packet::extended(&whole, &[0, OPTIONS]), good),
            ("as many as may be", packet::extended(&whole, &[OPTIONS; 6]), good),
            ("one too many", packet::extended(&whole, &[OPTIONS; 7]), bad),
            (
                "hop-by-hop, and too many",
                packet::extended(&whole, &[0, 60, 60, 60, 60, 60, 60]),
                bad,
            ),
            ("hop-by-hop twice", packet::extended(&whole, &[0, 0]), bad),
            ("hop-by-hop late", packet::extended(&whole, &[OPTIONS, 0]), bad),
            (
                "longer than the packet",
                with(&packet::extended(&whole, &[OPTIONS]), 55, &[200]),
                Reason::InvalidPacket,
            ),
            (
                "as long as the packet",
                with(&packet::extended(&whole, &[OPTIONS]), 55, &[3]),
                Reason::InvalidPacket,
            ),
        ];
        // Routing, AH, Mobility, HIP, Shim6, two experiments.
        for refused in [43, 51, 135, 139, 140, 253, 254] {
            rows.push(("first", packet::extended(&whole, &[refused]), bad));
            rows.push((
                "behind options",
                packet::extended(&whole, &[0, OPTIONS, refused]),
                bad,
            ));
        }
        check(&mut node, direction, &rows);
    }
}

#[test]
fn a_rule_sees_through_extension_headers_and_options() {
    everywhere(|node, family, direction| {
        node.enforce(BOTH_ENFORCED);
        let rule = exact(REMOTE, direction, packet::TCP, Transport::SERVER_PORT);
        node.rule_at(&rule, Verdict::Allow as u8, Authentication::Disabled as u8);
        for (port, reason) in [
            (Transport::SERVER_PORT, Reason::Forwarded),
            (Transport::SERVER_PORT + 1, Reason::PolicyDenied),
        ] {
            let (source, destination) = crate::support::scene::ends(family, direction);
            let whole = packet::ip(
                source,
                destination,
                packet::TCP,
                &packet::tcp(1_025, port, packet::SYN),
            );
            let packet = match family {
                Family::V4 => packet::with_options(&whole, &[7, 7, 4, 0, 0, 0, 0, 0]),
                Family::V6 => packet::extended(&whole, &[0, 60, 60]),
            };
            assert_eq!(node.judge(direction, &packet), reason, "{port}");
        }
    });
}

#[test]
fn what_is_encrypted_inside_is_a_protocol_of_its_own() {
    everywhere(|node, family, direction| {
        node.enforce(BOTH_ENFORCED);
        let rule = exact(REMOTE, direction, packet::TCP, Transport::SERVER_PORT);
        node.rule_at(&rule, Verdict::Allow as u8, Authentication::Disabled as u8);
        let (source, destination) = crate::support::scene::ends(family, direction);
        // ESP (RFC 4303), its bytes looking like TCP to the allowed port.
        let inside = packet::tcp(40_000, Transport::SERVER_PORT, packet::SYN);
        let esp = packet::ip(source, destination, 50, &inside);
        assert_eq!(node.judge(direction, &esp), Reason::PolicyDenied);
        node.rule_at(&exact(REMOTE, direction, 50, 0), Verdict::Allow as u8, 0);
        assert_eq!(node.judge(direction, &esp), Reason::Forwarded);
    });
}

#[test]
fn an_ipv4_address_in_ipv6_clothes_is_refused() {
    let mapped = |address: IpAddr| match address {
        IpAddr::V4(v4) => IpAddr::V6(v4.to_ipv6_mapped()),
        IpAddr::V6(_) => address,
    };
    let mut node = Node::new();
    let (local, remote) = (Family::V4.local(), Family::V4.remote());
    for transport in [Transport::Tcp, Transport::Udp, Transport::Echo] {
        for (direction, source, destination) in [
            (Direction::Egress, mapped(local), mapped(remote)),
            (Direction::Egress, mapped(local), Family::V6.remote()),
            (Direction::Egress, Family::V6.local(), mapped(remote)),
            (Direction::Ingress, mapped(remote), mapped(local)),
            (Direction::Ingress, mapped(remote), Family::V6.local()),
            (Direction::Ingress, Family::V6.remote(), mapped(local)),
        ] {
            let packet = transport.between(source, destination, true);
            assert_eq!(
                node.judge(direction, &packet),
                Reason::InvalidPacket,
                "{transport:?}, {source} to {destination}"
            );
        }
    }
    // Other ways to write an IPv4 address into an IPv6 one mean nothing either.
    for alias in ["::10.244.1.10", "64:ff9b::10.244.1.10", "2002:0af4:010a::1"] {
        let packet = Transport::Tcp.between(alias.parse().unwrap(), Family::V6.remote(), true);
        assert_eq!(
            node.judge(Direction::Egress, &packet),
            Reason::InvalidSourceIp,
            "{alias}"
        );
    }
}
