//! Proofs: what a required pair needs, packet by packet.

use std::net::IpAddr;

use signet_abi::{
    AuthKey, AuthValue, Authentication, Direction, Metric, NodeId, Reason, SecurityIdentity, Signal,
    SignalCause, Verdict,
};
use signet_datapath::Hook;
use signet_maps::{PolicyPrefix, boottime_now};

use crate::support::node::{Node, capacities, everywhere};
use crate::support::scene::{
    BOTH_ENFORCED, DROP, Family, INTERFACE, LOCAL, MINUTE, OTHER_INTERFACE, OWN_NODE, Origin, PEER_NODE,
    POLICY, REMOTE, Transport,
};

const MINUTE_FROM_NOW: i64 = MINUTE.cast_signed();

/// A node on which every rule for the pair asks for a proof.
fn guarded() -> Node {
    let mut node = Node::new();
    guard(&mut node);
    node
}

fn guard(node: &mut Node) {
    node.enforce(BOTH_ENFORCED);
    for direction in [Direction::Ingress, Direction::Egress] {
        node.rule(direction, Verdict::Allow, Authentication::Required);
    }
}

#[test]
fn a_required_pair_passes_only_under_a_live_proof_for_exactly_it() {
    everywhere(|node, family, direction| {
        guard(node);
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
    everywhere(|node, family, direction| {
        guard(node);
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
    let why = |signal: &Signal| (signal.family, signal.cause);
    assert_eq!(why(&signals[0]), (4, SignalCause::Ingress as u8));
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
fn nothing_passes_without_settings_of_this_version() {
    everywhere(|node, family, direction| {
        let packet = Transport::Tcp.opening(family, direction);
        node.configure(|config| config.abi_version += 1);
        assert_eq!(
            node.judge(direction, &packet),
            Reason::NoConfig,
            "another version"
        );
        node.configure(|config| config.policy_epoch = 0);
        assert_eq!(node.judge(direction, &packet), Reason::NoConfig, "never written");
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
fn a_pair_on_one_node_is_proven_under_this_nodes_own_number() {
    everywhere(|node, family, direction| {
        guard(node);
        let pair = AuthKey {
            local: LOCAL,
            remote: REMOTE,
            node: OWN_NODE,
        };
        let neighbour: IpAddr = match family {
            Family::V4 => "10.244.1.11".parse().unwrap(),
            Family::V6 => "fd00:244:1::11".parse().unwrap(),
        };
        // Known as an endpoint before it is known by its address.
        node.endpoint(neighbour, |endpoint| {
            (endpoint.identity, endpoint.ifindex) = (REMOTE, OTHER_INTERFACE);
        });
        let packet = match direction {
            Direction::Ingress => Transport::Tcp.between(neighbour, family.local(), true),
            Direction::Egress => Transport::Tcp.between(family.local(), neighbour, true),
        };
        let origin = Origin::interface(OTHER_INTERFACE);
        node.prove(MINUTE_FROM_NOW);
        assert_eq!(
            node.judge_from(origin, direction, &packet),
            Reason::AuthenticationRequired,
            "proven for the peer's node"
        );
        node.prove_pair(pair, MINUTE_FROM_NOW);
        assert_eq!(node.judge_from(origin, direction, &packet), Reason::Forwarded);
    });
}

#[test]
fn what_lacks_only_a_proof_waits_in_the_parking_device() {
    everywhere(|node, family, direction| {
        guard(node);
        node.configure(|config| config.parking_ifindex = INTERFACE);
        let packet = Transport::Tcp.opening(family, direction);
        assert_eq!(node.judge(direction, &packet), Reason::Parked);
        assert_eq!(
            node.connections.entries().unwrap(),
            [],
            "not remembered before it is proven"
        );
        node.prove(MINUTE_FROM_NOW);
        assert_eq!(node.judge(direction, &packet), Reason::Forwarded);
        node.prove(-1);
        assert_eq!(
            node.judge(direction, &packet),
            Reason::Parked,
            "also when established"
        );
        node.rule(direction, Verdict::Allow, Authentication::AlwaysFail);
        assert_eq!(node.judge(direction, &packet), Reason::AuthenticationAlwaysFails);
        node.rule(direction, Verdict::Deny, Authentication::Required);
        assert_eq!(node.judge(direction, &packet), Reason::PolicyDeny);
    });
}

#[test]
fn a_workload_without_a_registration_is_refused_with_a_reason_of_its_own_and_nothing_waits_or_is_asked() {
    everywhere(|node, family, direction| {
        guard(node);
        node.configure(|config| config.parking_ifindex = INTERFACE);
        let packet = Transport::Tcp.opening(family, direction);
        let unmanaged = SecurityIdentity::UNMANAGED;
        let all = PolicyPrefix::everything(POLICY, unmanaged, direction);
        node.rule_at(&all, Verdict::Allow as u8, Authentication::Required as u8);
        node.know(family.remote(), unmanaged, PEER_NODE);
        assert_eq!(node.judge(direction, &packet), Reason::NotRegistered, "the other");
        node.know(family.remote(), REMOTE, PEER_NODE);
        node.endpoint(family.local(), |endpoint| {
            endpoint.flags = BOTH_ENFORCED;
            endpoint.identity = unmanaged;
        });
        assert_eq!(node.judge(direction, &packet), Reason::NotRegistered, "the own");
        assert_eq!(node.signals(), []);
        // Where no proof is asked for it may pass.
        node.rule(direction, Verdict::Allow, Authentication::Disabled);
        assert_eq!(node.judge(direction, &packet), Reason::Forwarded);
    });
}

#[test]
fn what_lacks_something_is_never_called_a_denied_policy() {
    everywhere(|node, family, direction| {
        guard(node);
        let packet = Transport::Tcp.opening(family, direction);
        let mut met = Vec::new();
        let mut meets = |node: &mut Node, what: &str, reason: Reason| {
            assert_eq!(node.judge(direction, &packet), reason, "{what}");
            assert!(![Reason::PolicyDenied, Reason::PolicyDeny].contains(&reason));
            met.push(reason);
        };
        meets(node, "no proof", Reason::AuthenticationRequired);
        node.configure(|config| config.parking_ifindex = INTERFACE);
        meets(node, "no proof yet", Reason::Parked);
        node.prove(MINUTE_FROM_NOW);
        node.grant(PEER_NODE, -1);
        meets(node, "no word of the other node", Reason::LeaseExpired);
        node.grant(PEER_NODE, MINUTE_FROM_NOW);
        node.rule(direction, Verdict::Allow, Authentication::AlwaysFail);
        meets(
            node,
            "a rule that always fails",
            Reason::AuthenticationAlwaysFails,
        );
        met.sort_unstable();
        met.dedup();
        assert_eq!(met.len(), 4, "each has a reason of its own: {met:?}");
        // And what is denied is called so, whatever lacks besides.
        node.prove(-1);
        node.no_rule(direction);
        assert_eq!(node.judge(direction, &packet), Reason::PolicyDenied);
    });
}

#[test]
fn an_authentication_that_is_not_understood_always_fails() {
    everywhere(|node, family, direction| {
        guard(node);
        node.prove(MINUTE_FROM_NOW);
        let all = PolicyPrefix::everything(POLICY, REMOTE, direction);
        for unknown in [3, 255] {
            node.rule_at(&all, Verdict::Allow as u8, unknown);
            let packet = Transport::Tcp.opening(family, direction);
            assert_eq!(node.judge(direction, &packet), Reason::AuthenticationAlwaysFails);
        }
    });
}

fn pair_of_the_peer() -> AuthKey {
    AuthKey {
        local: LOCAL,
        remote: REMOTE,
        node: PEER_NODE,
    }
}

#[test]
fn a_packet_that_passes_a_proof_is_noted_there_and_one_that_does_not_notes_nothing() {
    everywhere(|node, family, direction| {
        let value = |node: &Node| node.auth.get(&pair_of_the_peer()).unwrap().unwrap();
        guard(node);
        node.prove(-1);
        let void = value(node);
        let packet = Transport::Tcp.opening(family, direction);
        assert_eq!(node.judge(direction, &packet), Reason::AuthenticationRequired);
        assert_eq!(value(node), void, "of what has ended nothing is noted");
        node.prove(MINUTE_FROM_NOW);
        let before = value(node);
        let began = boottime_now();
        assert_eq!(node.judge(direction, &packet), Reason::Forwarded);
        let after = value(node);
        assert!((began..=boottime_now()).contains(&after.used), "{after:?}");
        assert_eq!(AuthValue { used: 0, ..after }, before, "nothing else is touched");
        // Further packets write nothing for a while, whichever way they go.
        assert_eq!(node.judge(direction, &packet), Reason::Forwarded);
        let answer = Transport::Tcp.answer(family, direction);
        assert_eq!(node.judge(direction.opposite(), &answer), Reason::Forwarded);
        assert_eq!(value(node), after);
        // And then they do, on the connection that there is.
        let earlier = AuthValue {
            used: after.used - AuthValue::USE_GRANULE,
            ..after
        };
        for (direction, packet) in [(direction, &packet), (direction.opposite(), &answer)] {
            node.auth.insert(&pair_of_the_peer(), &earlier).unwrap();
            assert_eq!(node.judge(direction, packet), Reason::Forwarded);
            assert!(value(node).used >= after.used, "{direction:?}");
        }
    });
}

#[test]
fn what_is_noted_of_the_use_of_a_proof_decides_nothing() {
    everywhere(|node, family, direction| {
        guard(node);
        let packet = Transport::Tcp.opening(family, direction);
        // Long ago, just now, and by a clock that is ahead.
        for (used, not_after, reason) in [
            (0, u64::MAX, Reason::Forwarded),
            (boottime_now(), u64::MAX, Reason::Forwarded),
            (u64::MAX, u64::MAX, Reason::Forwarded),
            (u64::MAX, 1, Reason::AuthenticationRequired),
            (boottime_now(), 1, Reason::AuthenticationRequired),
        ] {
            let value = AuthValue {
                not_after,
                used,
                ..AuthValue::default()
            };
            node.auth.insert(&pair_of_the_peer(), &value).unwrap();
            assert_eq!(node.judge(direction, &packet), reason, "{value:?}");
        }
    });
}

#[test]
fn a_full_proof_map_lets_nothing_new_through() {
    let mut node = guarded();
    for number in 0..capacities().auth {
        let pair = AuthKey {
            local: LOCAL,
            remote: SecurityIdentity(1_000 + number),
            node: PEER_NODE,
        };
        node.prove_pair(pair, MINUTE_FROM_NOW);
    }
    let pair = AuthKey {
        local: LOCAL,
        remote: REMOTE,
        node: PEER_NODE,
    };
    let refused = node.auth.insert(&pair, &AuthValue::default()).unwrap_err();
    assert!(refused.is_full(), "{refused}");
    let packet = Transport::Tcp.opening(Family::V4, Direction::Ingress);
    assert_eq!(
        node.judge(Direction::Ingress, &packet),
        Reason::AuthenticationRequired
    );
    node.know(Family::V4.remote(), SecurityIdentity(1_000), PEER_NODE);
    node.lease(Family::V4.remote(), SecurityIdentity(1_000), PEER_NODE);
    let all = PolicyPrefix::everything(POLICY, SecurityIdentity(1_000), Direction::Ingress);
    node.rule_at(&all, Verdict::Allow as u8, Authentication::Required as u8);
    assert_eq!(
        node.judge(Direction::Ingress, &packet),
        Reason::Forwarded,
        "what was proven stays so"
    );
    // One gives way: it does not pass from then on, whoever has its room, and the newcomer does.
    let gone = AuthKey {
        remote: SecurityIdentity(1_000),
        ..pair
    };
    assert!(node.auth.remove(&gone).unwrap());
    let refused = Reason::AuthenticationRequired;
    assert_eq!(
        node.judge(Direction::Ingress, &packet),
        refused,
        "its room is empty"
    );
    node.prove(MINUTE_FROM_NOW);
    assert_eq!(
        node.judge(Direction::Ingress, &packet),
        refused,
        "its room is another's"
    );
    node.know(Family::V4.remote(), REMOTE, PEER_NODE);
    node.lease(Family::V4.remote(), REMOTE, PEER_NODE);
    node.next_epoch();
    assert_eq!(node.judge(Direction::Ingress, &packet), Reason::Forwarded);
}

#[test]
fn full_rings_lose_events_and_no_verdict() {
    let mut node = guarded();
    node.configure(|config| config.parking_ifindex = 0);
    // One ring holds 2,048 signals, the other 819 flows; every remote is another pair.
    for number in 0..2_100_u32 {
        node.know(Family::V4.remote(), SecurityIdentity(1_000 + number), PEER_NODE);
        let all = PolicyPrefix::everything(POLICY, SecurityIdentity(1_000 + number), Direction::Ingress);
        node.rule_at(&all, Verdict::Allow as u8, Authentication::Required as u8);
        let packet = Transport::Udp.opening(Family::V4, Direction::Ingress);
        assert_eq!(node.act(Hook::ToContainer, &packet, 0).0, DROP);
        assert!(node.policy.remove(&all).unwrap());
    }
    for lost in [Metric::SignalLost, Metric::FlowLost] {
        assert_ne!(node.counter(lost, Direction::Ingress), 0, "{lost:?}");
    }
}
