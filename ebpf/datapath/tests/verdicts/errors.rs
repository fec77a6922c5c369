//! ICMP and `ICMPv6` errors (RFC 792, RFC 4443): they pass because of the connection that they are about.

use std::net::IpAddr;

use signet_abi::{Authentication, Direction, Reason, SecurityIdentity, Verdict};
use signet_maps::boottime_now;

use crate::support::node::{Node, every_transport, everywhere};
use crate::support::packet;
use crate::support::scene::{BOTH_ENFORCED, Family, MINUTE, PEER_NODE, Transport};

/// A live connection opened in `opened`, which alone a rule allows: the way that errors about a packet of it go, and
/// that packet.
fn live(
    node: &mut Node,
    family: Family,
    opened: Direction,
    transport: Transport,
) -> [(Direction, Vec<u8>); 2] {
    node.enforce(BOTH_ENFORCED);
    let rule = transport.rule(family, opened);
    node.rule_at(&rule, Verdict::Allow as u8, Authentication::Disabled as u8);
    let (question, answer) = (
        transport.opening(family, opened),
        transport.answer(family, opened),
    );
    assert_eq!(node.judge(opened, &question), Reason::Forwarded);
    assert_eq!(node.judge(opened.opposite(), &answer), Reason::Forwarded);
    [(opened.opposite(), question), (opened, answer)]
}

/// Who sends the error about a packet, and who gets it, if it goes `direction`.
fn ends(family: Family, direction: Direction) -> (IpAddr, IpAddr) {
    crate::support::scene::ends(family, direction)
}

#[test]
fn an_error_about_a_live_connection_passes_in_either_direction_and_changes_nothing() {
    every_transport(|node, family, opened, transport| {
        for (direction, about) in live(node, family, opened, transport) {
            let (from, to) = ends(family, direction);
            // Near its end: a packet of its own would give it more time.
            let soon = boottime_now() + MINUTE / 12;
            node.rewrite_connections(|value| value.expires = soon);
            let before = node.connection();
            for &kind in kinds(family) {
                let error = packet::error(from, to, kind, &about);
                assert_eq!(
                    node.judge(direction, &error),
                    Reason::Forwarded,
                    "{transport:?}, type {kind}, {direction:?}"
                );
            }
            assert_eq!(node.connection(), before);
        }
    });
}

fn kinds(family: Family) -> &'static [u8] {
    match family {
        Family::V4 => &[3, 11, 12],
        Family::V6 => &[1, 2, 3, 4],
    }
}

#[test]
fn a_router_on_the_way_may_send_one_and_another_workload_may_not() {
    everywhere(|node, family, opened| {
        let [first, second] = live(node, family, opened, Transport::Tcp);
        let (_, about) = if first.0 == Direction::Ingress {
            first
        } else {
            second
        };
        let error = packet::unreachable(family.stranger(), family.local(), &about);
        assert_eq!(
            node.judge(Direction::Ingress, &error),
            Reason::Forwarded,
            "nobody's"
        );
        node.know(family.stranger(), SecurityIdentity::REMOTE_NODE, PEER_NODE);
        assert_eq!(
            node.judge(Direction::Ingress, &error),
            Reason::Forwarded,
            "a node's"
        );
        node.know(family.stranger(), SecurityIdentity(401), PEER_NODE);
        assert_eq!(
            node.judge(Direction::Ingress, &error),
            Reason::PolicyDenied,
            "a workload's"
        );
    });
}

#[test]
fn a_workload_sends_errors_to_nobody_but_its_peer() {
    everywhere(|node, family, opened| {
        let [first, second] = live(node, family, opened, Transport::Tcp);
        let (_, about) = if first.0 == Direction::Egress {
            first
        } else {
            second
        };
        let to_peer = packet::unreachable(family.local(), family.remote(), &about);
        assert_eq!(node.judge(Direction::Egress, &to_peer), Reason::Forwarded);
        let elsewhere = packet::unreachable(family.local(), family.stranger(), &about);
        assert_eq!(node.judge(Direction::Egress, &elsewhere), Reason::PolicyDenied);
        let stolen = packet::unreachable(family.stranger(), family.remote(), &about);
        assert_eq!(node.judge(Direction::Egress, &stolen), Reason::InvalidSourceIp);
    });
}

#[test]
fn an_error_about_no_connection_is_a_message_like_any_other() {
    every_transport(|node, family, direction, transport| {
        node.enforce(BOTH_ENFORCED);
        let (from, to) = ends(family, direction);
        let about = transport.between(to, from, true);
        let error = packet::unreachable(from, to, &about);
        assert_eq!(
            node.judge(direction, &error),
            Reason::PolicyDenied,
            "{transport:?}"
        );
        node.rule(direction, Verdict::Allow, Authentication::Disabled);
        assert_eq!(node.judge(direction, &error), Reason::Forwarded, "{transport:?}");
        assert_eq!(node.connections.entries().unwrap(), [], "it opens nothing");
    });
}

#[test]
fn an_error_about_somebody_elses_connection_is_refused() {
    everywhere(|node, family, opened| {
        for (direction, about) in live(node, family, opened, Transport::Udp) {
            let (from, to) = ends(family, direction);
            // The live connection's packet, as if it had been sent by who sends the error.
            let error = packet::unreachable(to, from, &about);
            assert_eq!(
                node.judge(direction.opposite(), &error),
                Reason::PolicyDenied,
                "sent back"
            );
            let foreign = Transport::Udp.between(family.stranger(), from, true);
            let error = packet::unreachable(from, to, &foreign);
            assert_eq!(
                node.judge(direction, &error),
                Reason::PolicyDenied,
                "another's packet"
            );
        }
    });
}

#[test]
fn an_error_that_quotes_too_little_is_refused() {
    every_transport(|node, family, opened, transport| {
        let header = if family == Family::V4 { 20 } else { 40 };
        let quoted = packet::ETHERNET + header + 8;
        for (direction, about) in live(node, family, opened, transport) {
            if matches!(transport, Transport::Echo) && direction == opened {
                // The rule for echo requests is one for errors too.
                continue;
            }
            let (from, to) = ends(family, direction);
            let mut padded = about.clone();
            padded.resize(quoted, 0);
            for length in packet::ETHERNET..quoted {
                let error = packet::unreachable(from, to, &padded[..length]);
                assert_eq!(
                    node.judge(direction, &error),
                    Reason::PolicyDenied,
                    "{transport:?} {length}"
                );
            }
            let error = packet::unreachable(from, to, &padded);
            assert_eq!(node.judge(direction, &error), Reason::Forwarded, "{transport:?}");
        }
    });
}

#[test]
fn an_error_that_quotes_what_is_no_first_packet_is_refused() {
    everywhere(|node, family, opened| {
        for (direction, about) in live(node, family, opened, Transport::Udp) {
            let (from, to) = ends(family, direction);
            let changes: &[(usize, u8)] = match family {
                // Version, header length, fragment offset, protocol.
                Family::V4 => &[(14, 0x65), (14, 0x44), (21, 1), (23, 99)],
                // Version, an extension header.
                Family::V6 => &[(14, 0x40), (20, 60), (20, 44)],
            };
            for &(at, byte) in changes {
                let mut changed = about.clone();
                changed[at] = byte;
                let error = packet::unreachable(from, to, &changed);
                assert_eq!(node.judge(direction, &error), Reason::PolicyDenied, "byte {at}");
            }
        }
    });
}

#[test]
fn an_error_about_an_error_or_an_unknown_message_is_refused() {
    everywhere(|node, family, opened| {
        let [(direction, about), _] = live(node, family, opened, Transport::Echo);
        let (from, to) = ends(family, direction);
        let kind = if family == Family::V4 { 34 } else { 54 };
        for unknown in [1, 3, 13, 135] {
            let mut changed = about.clone();
            changed[kind] = unknown;
            let error = packet::unreachable(from, to, &changed);
            assert_eq!(
                node.judge(direction, &error),
                Reason::PolicyDenied,
                "type {unknown}"
            );
        }
    });
}

#[test]
fn an_error_is_judged_by_the_rule_and_the_proof_of_its_connection() {
    everywhere(|node, family, opened| {
        let errors = live(node, family, opened, Transport::Tcp).map(|(direction, about)| {
            let (from, to) = ends(family, direction);
            (direction, packet::unreachable(from, to, &about))
        });
        let all = |node: &mut Node, reason: Reason| {
            for (direction, error) in &errors {
                assert_eq!(node.judge(*direction, error), reason, "{direction:?}");
            }
        };
        let rule = Transport::Tcp.rule(family, opened);
        node.rule_at(&rule, Verdict::Allow as u8, Authentication::Required as u8);
        node.next_epoch();
        all(node, Reason::AuthenticationRequired);
        node.prove(MINUTE.cast_signed());
        all(node, Reason::Forwarded);
        node.rule_at(&rule, Verdict::Deny as u8, 0);
        node.next_epoch();
        all(node, Reason::PolicyDeny);
        node.rewrite_connections(|value| value.expires = 1);
        all(node, Reason::PolicyDenied);
    });
}
