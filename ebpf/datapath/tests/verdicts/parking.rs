//! What waits for its proof, and how it comes back.

use std::net::IpAddr;

use signet_abi::{
    AuthKey, Authentication, Direction, MARK_DECRYPTED, MARK_LOCAL, MARK_RETURNED, PARKING_PREFIX,
    ParkingTicket, Reason, Verdict,
};
use signet_datapath::Hook;

use crate::support::node::{Node, everywhere};
use crate::support::scene::{
    BOTH_ENFORCED, DROP, Family, INTERFACE, LOCAL, MINUTE, OTHER_INTERFACE, OWN_NODE, Origin, PARKING,
    PEER_NODE, REDIRECT, REMOTE, Transport,
};

const SECRET: u64 = 0x1122_3344_5566_7788;
pub(crate) fn with_parking(node: &mut Node, direction: Direction) {
    node.configure(|config| (config.parking_ifindex, config.parking_secret) = (PARKING, SECRET));
    node.enforce(BOTH_ENFORCED);
    node.rule(direction, Verdict::Allow, Authentication::Required);
}

/// A frame as signet-agent gives it back.
pub(crate) fn returned(ticket: &ParkingTicket, packet: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 12];
    frame.extend_from_slice(&packet[12..14]);
    frame.extend_from_slice(&ticket.secret.to_ne_bytes());
    for word in [
        ticket.local.0,
        ticket.remote.0,
        ticket.node.0,
        ticket.ifindex,
        ticket.mark,
    ] {
        frame.extend_from_slice(&word.to_ne_bytes());
    }
    frame.extend_from_slice(&[ticket.direction, ticket.flags, 0, 0]);
    assert_eq!(frame.len(), PARKING_PREFIX);
    frame.extend_from_slice(packet);
    frame
}

pub(crate) fn ticket(direction: Direction) -> ParkingTicket {
    ParkingTicket {
        secret: SECRET,
        local: LOCAL,
        remote: REMOTE,
        node: PEER_NODE,
        ifindex: INTERFACE,
        mark: MARK_DECRYPTED,
        direction: direction as u8,
        flags: 0,
        reserved: [0; 2],
    }
}

#[test]
fn what_has_waited_is_judged_anew_and_does_not_wait_again() {
    everywhere(|node, family, direction| {
        with_parking(node, direction);
        let packet = Transport::Tcp.opening(family, direction);
        assert_eq!(node.judge(direction, &packet), Reason::Parked);
        let back = Origin::returned(direction);
        assert_eq!(
            node.judge_from(back, direction, &packet),
            Reason::AuthenticationRequired,
            "no proof yet"
        );
        node.prove(MINUTE.cast_signed());
        assert_eq!(node.judge_from(back, direction, &packet), Reason::Forwarded);
        node.rule(direction, Verdict::Deny, Authentication::Required);
        assert_eq!(node.judge_from(back, direction, &packet), Reason::PolicyDeny);
    });
}

#[test]
fn a_neighbours_packet_that_has_waited_is_believed_and_one_from_elsewhere_is_not() {
    everywhere(|node, family, direction| {
        if direction == Direction::Egress {
            return;
        }
        let neighbour: IpAddr = match family {
            Family::V4 => "10.244.1.11".parse().unwrap(),
            Family::V6 => "fd00:244:1::11".parse().unwrap(),
        };
        node.endpoint(neighbour, |endpoint| {
            (endpoint.identity, endpoint.ifindex) = (REMOTE, OTHER_INTERFACE);
        });
        with_parking(node, direction);
        let pair = AuthKey {
            local: LOCAL,
            remote: REMOTE,
            node: OWN_NODE,
        };
        node.prove_pair(pair, MINUTE.cast_signed());
        let packet = Transport::Tcp.between(neighbour, family.local(), true);
        for (received_by, reason) in [
            (PARKING, Reason::Forwarded),
            (PARKING + 1, Reason::InvalidSourceIp),
        ] {
            let origin = Origin {
                mark: MARK_LOCAL,
                received_by,
            };
            assert_eq!(
                node.judge_from(origin, direction, &packet),
                reason,
                "{received_by}"
            );
        }
    });
}

#[test]
fn only_what_a_kernel_program_has_stamped_comes_back() {
    let mut node = Node::new();
    for family in Family::BOTH {
        for direction in [Direction::Ingress, Direction::Egress] {
            node.reset();
            with_parking(&mut node, direction);
            let packet = Transport::Tcp.opening(family, direction);
            let good = ticket(direction);
            let mark = match direction {
                Direction::Ingress => MARK_DECRYPTED,
                Direction::Egress => MARK_RETURNED,
            };
            assert_eq!(
                node.act(Hook::FromParking, &returned(&good, &packet), 0),
                (REDIRECT, mark)
            );
            let forged = ParkingTicket {
                secret: SECRET + 1,
                ..good
            };
            let forged = returned(&forged, &packet);
            assert_eq!(node.act(Hook::FromParking, &forged, 0).0, DROP);
            let whole = returned(&good, &packet);
            let cut = &whole[..PARKING_PREFIX + 10];
            assert_eq!(node.act(Hook::FromParking, cut, 0).0, DROP, "too short");
            node.configure(|config| config.parking_secret = 0);
            let zero = ParkingTicket { secret: 0, ..good };
            assert_eq!(
                node.act(Hook::FromParking, &returned(&zero, &packet), 0).0,
                DROP,
                "without settings nothing comes back"
            );
        }
    }
}
