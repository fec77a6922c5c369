//! What signet-agent tells the sender of a refused packet: it passes where nothing else would, and nothing else passes with it.

use signet_abi::{
    AuthKey, Authentication, Direction, MARK_LOCAL, MARK_REFUSAL, NodeId, ParkingTicket, Reason, Verdict,
    ticket_flags,
};
use signet_datapath::Hook;

use crate::parking::{returned, ticket, with_parking};
use crate::support::node::{Node, everywhere};
use crate::support::packet;
use crate::support::scene::{
    BOTH_ENFORCED, DROP, Family, INTERFACE, LOCAL, MINUTE, Origin, PARKING, REDIRECT, REMOTE, Transport,
    ends, hook,
};

/// A refusal reaches its hook like this: from the parking device, and marked by `from_parking`.
fn marked(direction: Direction) -> Origin {
    Origin {
        mark: MARK_REFUSAL,
        ..Origin::returned(direction)
    }
}

/// What the sender of a packet that goes the other way is told.
fn refusals(family: Family, direction: Direction) -> [Vec<u8>; 2] {
    let (source, destination) = ends(family, direction);
    let question = Transport::Udp.opening(family, direction.opposite());
    let (kind, code) = if family == Family::V4 { (3, 13) } else { (1, 1) };
    let mut error = packet::error(source, destination, kind, &question);
    let code_at = packet::ETHERNET + if family == Family::V4 { 21 } else { 41 };
    error[code_at] = code;
    let reset = packet::tcp(
        Transport::SERVER_PORT,
        Transport::CLIENT_PORT,
        packet::RST | packet::ACK,
    );
    [packet::ip(source, destination, packet::TCP, &reset), error]
}

#[test]
fn a_refusal_passes_although_no_rule_allows_it_and_is_told_of() {
    everywhere(|node, family, direction| {
        node.enforce(BOTH_ENFORCED);
        node.configure(|config| (config.parking_ifindex, config.parking_secret) = (PARKING, 1));
        for refusal in refusals(family, direction) {
            let _ = node.flows();
            assert_eq!(
                node.judge_from(marked(direction), direction, &refusal),
                Reason::Rejected
            );
            let flows = node.flows();
            assert_eq!(flows.len(), 1);
            assert_eq!(flows[0].reason, Reason::Rejected as u8);
            let identities = [flows[0].source_identity, flows[0].destination_identity];
            assert!(identities == [LOCAL, REMOTE] || identities == [REMOTE, LOCAL]);
        }
        assert!(
            node.connections.entries().unwrap().is_empty(),
            "nothing is remembered of it"
        );
    });
}

#[test]
fn what_merely_looks_like_a_refusal_is_judged_like_everything_else() {
    everywhere(|node, family, direction| {
        with_parking(node, direction);
        // An ICMP error that is about no connection is judged like any other message, and so parked.
        for (refusal, expected) in refusals(family, direction)
            .iter()
            .zip([Reason::Parked, Reason::Parked])
        {
            let elsewhere = match direction {
                Direction::Ingress => vec![
                    Origin {
                        mark: MARK_REFUSAL,
                        received_by: PARKING + 1,
                    },
                    Origin {
                        mark: MARK_REFUSAL,
                        received_by: 0,
                    },
                ],
                Direction::Egress => vec![
                    Origin {
                        mark: 0,
                        received_by: INTERFACE,
                    },
                    Origin {
                        mark: MARK_LOCAL,
                        received_by: INTERFACE,
                    },
                ],
            };
            for origin in elsewhere {
                assert_eq!(
                    node.judge_from(origin, direction, refusal),
                    expected,
                    "{origin:?}"
                );
            }
            // From the parking device, but given back and not answered: it has waited, and is refused itself.
            assert_eq!(
                node.judge_from(Origin::returned(direction), direction, refusal),
                Reason::AuthenticationRequired
            );
        }
    });
}

#[test]
fn a_refusal_is_a_reset_or_an_error_between_this_endpoint_and_another_and_nothing_else() {
    everywhere(|node, family, direction| {
        node.enforce(BOTH_ENFORCED);
        node.configure(|config| (config.parking_ifindex, config.parking_secret) = (PARKING, 1));
        let (source, destination) = ends(family, direction);
        let [reset, error] = refusals(family, direction);
        let tcp = |flags| packet::ip(source, destination, packet::TCP, &packet::tcp(80, 4_000, flags));
        let mut echo = error.clone();
        echo[packet::ETHERNET + if family == Family::V4 { 20 } else { 40 }] =
            if family == Family::V4 { 8 } else { 128 };
        let rows = [
            ("a segment", tcp(packet::ACK)),
            ("an opening", tcp(packet::SYN)),
            ("both", tcp(packet::SYN | packet::RST)),
            ("a datagram", Transport::Udp.opening(family, direction)),
            ("an echo", echo),
        ];
        for (what, packet) in rows {
            assert_eq!(
                node.judge_from(marked(direction), direction, &packet),
                Reason::InvalidPacket,
                "{what}"
            );
        }
        let strange = match direction {
            Direction::Ingress => (source, family.stranger(), Reason::EndpointNotReady),
            Direction::Egress => (family.stranger(), destination, Reason::InvalidSourceIp),
        };
        let forged = packet::ip(
            strange.0,
            strange.1,
            packet::TCP,
            &packet::tcp(80, 4_000, packet::RST),
        );
        assert_eq!(node.judge_from(marked(direction), direction, &forged), strange.2);
        assert_eq!(
            node.judge_from(marked(direction), direction, &reset),
            Reason::Rejected
        );
    });
}

#[test]
fn the_parking_device_sends_a_refusal_the_other_way_and_only_with_the_secret() {
    let mut node = Node::new();
    for family in Family::BOTH {
        for direction in [Direction::Ingress, Direction::Egress] {
            node.reset();
            with_parking(&mut node, direction);
            // It goes the other way than what it answers.
            for refusal in refusals(family, direction.opposite()) {
                let good = ParkingTicket {
                    flags: ticket_flags::REFUSAL,
                    ..ticket(direction)
                };
                assert_eq!(
                    node.act(Hook::FromParking, &returned(&good, &refusal), 0),
                    (REDIRECT, MARK_REFUSAL)
                );
                let forged = ParkingTicket {
                    secret: good.secret ^ 1,
                    ..good
                };
                assert_eq!(
                    node.act(Hook::FromParking, &returned(&forged, &refusal), 0).0,
                    DROP
                );
            }
            // The host's own packets may have any mark: it is no refusal because they say so.
            let posing = ParkingTicket {
                mark: MARK_REFUSAL,
                ..ticket(Direction::Ingress)
            };
            let packet = Transport::Tcp.opening(family, Direction::Ingress);
            let (action, mark) = node.act(Hook::FromParking, &returned(&posing, &packet), 0);
            assert_eq!(action, REDIRECT);
            assert_ne!(mark & signet_abi::MARK_MASK, MARK_REFUSAL);
        }
    }
}

#[test]
fn a_rule_that_says_reject_parks_like_one_that_says_nothing() {
    everywhere(|node, family, direction| {
        with_parking(node, direction);
        node.rule(direction, Verdict::Allow, Authentication::RequiredOrRejected);
        let packet = Transport::Tcp.opening(family, direction);
        assert_eq!(node.judge(direction, &packet), Reason::Parked);
        // Without the device nobody is told, and nothing passes.
        node.configure(|_| {});
        assert_eq!(node.judge(direction, &packet), Reason::AuthenticationRequired);
        node.prove(60_000_000_000);
        assert_eq!(node.judge(direction, &packet), Reason::Forwarded);
        node.lease(family.remote(), LOCAL, crate::support::scene::PEER_NODE);
        assert_eq!(node.judge(direction, &packet), Reason::LeaseExpired);
    });
}

#[test]
fn the_ticket_says_whether_the_rule_wants_the_sender_told() {
    everywhere(|node, family, direction| {
        for (mode, expected) in [
            (Authentication::Required, 0),
            (Authentication::RequiredOrRejected, ticket_flags::TELL),
        ] {
            with_parking(node, direction);
            node.rule(direction, Verdict::Allow, mode);
            let packet = Transport::Tcp.opening(family, direction);
            let parked = node.output(hook(direction), &packet);
            let ticket = ParkingTicket::read(&parked).expect("parked");
            assert_eq!(ticket.flags, expected, "{mode:?}");
            assert_eq!(ParkingTicket::frame(&parked), Some(packet.as_slice()));
        }
    });
}

/// The word of the other node may be on its way, and a connection outlives a lapse: only who opens one is told, by way of the agent,
/// who waits for it a moment longer.
#[test]
fn what_lacks_a_lease_is_told_only_to_who_opens_a_connection_and_not_before_the_agent_has_waited() {
    let mut peer = 20;
    everywhere(|node, family, direction| {
        peer += 1;
        let other = NodeId(peer);
        with_parking(node, direction);
        node.know(family.remote(), REMOTE, other);
        let pair = AuthKey {
            local: LOCAL,
            remote: REMOTE,
            node: other,
        };
        node.prove_pair(pair, MINUTE.cast_signed());
        let packet = Transport::Tcp.opening(family, direction);
        assert_eq!(
            node.judge(direction, &packet),
            Reason::LeaseExpired,
            "not asked for"
        );
        node.rule(direction, Verdict::Allow, Authentication::RequiredOrRejected);
        let (source, destination) = ends(family, direction);
        let segment = packet::tcp(Transport::CLIENT_PORT, Transport::SERVER_PORT, packet::ACK);
        let segment = packet::ip(source, destination, packet::TCP, &segment);
        assert_eq!(
            node.judge(direction, &segment),
            Reason::LeaseExpired,
            "of a connection"
        );
        let parked = node.output(hook(direction), &packet);
        let ticket = ParkingTicket::read(&parked).expect("parked");
        assert_eq!(ticket.flags, ticket_flags::TELL | ticket_flags::LAPSED);
        assert_eq!(
            node.judge(direction, &packet),
            Reason::LeaseExpired,
            "a moment later"
        );
        let back = Origin::returned(direction);
        assert_eq!(node.judge_from(back, direction, &packet), Reason::LeaseExpired);
        node.lease(family.remote(), REMOTE, other);
        node.grant(other, MINUTE.cast_signed());
        assert_eq!(
            node.judge_from(back, direction, &packet),
            Reason::Forwarded,
            "it has come"
        );
    });
}
