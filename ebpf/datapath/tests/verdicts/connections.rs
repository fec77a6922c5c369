//! Connections: what passes because of what passed before, and for how long.

use std::ops::RangeInclusive;

use signet_abi::{
    Authentication, CtValue, Direction, LeaseKey, Reason, SecurityIdentity, Verdict, flow_hooks,
};
use signet_datapath::Capacities;
use signet_maps::boottime_now;

use crate::support::node::{Node, capacities, every_transport, everywhere};
use crate::support::packet;
use crate::support::scene::{
    BOTH_ENFORCED, Family, INTERFACE, LOCAL, MINUTE, OTHER_INTERFACE, PEER_NODE, REMOTE, Transport, ends,
};

/// Rules in `direction` alone; the other is enforced, and has none.
fn one_way(node: &mut Node, direction: Direction) {
    node.enforce(BOTH_ENFORCED);
    node.rule(direction, Verdict::Allow, Authentication::Disabled);
}

#[test]
fn an_answer_passes_only_after_its_question_has() {
    every_transport(|node, family, direction, transport| {
        let (question, answer) = (
            transport.opening(family, direction),
            transport.answer(family, direction),
        );
        let back = direction.opposite();
        node.enforce(BOTH_ENFORCED);
        assert_eq!(
            node.judge(back, &answer),
            Reason::PolicyDenied,
            "{transport:?}: before"
        );
        assert_eq!(
            node.judge(direction, &question),
            Reason::PolicyDenied,
            "{transport:?}"
        );
        assert_eq!(
            node.judge(back, &answer),
            Reason::PolicyDenied,
            "{transport:?}: refused"
        );
        one_way(node, direction);
        assert_eq!(
            node.judge(back, &answer),
            Reason::PolicyDenied,
            "{transport:?}: not asked"
        );
        assert_eq!(
            node.judge(direction, &question),
            Reason::Forwarded,
            "{transport:?}"
        );
        assert_eq!(
            node.judge(back, &answer),
            Reason::Forwarded,
            "{transport:?}: answer"
        );
        assert_eq!(
            node.judge(direction, &question),
            Reason::Forwarded,
            "{transport:?}: again"
        );
    });
}

#[test]
fn an_answer_of_other_ports_or_another_address_is_none() {
    everywhere(|node, family, direction| {
        one_way(node, direction);
        for transport in [Transport::Tcp, Transport::Udp] {
            assert_eq!(
                node.judge(direction, &transport.opening(family, direction)),
                Reason::Forwarded
            );
            let ports = if family == Family::V4 { 34 } else { 54 };
            for byte in ports..ports + 4 {
                let mut answer = transport.answer(family, direction);
                answer[byte] ^= 1;
                assert_eq!(
                    node.judge(direction.opposite(), &answer),
                    Reason::PolicyDenied,
                    "port byte {byte}"
                );
            }
            let stranger = match direction {
                Direction::Egress => transport.between(family.stranger(), family.local(), false),
                Direction::Ingress => transport.between(family.local(), family.stranger(), false),
            };
            assert_eq!(node.judge(direction.opposite(), &stranger), Reason::PolicyDenied);
        }
    });
}

#[test]
fn the_responder_may_open_nothing_on_the_same_ports() {
    everywhere(|node, family, direction| {
        one_way(node, direction);
        let (from, to) = ends(family, direction);
        assert_eq!(
            node.judge(direction, &Transport::Tcp.opening(family, direction)),
            Reason::Forwarded
        );
        let (server, client) = (Transport::SERVER_PORT, Transport::CLIENT_PORT);
        let open = packet::ip(to, from, packet::TCP, &packet::tcp(server, client, packet::SYN));
        assert_eq!(
            node.judge(direction.opposite(), &open),
            Reason::PolicyDenied,
            "SYN"
        );
        assert_eq!(
            node.judge(direction, &Transport::Echo.opening(family, direction)),
            Reason::Forwarded
        );
        let request = packet::echo(to, from, 77, true);
        assert_eq!(
            node.judge(direction.opposite(), &request),
            Reason::PolicyDenied,
            "echo"
        );
    });
}

#[test]
fn a_new_epoch_stops_a_live_connection_that_its_rules_no_longer_allow() {
    every_transport(|node, family, direction, transport| {
        one_way(node, direction);
        let (question, answer) = (
            transport.opening(family, direction),
            transport.answer(family, direction),
        );
        // A SYN is always judged anew; what follows it is not.
        let both = |node: &mut Node, reason: Reason, when: &str| {
            let further = match transport {
                Transport::Tcp => with_flags(&question, family, packet::ACK),
                Transport::Udp | Transport::Sctp | Transport::Echo | Transport::Gre => question.clone(),
            };
            assert_eq!(node.judge(direction, &further), reason, "{transport:?}, {when}");
            assert_eq!(
                node.judge(direction.opposite(), &answer),
                reason,
                "{transport:?}, answer, {when}"
            );
        };
        assert_eq!(node.judge(direction, &question), Reason::Forwarded);
        node.rule(direction, Verdict::Deny, Authentication::Disabled);
        both(
            node,
            Reason::Forwarded,
            "the verdict is remembered within an epoch",
        );
        node.next_epoch();
        both(node, Reason::PolicyDeny, "denied");
        node.no_rule(direction);
        both(node, Reason::PolicyDenied, "no rule");
        node.rule(direction, Verdict::Allow, Authentication::Required);
        both(node, Reason::AuthenticationRequired, "required");
        node.prove(MINUTE.cast_signed());
        both(node, Reason::Forwarded, "proven");
        node.rule(direction, Verdict::Allow, Authentication::Disabled);
        node.next_epoch();
        node.prove(-1);
        both(node, Reason::Forwarded, "nothing is required");
    });
}

#[test]
fn a_changed_identity_is_judged_by_its_own_rules() {
    everywhere(|node, family, direction| {
        one_way(node, direction);
        let packet = Transport::Udp.opening(family, direction);
        assert_eq!(node.judge(direction, &packet), Reason::Forwarded);
        node.know(family.remote(), SecurityIdentity(401), PEER_NODE);
        node.next_epoch();
        assert_eq!(node.judge(direction, &packet), Reason::PolicyDenied);
        let answer = Transport::Udp.answer(family, direction);
        assert_eq!(node.judge(direction.opposite(), &answer), Reason::PolicyDenied);
    });
}

#[test]
fn a_connection_that_needs_no_proof_needs_no_lease() {
    everywhere(|node, family, direction| {
        one_way(node, direction);
        assert!(node.leases.remove(&LeaseKey(family.remote().into())).unwrap());
        node.grant(PEER_NODE, -1);
        let packet = Transport::Udp.opening(family, direction);
        assert_eq!(node.judge(direction, &packet), Reason::Forwarded);
        assert_eq!(node.judge(direction, &packet), Reason::Forwarded);
    });
}

#[test]
fn a_remembered_verdict_holds_on_its_own_interface_alone() {
    everywhere(|node, family, direction| {
        let packet = Transport::Udp.opening(family, direction);
        assert_eq!(node.judge(direction, &packet), Reason::Forwarded);
        node.endpoint(family.local(), |endpoint| endpoint.ifindex = OTHER_INTERFACE);
        assert_eq!(node.judge(direction, &packet), Reason::Forwarded, "remembered");
        node.rewrite_connections(|value| {
            assert_eq!(value.ifindex, INTERFACE);
            value.ifindex = OTHER_INTERFACE;
        });
        let refused = match direction {
            Direction::Ingress => Reason::EndpointNotReady,
            Direction::Egress => Reason::InvalidSourceIp,
        };
        assert_eq!(node.judge(direction, &packet), refused);
    });
}

#[test]
fn an_expired_connection_answers_nothing() {
    every_transport(|node, family, direction, transport| {
        one_way(node, direction);
        assert_eq!(
            node.judge(direction, &transport.opening(family, direction)),
            Reason::Forwarded
        );
        node.rewrite_connections(|value| value.expires = 1);
        let answer = transport.answer(family, direction);
        assert_eq!(
            node.judge(direction.opposite(), &answer),
            Reason::PolicyDenied,
            "{transport:?}"
        );
    });
}

#[test]
fn a_connection_lives_as_long_as_its_state_says() {
    const SECOND: u64 = 1_000_000_000;
    everywhere(|node, family, direction| {
        let back = direction.opposite();
        let tcp = |forward: bool, flags: u8| {
            let whole = if forward {
                Transport::Tcp.opening(family, direction)
            } else {
                Transport::Tcp.answer(family, direction)
            };
            let direction = if forward { direction } else { back };
            (direction, with_flags(&whole, family, flags))
        };
        let (syn, ack, fin, rst) = (packet::SYN, packet::ACK, packet::FIN | packet::ACK, packet::RST);
        let closing = [
            (tcp(true, syn), 60),
            (tcp(false, syn | ack), 8_000),
            (tcp(true, ack), 8_000),
            (tcp(false, fin), 120),
            (tcp(false, ack), 120),
            (tcp(true, fin), 10),
            (tcp(false, ack), 10),
            (tcp(true, syn), 60),
            (tcp(false, rst | ack), 10),
        ];
        let other = |transport: Transport, opening: u64, answered: u64| {
            [
                ((direction, transport.opening(family, direction)), opening),
                ((back, transport.answer(family, direction)), answered),
            ]
        };
        let lives: [&[_]; 4] = [
            &closing,
            &other(Transport::Udp, 30, 180),
            &other(Transport::Gre, 30, 180),
            &other(Transport::Echo, 30, 30),
        ];
        for life in lives {
            node.forget();
            for (step, ((direction, packet), seconds)) in life.iter().enumerate() {
                let expected = lifetime(node, *direction, packet, seconds * SECOND);
                let expires = node.connection().state.expires;
                assert!(expected.contains(&expires), "step {step}: {seconds} s");
            }
        }
    });
}

/// Judges a packet; when an entry that lives for `ns` from then on expires. It is not moved by less than a second.
fn lifetime(node: &mut Node, direction: Direction, packet: &[u8], ns: u64) -> RangeInclusive<u64> {
    const GRANULE: u64 = 1_000_000_000;
    let before = boottime_now();
    assert_eq!(node.judge(direction, packet), Reason::Forwarded);
    before + ns - GRANULE..=boottime_now() + ns + GRANULE
}

#[test]
fn an_established_connection_is_kept_alive_by_packets_of_both_sides() {
    everywhere(|node, family, direction| {
        let packets = [
            (direction, Transport::Udp.opening(family, direction)),
            (direction.opposite(), Transport::Udp.answer(family, direction)),
        ];
        assert_eq!(node.judge(direction, &packets[0].1), Reason::Forwarded);
        for (direction, packet) in &packets {
            let old = boottime_now() + 5_000_000_000;
            node.rewrite_connections(|value| value.expires = old);
            assert_eq!(node.judge(*direction, packet), Reason::Forwarded);
            assert!(node.connection().state.expires > old);
        }
    });
}

#[test]
fn a_full_table_forgets_old_connections_and_refuses_what_it_forgot() {
    let capacities = Capacities {
        connections: 16,
        ..capacities()
    };
    let mut node = Node::with(&capacities);
    let direction = Direction::Egress;
    one_way(&mut node, direction);
    for family in Family::BOTH {
        let ports = 1_000..1_500_u16;
        let packets = |port: u16| {
            let (source, destination) = (family.local(), family.remote());
            (
                packet::ip(source, destination, packet::UDP, &packet::udp(port, 53)),
                packet::ip(destination, source, packet::UDP, &packet::udp(53, port)),
            )
        };
        for port in ports.clone() {
            let (question, answer) = packets(port);
            assert_eq!(node.judge(direction, &question), Reason::Forwarded, "{port}");
            assert_eq!(
                node.judge(Direction::Ingress, &answer),
                Reason::Forwarded,
                "{port}"
            );
        }
        let mut remembered = 0;
        for port in ports {
            let reason = node.judge(Direction::Ingress, &packets(port).1);
            if reason == Reason::Forwarded {
                remembered += 1;
            } else {
                assert_eq!(reason, Reason::PolicyDenied, "{port}");
            }
        }
        assert!((1..=16).contains(&remembered), "{remembered}");
    }
}

#[test]
fn a_flow_is_told_for_the_first_packet_and_the_end_and_not_between() {
    everywhere(|node, family, direction| {
        let _ = node.flows();
        let opening = Transport::Tcp.opening(family, direction);
        let steps = [
            (packet::SYN, 1),
            (packet::ACK, 0),
            (packet::ACK, 0),
            (packet::RST, 1),
            (packet::RST, 0),
        ];
        for (flags, told) in steps {
            let packet = with_flags(&opening, family, flags);
            assert_eq!(node.judge(direction, &packet), Reason::Forwarded);
            let flows = node.flows();
            assert_eq!(flows.len(), told, "flags {flags}");
            for flow in flows {
                assert_eq!((flow.tcp_flags, flow.hook), (flags, hook_number(direction)));
                let (from, to) = ends(family, direction);
                assert_eq!((flow.source, flow.destination), (from.into(), to.into()));
                let identities = match direction {
                    Direction::Ingress => (REMOTE, LOCAL),
                    Direction::Egress => (LOCAL, REMOTE),
                };
                assert_eq!((flow.source_identity, flow.destination_identity), identities);
                assert_eq!((flow.node, flow.ifindex), (PEER_NODE, INTERFACE));
            }
        }
    });
}

fn hook_number(direction: Direction) -> u8 {
    match direction {
        Direction::Ingress => flow_hooks::TO_CONTAINER,
        Direction::Egress => flow_hooks::FROM_CONTAINER,
    }
}

/// The TCP packet with other flags.
fn with_flags(whole: &[u8], family: Family, flags: u8) -> Vec<u8> {
    let mut packet = whole.to_vec();
    packet[if family == Family::V4 {
        14 + 20 + 13
    } else {
        14 + 40 + 13
    }] = flags;
    packet
}

#[test]
fn what_is_remembered_of_a_connection_names_its_rule_and_pair() {
    everywhere(|node, family, direction| {
        node.enforce(BOTH_ENFORCED);
        node.rule(direction, Verdict::Allow, Authentication::Required);
        node.prove(MINUTE.cast_signed());
        assert_eq!(
            node.judge(direction, &Transport::Tcp.opening(family, direction)),
            Reason::Forwarded
        );
        let connection = node.connection();
        let state = CtValue {
            expires: connection.state.expires,
            policy_epoch: 1,
            local: LOCAL,
            remote: REMOTE,
            node: PEER_NODE,
            rule: 5,
            ifindex: INTERFACE,
            authentication: Authentication::Required as u8,
            ..CtValue::default()
        };
        let (source, destination) = ends(family, direction);
        assert_eq!((connection.source, connection.destination), (source, destination));
        assert_eq!(connection.direction, direction as u8);
        assert_eq!(connection.state, state);
    });
}
