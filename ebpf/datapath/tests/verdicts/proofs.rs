//! Proofs and leases: what a required pair needs, packet by packet.

use signet_abi::{
    AuthKey, Authentication, Direction, Metric, NodeId, Reason, SecurityIdentity, Verdict, node_flags,
};
use signet_datapath::Hook;

use crate::support::node::{
    BOTH_ENFORCED, Family, INTERFACE, LOCAL, MINUTE, Node, OWN_NODE, PEER_NODE, REMOTE, Transport, everywhere,
};

const MINUTE_FROM_NOW: i64 = MINUTE.cast_signed();

/// A node on which every rule for the pair asks for a proof.
fn guarded() -> Node {
    let mut node = Node::new();
    node.enforce(BOTH_ENFORCED);
    for direction in [Direction::Ingress, Direction::Egress] {
        node.rule(direction, Verdict::Allow, Authentication::Required);
    }
    node
}

#[test]
fn a_required_pair_passes_only_under_a_live_proof_for_exactly_it() {
    let node = std::cell::RefCell::new(guarded());
    everywhere(|family, direction| {
        let mut node = node.borrow_mut();
        let packet = Transport::Tcp.opening(family, direction);
        let missing = Reason::AuthenticationRequired;
        let pair = AuthKey {
            local: LOCAL,
            remote: REMOTE,
            node: PEER_NODE,
        };
        let mut refused = |what: &str, key: AuthKey, ns: i64| {
            node.prove_pair(key, ns);
            assert_eq!(node.judge(direction, &packet), missing, "{what}");
            let _ = node.auth.remove(&key).unwrap();
        };
        refused("an expired proof", pair, -1);
        refused(
            "a proof for another node",
            AuthKey {
                node: NodeId(3),
                ..pair
            },
            MINUTE_FROM_NOW,
        );
        refused(
            "the same, for this node",
            AuthKey {
                node: OWN_NODE,
                ..pair
            },
            MINUTE_FROM_NOW,
        );
        refused(
            "another remote",
            AuthKey {
                remote: SecurityIdentity(401),
                ..pair
            },
            MINUTE_FROM_NOW,
        );
        refused(
            "another local",
            AuthKey {
                local: SecurityIdentity(301),
                ..pair
            },
            MINUTE_FROM_NOW,
        );
        refused(
            "the pair reversed",
            AuthKey {
                local: REMOTE,
                remote: LOCAL,
                ..pair
            },
            MINUTE_FROM_NOW,
        );

        node.prove_pair(pair, MINUTE_FROM_NOW);
        assert_eq!(node.judge(direction, &packet), Reason::Forwarded);
        // Established, judged from the connection's memory: the proof counts for each packet all the same.
        let _ = node.auth.remove(&pair).unwrap();
        assert_eq!(
            node.judge(direction, &packet),
            missing,
            "the proof has gone under the connection"
        );
        let answer = Transport::Tcp.answer(family, direction);
        assert_eq!(
            node.judge(direction.opposite(), &answer),
            missing,
            "and for its answers"
        );
        node.prove_pair(pair, MINUTE_FROM_NOW);
        assert_eq!(node.judge(direction.opposite(), &answer), Reason::Forwarded);
        let _ = node.auth.remove(&pair).unwrap();
    });
}

#[test]
fn always_fail_is_refused_with_and_without_a_proof() {
    let node = std::cell::RefCell::new(guarded());
    everywhere(|family, direction| {
        let mut node = node.borrow_mut();
        node.rule(direction, Verdict::Allow, Authentication::AlwaysFail);
        node.prove(MINUTE_FROM_NOW);
        let packet = Transport::Udp.opening(family, direction);
        assert_eq!(node.judge(direction, &packet), Reason::AuthenticationAlwaysFails);
    });
}

#[test]
fn a_missing_proof_is_signalled_once_and_then_suppressed() {
    let mut node = guarded();
    let packet = Transport::Tcp.opening(Family::V4, Direction::Ingress);
    for _ in 0..3 {
        assert_eq!(
            node.judge(Direction::Ingress, &packet),
            Reason::AuthenticationRequired
        );
    }
    let signals = node.signals();
    assert!(!signals.is_empty(), "no signal");
    assert!(
        signals
            .iter()
            .all(|s| (s.local, s.remote, s.node) == (LOCAL, REMOTE, PEER_NODE)),
        "{signals:?}"
    );
    let sent = node.counter(Metric::SignalSent, Direction::Ingress);
    let suppressed = node.counter(Metric::SignalSuppressed, Direction::Ingress);
    assert_eq!(sent + suppressed, 3, "each packet without a proof is counted");
    assert_eq!(sent, u64::try_from(signals.len()).unwrap());
    assert_eq!(
        node.flows().last().map(|flow| flow.reason),
        Some(Reason::AuthenticationRequired as u8)
    );
}

#[test]
fn a_lapsed_lease_refuses_a_required_pair_in_spite_of_its_proof() {
    let mut node = guarded();
    node.prove(MINUTE_FROM_NOW);
    for family in Family::BOTH {
        let packet = Transport::Tcp.opening(family, Direction::Ingress);
        node.know(family.remote(), REMOTE, PEER_NODE, 1);
        assert_eq!(
            node.judge(Direction::Ingress, &packet),
            Reason::LeaseExpired,
            "{family:?}"
        );
        node.know(family.remote(), REMOTE, PEER_NODE, 0);
        node.next_epoch();
        assert_eq!(
            node.judge(Direction::Ingress, &packet),
            Reason::Forwarded,
            "{family:?}"
        );
    }
}

#[test]
fn nothing_passes_without_settings_of_this_version() {
    let node = std::cell::RefCell::new(Node::new());
    everywhere(|family, direction| {
        let mut node = node.borrow_mut();
        let packet = Transport::Tcp.opening(family, direction);
        node.configure(|config| config.abi_version += 1);
        assert_eq!(node.judge(direction, &packet), Reason::NoConfig);
        node.configure(|_| {});
        assert_eq!(node.judge(direction, &packet), Reason::Forwarded);
    });
}

#[test]
fn a_stolen_source_and_a_foreign_interface_are_refused() {
    let mut node = Node::new();
    for family in Family::BOTH {
        let stolen = Transport::Tcp.between(family.stranger(), family.remote(), true);
        assert_eq!(
            node.judge(Direction::Egress, &stolen),
            Reason::InvalidSourceIp,
            "{family:?}"
        );
        node.endpoint(family.local(), |endpoint| endpoint.ifindex = INTERFACE + 1);
        let own = Transport::Tcp.opening(family, Direction::Egress);
        assert_eq!(
            node.judge(Direction::Egress, &own),
            Reason::InvalidSourceIp,
            "{family:?}"
        );
        let to = Transport::Tcp.opening(family, Direction::Ingress);
        assert_eq!(
            node.judge(Direction::Ingress, &to),
            Reason::EndpointNotReady,
            "{family:?}"
        );
        node.endpoint(family.local(), |_| {});
    }
}

#[test]
fn what_cannot_be_parsed_is_refused() {
    let node = std::cell::RefCell::new(Node::new());
    everywhere(|family, direction| {
        let mut node = node.borrow_mut();
        let whole = Transport::Tcp.opening(family, direction);
        let header = if family == Family::V4 { 14 + 20 } else { 14 + 40 };
        assert_eq!(
            node.judge(direction, &whole[..header + 4]),
            Reason::InvalidPacket,
            "TCP cut short"
        );
        let mut fragment = whole.clone();
        if family == Family::V4 {
            fragment[14 + 6] = 0x20;
        } else {
            // Fragment header (RFC 8200 section 4.5) before what was there.
            fragment[14 + 6] = 44;
            fragment[header] = 6;
        }
        assert_eq!(node.judge(direction, &fragment), Reason::FragmentNotSupported);
        let mut unknown = whole;
        unknown[12..14].copy_from_slice(&[0x88, 0xb5]);
        assert_eq!(node.judge(direction, &unknown), Reason::UnknownL3);
    });
}

#[test]
fn a_workloads_packet_goes_into_the_tunnel_once_the_peer_can_receive() {
    let mut node = Node::new();
    for family in Family::BOTH {
        let packet = Transport::Tcp.opening(family, Direction::Egress);
        node.tunnel(INTERFACE, 0);
        assert_ne!(
            node.run(Hook::ToNetdev, Direction::Egress, &packet),
            Some(Reason::Encrypted),
            "{family:?}"
        );
        node.tunnel(INTERFACE, node_flags::SEND_ENCRYPTED);
        assert_eq!(
            node.run(Hook::ToNetdev, Direction::Egress, &packet),
            Some(Reason::Encrypted),
            "{family:?}"
        );
    }
}
