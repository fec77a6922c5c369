//! An address that several workloads claim: nobody's.

use signet_abi::{
    Authentication, Direction, NodeId, ParkingTicket, Reason, SecurityIdentity, Verdict, ticket_flags,
};
use signet_maps::PolicyPrefix;

use crate::parking::with_parking;
use crate::support::node::{Node, everywhere};
use crate::support::scene::{
    BOTH_ENFORCED, LOCAL, MINUTE, OTHER_INTERFACE, OWN_NODE, Origin, PEER_NODE, POLICY, REMOTE, Transport,
    hook,
};

/// Rules speak of it as of an address without a registration.
fn rule(node: &mut Node, direction: Direction, mode: Authentication) {
    let prefix = PolicyPrefix::everything(POLICY, SecurityIdentity::UNMANAGED, direction);
    node.rule_at(&prefix, Verdict::Allow as u8, mode as u8);
}

#[test]
fn nothing_that_asks_for_a_proof_passes_between_an_endpoint_and_an_address_of_several() {
    everywhere(|node, family, direction| {
        node.enforce(BOTH_ENFORCED);
        node.rule(direction, Verdict::Allow, Authentication::Required);
        rule(node, direction, Authentication::Required);
        node.prove(MINUTE.cast_signed());
        let packet = Transport::Tcp.opening(family, direction);
        assert_eq!(node.judge(direction, &packet), Reason::Forwarded);
        node.know(family.remote(), SecurityIdentity::CONTESTED, PEER_NODE);
        node.next_epoch();
        assert_eq!(
            node.judge(direction, &packet),
            Reason::SeveralIdentities,
            "nor on a connection of before"
        );
        assert_eq!(node.signals(), [], "there is nothing to ask for");
        // Without a proof it counts as unmanaged, for what allows and for what denies.
        rule(node, direction, Authentication::Disabled);
        assert_eq!(node.judge(direction, &packet), Reason::Forwarded);
        let unmanaged = PolicyPrefix::everything(POLICY, SecurityIdentity::UNMANAGED, direction);
        node.rule_at(&unmanaged, Verdict::Deny as u8, 0);
        node.next_epoch();
        assert_eq!(node.judge(direction, &packet), Reason::PolicyDeny);
        // It is somebody's again.
        node.know(family.remote(), REMOTE, PEER_NODE);
        node.next_epoch();
        assert_eq!(node.judge(direction, &packet), Reason::Forwarded);
    });
}

#[test]
fn nothing_leaves_from_it_or_gets_to_it_on_its_own_node_whatever_the_rules_say() {
    everywhere(|node, family, direction| {
        node.know(family.local(), SecurityIdentity::CONTESTED, OWN_NODE);
        let packet = Transport::Udp.opening(family, direction);
        assert_eq!(
            node.judge(direction, &packet),
            Reason::Forwarded,
            "it still has its endpoint"
        );
        let key = signet_abi::Address::from(family.local());
        assert!(node.endpoints.remove(&key).unwrap());
        node.next_epoch();
        assert_eq!(node.judge(direction, &packet), Reason::SeveralIdentities);
        // What merely poses as somebody's address is called so as before.
        node.know(family.local(), LOCAL, OWN_NODE);
        node.endpoint(family.local(), |endpoint| endpoint.ifindex = OTHER_INTERFACE);
        let expected = match direction {
            Direction::Ingress => Reason::EndpointNotReady,
            Direction::Egress => Reason::InvalidSourceIp,
        };
        assert_eq!(node.judge(direction, &packet), expected);
    });
}

#[test]
fn a_sender_is_told_where_the_rule_says_so_by_way_of_the_agent_and_a_few_times_a_second_at_most() {
    // Each time another pair, of whom nobody was told a moment ago.
    let mut peer = 10;
    everywhere(|node, family, direction| {
        peer += 1;
        with_parking(node, direction);
        node.know(family.remote(), SecurityIdentity::CONTESTED, NodeId(peer));
        let packet = Transport::Tcp.opening(family, direction);
        rule(node, direction, Authentication::Required);
        assert_eq!(
            node.judge(direction, &packet),
            Reason::SeveralIdentities,
            "not asked for"
        );
        rule(node, direction, Authentication::RequiredOrRejected);
        let parked = node.output(hook(direction), &packet);
        let ticket = ParkingTicket::read(&parked).expect("parked");
        assert_eq!(ticket.flags, ticket_flags::TELL | ticket_flags::REFUSED);
        assert_eq!(ParkingTicket::frame(&parked), Some(packet.as_slice()));
        assert_eq!(
            node.judge(direction, &packet),
            Reason::SeveralIdentities,
            "a moment later"
        );
        let back = node.judge_from(Origin::returned(direction), direction, &packet);
        assert_eq!(back, Reason::SeveralIdentities, "it is dropped for what it is");
    });
}
