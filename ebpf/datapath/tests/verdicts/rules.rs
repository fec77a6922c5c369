//! Rules: who may, who may not.

use signet_abi::{Authentication, Direction, PolicyValue, Reason, SecurityIdentity, Verdict};
use signet_maps::PolicyPrefix;

use crate::support::node::{Node, every_transport, everywhere};
use crate::support::scene::{BOTH_ENFORCED, Family, PEER_NODE, POLICY, REMOTE, Transport, exact};

#[test]
fn what_no_policy_selects_may_talk() {
    every_transport(|node, family, direction, transport| {
        let packet = transport.opening(family, direction);
        assert_eq!(node.judge(direction, &packet), Reason::Forwarded, "{transport:?}");
    });
}

#[test]
fn what_a_policy_selects_may_not_talk_without_a_rule() {
    every_transport(|node, family, direction, transport| {
        node.enforce(BOTH_ENFORCED);
        let packet = transport.opening(family, direction);
        assert_eq!(
            node.judge(direction, &packet),
            Reason::PolicyDenied,
            "{transport:?}"
        );
    });
}

#[test]
fn a_policy_for_one_direction_leaves_the_other_alone() {
    everywhere(|node, family, direction| {
        node.enforce(1 << direction.opposite() as u32);
        assert_eq!(
            node.judge(direction, &Transport::Tcp.opening(family, direction)),
            Reason::Forwarded
        );
        node.enforce(1 << direction as u32);
        assert_eq!(
            node.judge(direction, &Transport::Udp.opening(family, direction)),
            Reason::PolicyDenied
        );
    });
}

#[test]
fn a_rule_allows_its_own_protocol_and_port_and_no_other() {
    every_transport(|node, family, direction, transport| {
        node.enforce(BOTH_ENFORCED);
        let (protocol, port) = (transport.protocol(family), transport.rule_port());
        let (allow, disabled) = (Verdict::Allow as u8, Authentication::Disabled as u8);
        node.rule_at(&exact(REMOTE, direction, protocol, port ^ 1), allow, disabled);
        node.rule_at(&exact(REMOTE, direction, protocol ^ 0x40, port), allow, disabled);
        node.rule_at(
            &exact(REMOTE, direction.opposite(), protocol, port),
            allow,
            disabled,
        );
        node.rule_at(
            &exact(SecurityIdentity(401), direction, protocol, port),
            allow,
            disabled,
        );
        let packet = transport.opening(family, direction);
        assert_eq!(
            node.judge(direction, &packet),
            Reason::PolicyDenied,
            "{transport:?}"
        );
        node.rule_at(&exact(REMOTE, direction, protocol, port), allow, disabled);
        assert_eq!(node.judge(direction, &packet), Reason::Forwarded, "{transport:?}");
    });
}

#[test]
fn the_longest_prefix_decides() {
    let direction = Direction::Ingress;
    let mut node = Node::new();
    node.enforce(BOTH_ENFORCED);
    node.rule(direction, Verdict::Allow, Authentication::Disabled);
    let range = PolicyPrefix::ports(POLICY, REMOTE, direction, 6, 8_080, 12).unwrap();
    node.rule_at(&range, Verdict::Deny as u8, 0);
    let family = Family::V4;
    assert_eq!(
        node.judge(direction, &Transport::Tcp.opening(family, direction)),
        Reason::PolicyDeny
    );
    assert_eq!(
        node.judge(direction, &Transport::Udp.opening(family, direction)),
        Reason::Forwarded
    );
}

#[test]
fn a_denying_rule_denies_and_so_does_one_that_is_not_understood() {
    everywhere(|node, family, direction| {
        for verdict in [Verdict::Deny as u8, 0, 3, 255] {
            node.reset();
            node.enforce(BOTH_ENFORCED);
            node.rule_at(&PolicyPrefix::everything(POLICY, REMOTE, direction), verdict, 0);
            let packet = Transport::Tcp.opening(family, direction);
            assert_eq!(node.judge(direction, &packet), Reason::PolicyDeny, "{verdict}");
        }
    });
}

#[test]
fn a_wildcard_rule_speaks_only_where_no_named_one_does() {
    everywhere(|node, family, direction| {
        node.enforce(BOTH_ENFORCED);
        node.rule_at(
            &PolicyPrefix::everything(POLICY, SecurityIdentity::ANY, direction),
            Verdict::Allow as u8,
            0,
        );
        assert_eq!(
            node.judge(direction, &Transport::Tcp.opening(family, direction)),
            Reason::Forwarded
        );
        node.rule(direction, Verdict::Deny, Authentication::Disabled);
        assert_eq!(
            node.judge(direction, &Transport::Udp.opening(family, direction)),
            Reason::PolicyDeny
        );
    });
}

#[test]
fn an_address_that_nobody_knows_is_the_world() {
    everywhere(|node, family, direction| {
        node.enforce(BOTH_ENFORCED);
        let packet = match direction {
            Direction::Ingress => Transport::Tcp.between(family.stranger(), family.local(), true),
            Direction::Egress => Transport::Tcp.between(family.local(), family.stranger(), true),
        };
        assert_eq!(node.judge(direction, &packet), Reason::PolicyDenied);
        let world = PolicyPrefix::everything(POLICY, SecurityIdentity::WORLD, direction);
        node.rule_at(&world, Verdict::Allow as u8, 0);
        assert_eq!(node.judge(direction, &packet), Reason::Forwarded);
    });
}

#[test]
fn a_deny_without_a_number_means_that_no_rule_allows_it() {
    everywhere(|node, family, direction| {
        node.enforce(BOTH_ENFORCED);
        let all = PolicyPrefix::everything(POLICY, REMOTE, direction);
        let packet = Transport::Tcp.opening(family, direction);
        for (rule, reason) in [(0, Reason::PolicyDenied), (9, Reason::PolicyDeny)] {
            let deny = PolicyValue {
                verdict: Verdict::Deny as u8,
                rule,
                ..PolicyValue::default()
            };
            node.policy.insert(&all, &deny).unwrap();
            assert_eq!(node.judge(direction, &packet), reason);
            assert_eq!(node.flows().last().map(|flow| flow.rule), Some(rule));
        }
    });
}

#[test]
fn an_address_without_an_identity_is_refused_on_either_side() {
    everywhere(|node, family, direction| {
        let packet = Transport::Tcp.opening(family, direction);
        node.know(family.remote(), SecurityIdentity::ANY, PEER_NODE);
        assert_eq!(node.judge(direction, &packet), Reason::InvalidIdentity, "remote");
        node.know(family.remote(), REMOTE, PEER_NODE);
        node.endpoint(family.local(), |endpoint| {
            endpoint.identity = SecurityIdentity::ANY;
        });
        assert_eq!(node.judge(direction, &packet), Reason::InvalidIdentity, "local");
    });
}

#[test]
fn a_packet_for_an_address_that_is_no_endpoint_of_the_interface_is_refused() {
    for family in Family::BOTH {
        let mut node = Node::new();
        let packet = Transport::Tcp.between(family.remote(), family.stranger(), true);
        assert_eq!(node.judge(Direction::Ingress, &packet), Reason::EndpointNotReady);
    }
}
