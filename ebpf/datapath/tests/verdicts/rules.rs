//! Rules: who may, who may not.

use signet_abi::{Authentication, Direction, Reason, SecurityIdentity, Verdict};
use signet_maps::PolicyPrefix;

use crate::support::node::{BOTH_ENFORCED, Node, POLICY, REMOTE, Transport, everywhere, exact};

#[test]
fn what_no_policy_selects_may_talk() {
    everywhere(|family, direction| {
        for transport in Transport::ALL {
            let mut node = Node::new();
            let packet = transport.opening(family, direction);
            assert_eq!(node.judge(direction, &packet), Reason::Forwarded, "{transport:?}");
        }
    });
}

#[test]
fn what_a_policy_selects_may_not_talk_without_a_rule() {
    everywhere(|family, direction| {
        for transport in Transport::ALL {
            let mut node = Node::new();
            node.enforce(BOTH_ENFORCED);
            let packet = transport.opening(family, direction);
            assert_eq!(
                node.judge(direction, &packet),
                Reason::PolicyDenied,
                "{transport:?}"
            );
        }
    });
}

#[test]
fn a_policy_for_one_direction_leaves_the_other_alone() {
    everywhere(|family, direction| {
        let mut node = Node::new();
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
    everywhere(|family, direction| {
        for transport in Transport::ALL {
            let mut node = Node::new();
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
        }
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
    let family = crate::support::node::Family::V4;
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
    everywhere(|family, direction| {
        for verdict in [Verdict::Deny as u8, 0, 3, 255] {
            let mut node = Node::new();
            node.enforce(BOTH_ENFORCED);
            node.rule_at(&PolicyPrefix::everything(POLICY, REMOTE, direction), verdict, 0);
            let packet = Transport::Tcp.opening(family, direction);
            assert_eq!(node.judge(direction, &packet), Reason::PolicyDeny, "{verdict}");
        }
    });
}

#[test]
fn a_wildcard_rule_speaks_only_where_no_named_one_does() {
    everywhere(|family, direction| {
        let mut node = Node::new();
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
    everywhere(|family, direction| {
        let mut node = Node::new();
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
