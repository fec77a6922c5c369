//! Leases: what a required pair needs besides its proof, packet by packet.

use std::net::IpAddr;

use signet_abi::{
    Address, AuthKey, Authentication, Direction, LeaseEndKey, LeaseKey, Metric, NodeId, Reason,
    SecurityIdentity, Signal, SignalCause, Verdict,
};

use crate::support::node::{Node, every_transport, everywhere};
use crate::support::packet::unreachable;
use crate::support::scene::{
    BOTH_ENFORCED, Family, LOCAL, MINUTE, OTHER_INTERFACE, OWN_NODE, Origin, PEER_NODE, REMOTE, Transport,
};

const AHEAD: i64 = MINUTE.cast_signed();

/// Every rule for the pair asks for a proof, and there is one.
fn proven(node: &mut Node) {
    node.enforce(BOTH_ENFORCED);
    for direction in [Direction::Ingress, Direction::Egress] {
        node.rule(direction, Verdict::Allow, Authentication::Required);
    }
    node.prove(AHEAD);
}

fn withdraw(node: &mut Node, address: IpAddr) {
    assert!(node.leases.remove(&LeaseKey(Address::from(address))).unwrap());
}

#[test]
fn a_proven_pair_passes_only_while_the_owner_says_that_the_address_is_its() {
    everywhere(|node, family, direction| {
        proven(node);
        let packet = Transport::Tcp.opening(family, direction);
        let address = family.remote();
        let mut refused = |what: &str, change: &dyn Fn(&mut Node)| {
            change(node);
            assert_eq!(node.judge(direction, &packet), Reason::LeaseExpired, "{what}");
            assert_eq!(node.connections.entries().unwrap(), [], "{what}: not remembered");
            node.lease(address, REMOTE, PEER_NODE);
            node.grant(PEER_NODE, AHEAD);
        };
        refused("nobody says anything of it", &|node| withdraw(node, address));
        refused("it carries another identity", &|node| {
            node.lease(address, SecurityIdentity(401), PEER_NODE);
        });
        refused("another node says so", &|node| {
            node.lease(address, REMOTE, NodeId(3));
            node.grant(NodeId(3), AHEAD);
        });
        refused("this node is said to say so", &|node| {
            node.lease(address, REMOTE, OWN_NODE);
            node.grant(OWN_NODE, AHEAD);
        });
        refused("the owner's word has lapsed", &|node| node.grant(PEER_NODE, -1));
        refused("the owner never gave its word", &|node| {
            assert!(node.lease_ends.remove(&LeaseEndKey(PEER_NODE)).unwrap());
        });
        assert_eq!(node.judge(direction, &packet), Reason::Forwarded);
    });
}

#[test]
fn a_live_connection_stops_at_the_next_packet_and_goes_on_with_the_next_lease() {
    every_transport(|node, family, direction, transport| {
        proven(node);
        let transport_rule = transport.rule(family, direction);
        node.rule_at(
            &transport_rule,
            Verdict::Allow as u8,
            Authentication::Required as u8,
        );
        let (question, answer) = (
            transport.opening(family, direction),
            transport.answer(family, direction),
        );
        let both = |node: &mut Node, reason: Reason, when: &str| {
            assert_eq!(node.judge(direction, &question), reason, "{transport:?}, {when}");
            assert_eq!(
                node.judge(direction.opposite(), &answer),
                reason,
                "{transport:?}, answer, {when}"
            );
        };
        both(node, Reason::Forwarded, "live");
        node.grant(PEER_NODE, -1);
        both(node, Reason::LeaseExpired, "lapsed");
        node.grant(PEER_NODE, AHEAD);
        both(node, Reason::Forwarded, "granted again, without a new epoch");
        withdraw(node, family.remote());
        both(node, Reason::LeaseExpired, "withdrawn");
        node.lease(family.remote(), SecurityIdentity(401), PEER_NODE);
        both(node, Reason::LeaseExpired, "somebody else's");
        node.lease(family.remote(), REMOTE, PEER_NODE);
        both(node, Reason::Forwarded, "its own again");
        node.prove(-1);
        both(node, Reason::AuthenticationRequired, "a lease is no proof");
        let _ = node.policy.remove(&transport_rule).unwrap();
    });
}

#[test]
fn an_error_about_a_connection_needs_the_lease_of_the_connections_other_end() {
    let mut node = Node::new();
    proven(&mut node);
    let family = Family::V4;
    let question = Transport::Udp.opening(family, Direction::Ingress);
    assert_eq!(node.judge(Direction::Ingress, &question), Reason::Forwarded);
    let error = unreachable(family.local(), family.remote(), &question);
    assert_eq!(node.judge(Direction::Egress, &error), Reason::Forwarded);
    node.grant(PEER_NODE, -1);
    assert_eq!(node.judge(Direction::Egress, &error), Reason::LeaseExpired);
}

#[test]
fn on_one_node_the_nodes_own_endpoints_are_the_lease() {
    everywhere(|node, family, direction| {
        proven(node);
        let neighbour: IpAddr = match family {
            Family::V4 => "10.244.1.11".parse().unwrap(),
            Family::V6 => "fd00:244:1::11".parse().unwrap(),
        };
        node.know(neighbour, REMOTE, OWN_NODE);
        node.prove_pair(
            AuthKey {
                local: LOCAL,
                remote: REMOTE,
                node: OWN_NODE,
            },
            AHEAD,
        );
        let packet = match direction {
            Direction::Ingress => Transport::Tcp.between(neighbour, family.local(), true),
            Direction::Egress => Transport::Tcp.between(family.local(), neighbour, true),
        };
        let origin = Origin::interface(OTHER_INTERFACE);
        // Where nobody has the address, nothing from it gets as far as here.
        let unknown = match direction {
            Direction::Ingress => Reason::InvalidSourceIp,
            Direction::Egress => Reason::LeaseExpired,
        };
        // A lease of a node's own is none: its own table decides.
        node.lease(neighbour, REMOTE, OWN_NODE);
        node.grant(OWN_NODE, AHEAD);
        let reason = node.judge_from(origin, direction, &packet);
        assert!(
            [unknown, Reason::LeaseExpired].contains(&reason),
            "no endpoint has it: {reason:?}"
        );
        node.endpoint(neighbour, |endpoint| {
            (endpoint.identity, endpoint.ifindex) = (SecurityIdentity(401), OTHER_INTERFACE);
        });
        assert_eq!(
            node.judge_from(origin, direction, &packet),
            Reason::LeaseExpired,
            "another identity has it"
        );
        node.endpoint(neighbour, |endpoint| {
            (endpoint.identity, endpoint.ifindex) = (REMOTE, OTHER_INTERFACE);
        });
        assert_eq!(node.judge_from(origin, direction, &packet), Reason::Forwarded);
        node.endpoint(neighbour, |endpoint| {
            (endpoint.identity, endpoint.ifindex) = (SecurityIdentity(401), OTHER_INTERFACE);
        });
        assert_eq!(
            node.judge_from(origin, direction, &packet),
            Reason::LeaseExpired,
            "another identity has it now, in the same epoch"
        );
    });
}

#[test]
fn a_missing_lease_is_signalled_as_what_it_is_and_not_for_every_packet() {
    let mut node = Node::new();
    proven(&mut node);
    node.grant(PEER_NODE, -1);
    let packet = Transport::Tcp.opening(Family::V6, Direction::Ingress);
    for _ in 0..3 {
        assert_eq!(node.judge(Direction::Ingress, &packet), Reason::LeaseExpired);
    }
    let signals = node.signals();
    assert!(!signals.is_empty(), "no signal");
    let right = |signal: &Signal| {
        (signal.local, signal.remote, signal.node) == (LOCAL, REMOTE, PEER_NODE)
            && (signal.family, signal.cause) == (6, SignalCause::Lease as u8)
    };
    assert!(signals.iter().all(right), "{signals:?}");
    let sent = node.counter(Metric::SignalSent, Direction::Ingress);
    let suppressed = node.counter(Metric::SignalSuppressed, Direction::Ingress);
    assert_eq!(sent + suppressed, 3);
    assert_eq!(
        node.flows().last().map(|flow| flow.reason),
        Some(Reason::LeaseExpired as u8)
    );
}

#[test]
fn what_lacks_a_lease_is_refused_and_does_not_wait() {
    everywhere(|node, family, direction| {
        proven(node);
        node.configure(|config| config.parking_ifindex = OTHER_INTERFACE);
        withdraw(node, family.remote());
        let packet = Transport::Tcp.opening(family, direction);
        assert_eq!(node.judge(direction, &packet), Reason::LeaseExpired);
    });
}

#[test]
fn a_full_map_of_leases_lets_nothing_new_through() {
    let mut node = Node::new();
    proven(&mut node);
    withdraw(&mut node, Family::V4.remote());
    let mut number = 0_u32;
    let lease = signet_abi::Lease {
        identity: REMOTE,
        node: PEER_NODE,
    };
    let mut next = || {
        number += 1;
        LeaseKey(Address::from(IpAddr::from([
            10,
            9,
            0,
            u8::try_from(number).unwrap(),
        ])))
    };
    let refused = loop {
        if let Err(refused) = node.leases.insert(&next(), &lease) {
            break refused;
        }
    };
    assert!(refused.is_full(), "{refused}");
    let packet = Transport::Tcp.opening(Family::V4, Direction::Ingress);
    assert_eq!(node.judge(Direction::Ingress, &packet), Reason::LeaseExpired);
    let packet = Transport::Tcp.opening(Family::V6, Direction::Ingress);
    assert_eq!(
        node.judge(Direction::Ingress, &packet),
        Reason::Forwarded,
        "what was leased stays so"
    );
}
