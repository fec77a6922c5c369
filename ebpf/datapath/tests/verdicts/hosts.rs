//! Processes of nodes themselves: this one's, and other ones'.

use std::net::IpAddr;

use signet_abi::{AuthKey, Authentication, Direction, NodeId, Reason, SecurityIdentity, Verdict, node_flags};
use signet_datapath::Hook;
use signet_maps::PolicyPrefix;

use crate::parking::with_parking;
use crate::support::node::{Node, everywhere};
use crate::support::scene::{
    BOTH_ENFORCED, Family, LOCAL, MINUTE, OWN_NODE, Origin, PEER_NODE, POLICY, Transport,
};

fn require(node: &mut Node, identity: SecurityIdentity, direction: Direction) {
    node.enforce(BOTH_ENFORCED);
    let prefix = PolicyPrefix::everything(POLICY, identity, direction);
    node.rule_at(&prefix, Verdict::Allow as u8, Authentication::Required as u8);
}

fn opening(family: Family, direction: Direction, other: IpAddr) -> Vec<u8> {
    let (source, destination) = match direction {
        Direction::Ingress => (other, family.local()),
        Direction::Egress => (family.local(), other),
    };
    Transport::Tcp.between(source, destination, true)
}

fn pair(remote: SecurityIdentity, node: NodeId) -> AuthKey {
    AuthKey {
        local: LOCAL,
        remote,
        node,
    }
}

#[test]
fn a_nodes_own_processes_pass_under_its_proof_and_need_no_lease() {
    everywhere(|node, family, direction| {
        let host = family.stranger();
        node.know(host, SecurityIdentity::HOST, OWN_NODE);
        require(node, SecurityIdentity::HOST, direction);
        let packet = opening(family, direction, host);
        assert_eq!(node.judge(direction, &packet), Reason::AuthenticationRequired);
        node.prove_pair(pair(SecurityIdentity::HOST, OWN_NODE), MINUTE.cast_signed());
        assert_eq!(node.judge(direction, &packet), Reason::Forwarded);
        // The address is another's now.
        node.know(host, SecurityIdentity::WORLD, NodeId::NONE);
        node.next_epoch();
        assert_eq!(node.judge(direction, &packet), Reason::PolicyDenied);
    });
}

#[test]
fn whom_the_host_lends_its_address_to_is_not_the_host() {
    let mut node = Node::new();
    for family in Family::BOTH {
        node.reset();
        let host = family.stranger();
        node.know(host, SecurityIdentity::HOST, OWN_NODE);
        require(&mut node, SecurityIdentity::HOST, Direction::Ingress);
        node.prove_pair(pair(SecurityIdentity::HOST, OWN_NODE), MINUTE.cast_signed());
        let packet = opening(family, Direction::Ingress, host);
        let masqueraded = Origin {
            mark: 0,
            received_by: 9,
        };
        assert_eq!(
            node.judge_from(masqueraded, Direction::Ingress, &packet),
            Reason::InvalidSourceIp
        );
        assert_eq!(node.judge(Direction::Ingress, &packet), Reason::Forwarded);
        assert_eq!(
            node.judge_from(masqueraded, Direction::Ingress, &packet),
            Reason::InvalidSourceIp,
            "nor on a live connection of the host's"
        );
    }
}

#[test]
fn another_nodes_processes_are_reached_while_that_node_says_that_the_address_is_its() {
    let mut node = Node::new();
    let direction = Direction::Egress;
    for family in Family::BOTH {
        node.reset();
        let other = family.stranger();
        node.know(other, SecurityIdentity::REMOTE_NODE, PEER_NODE);
        require(&mut node, SecurityIdentity::REMOTE_NODE, direction);
        let packet = opening(family, direction, other);
        assert_eq!(node.judge(direction, &packet), Reason::AuthenticationRequired);
        // The proof of a third node is none of this one.
        node.prove_pair(
            pair(SecurityIdentity::REMOTE_NODE, NodeId(3)),
            MINUTE.cast_signed(),
        );
        assert_eq!(node.judge(direction, &packet), Reason::AuthenticationRequired);
        node.prove_pair(
            pair(SecurityIdentity::REMOTE_NODE, PEER_NODE),
            MINUTE.cast_signed(),
        );
        assert_eq!(node.judge(direction, &packet), Reason::LeaseExpired);
        node.lease(other, SecurityIdentity::REMOTE_NODE, NodeId(3));
        assert_eq!(
            node.judge(direction, &packet),
            Reason::LeaseExpired,
            "another node's"
        );
        node.lease(other, SecurityIdentity::REMOTE_NODE, PEER_NODE);
        assert_eq!(node.judge(direction, &packet), Reason::Forwarded);
        // Its answer.
        let answer = Transport::Tcp.between(other, family.local(), false);
        assert_eq!(node.judge(Direction::Ingress, &answer), Reason::Forwarded);
        node.grant(PEER_NODE, -1);
        assert_eq!(node.judge(direction, &packet), Reason::LeaseExpired, "cut off");
    }
}

#[test]
fn whom_another_node_lends_its_address_to_is_not_that_node() {
    let mut node = Node::new();
    for family in Family::BOTH {
        for mode in [Authentication::Required, Authentication::RequiredOrRejected] {
            node.reset();
            let other = family.stranger();
            node.know(other, SecurityIdentity::REMOTE_NODE, PEER_NODE);
            node.enforce(BOTH_ENFORCED);
            let prefix = PolicyPrefix::everything(POLICY, SecurityIdentity::REMOTE_NODE, Direction::Ingress);
            node.rule_at(&prefix, Verdict::Allow as u8, mode as u8);
            node.prove_pair(
                pair(SecurityIdentity::REMOTE_NODE, PEER_NODE),
                MINUTE.cast_signed(),
            );
            node.lease(other, SecurityIdentity::REMOTE_NODE, PEER_NODE);
            let packet = opening(family, Direction::Ingress, other);
            assert_eq!(
                node.judge(Direction::Ingress, &packet),
                Reason::SharedNodeAddress,
                "{family:?} {mode:?}"
            );
            node.rule_at(&prefix, Verdict::Allow as u8, Authentication::Disabled as u8);
            node.next_epoch();
            assert_eq!(node.judge(Direction::Ingress, &packet), Reason::Forwarded);
        }
    }
}

#[test]
fn whom_another_node_lends_its_address_to_is_told_where_the_rule_says_so_a_few_times_a_second() {
    let mut node = Node::new();
    let direction = Direction::Ingress;
    for family in Family::BOTH {
        for (mode, first) in [
            (Authentication::Required, Reason::SharedNodeAddress),
            (Authentication::RequiredOrRejected, Reason::Parked),
        ] {
            node.reset();
            with_parking(&mut node, direction);
            let other = family.stranger();
            node.know(
                other,
                SecurityIdentity::REMOTE_NODE,
                if family == Family::V4 {
                    PEER_NODE
                } else {
                    NodeId(3)
                },
            );
            let prefix = PolicyPrefix::everything(POLICY, SecurityIdentity::REMOTE_NODE, direction);
            node.rule_at(&prefix, Verdict::Allow as u8, mode as u8);
            let packet = opening(family, direction, other);
            assert_eq!(node.judge(direction, &packet), first, "{family:?} {mode:?}");
            // The next one a moment later is dropped at once, and so is the one that comes back.
            assert_eq!(node.judge(direction, &packet), Reason::SharedNodeAddress);
            let back = node.judge_from(Origin::returned(direction), direction, &packet);
            assert_eq!(back, Reason::SharedNodeAddress);
        }
    }
}

#[test]
fn what_goes_to_a_node_itself_goes_into_no_tunnel() {
    let mut node = Node::new();
    for family in Family::BOTH {
        node.reset();
        let other = family.stranger();
        node.know(other, SecurityIdentity::REMOTE_NODE, PEER_NODE);
        node.tunnel(9, node_flags::SEND_ENCRYPTED);
        let packet = opening(family, Direction::Egress, other);
        assert_eq!(node.run(Hook::ToNetdev, Direction::Egress, &packet), None);
        let workload = Transport::Tcp.opening(family, Direction::Egress);
        assert_eq!(
            node.run(Hook::ToNetdev, Direction::Egress, &workload),
            Some(Reason::Encrypted)
        );
    }
}
