//! The uplink, the tunnel, and the marks that only Signet may set.

use signet_abi::{
    ABI_VERSION, AuthKey, Direction, MARK_DECRYPTED, MARK_LOCAL, MARK_TUNNEL, NodeId, NodeState, Reason,
    SecurityIdentity, flow_hooks, node_flags,
};
use signet_datapath::Hook;

use crate::support::node::{Node, everywhere};
use crate::support::packet;
use crate::support::scene::{
    BOTH_ENFORCED, Family, INTERFACE, LOCAL, MINUTE, OTHER_INTERFACE, OWN_NODE, Origin, PASS, PEER_NODE,
    REMOTE, Transport,
};

#[test]
fn a_workloads_packet_goes_into_the_tunnel_once_the_peer_can_receive() {
    let mut node = Node::new();
    for family in Family::BOTH {
        node.reset();
        let packet = Transport::Tcp.opening(family, Direction::Egress);
        let leaves = |node: &mut Node| node.run(Hook::ToNetdev, Direction::Egress, &packet);
        assert_eq!(
            leaves(&mut node),
            None,
            "nothing is known of the peer: {family:?}"
        );
        node.tunnel(INTERFACE, 0);
        assert_eq!(leaves(&mut node), None, "it cannot receive yet: {family:?}");
        node.tunnel(INTERFACE, node_flags::SEND_ENCRYPTED);
        assert_eq!(leaves(&mut node), Some(Reason::Encrypted), "{family:?}");
        node.tunnel(0, node_flags::SEND_ENCRYPTED);
        let _ = node.flows();
        assert_eq!(
            leaves(&mut node),
            Some(Reason::Unencrypted),
            "no device: {family:?}"
        );
        let flows = node.flows();
        let told: Vec<_> = flows.iter().map(|flow| (flow.hook, flow.reason)).collect();
        assert_eq!(told, [(flow_hooks::TO_NETDEV, Reason::Unencrypted as u8)]);
    }
}

#[test]
fn a_flow_says_whether_the_tunnel_has_the_packet_next_or_had_it_before() {
    let mut node = Node::new();
    for family in Family::BOTH {
        node.reset();
        let packet = |direction| Transport::Tcp.opening(family, direction);
        let told = |node: &mut Node, direction, mark| {
            let _ = node.flows();
            // The counters of the workload's own hooks count that it passed.
            let origin = Origin {
                mark,
                ..Origin::NOWHERE
            };
            let reason = node.judge_from(origin, direction, &packet(direction));
            assert_eq!(reason, Reason::Forwarded);
            let flows = node.flows();
            let reasons: Vec<_> = flows.iter().map(|flow| Reason::from_u8(flow.reason)).collect();
            assert_eq!(reasons.len(), 1, "{family:?}");
            reasons.into_iter().next().flatten()
        };
        let (out, back) = (Direction::Egress, Direction::Ingress);
        assert_eq!(told(&mut node, out, 0), Some(Reason::Forwarded));
        assert_eq!(told(&mut node, back, 0), Some(Reason::Forwarded));
        assert_eq!(told(&mut node, back, MARK_DECRYPTED), Some(Reason::Decrypted));
        node.tunnel(INTERFACE, 0);
        assert_eq!(told(&mut node, out, 0), Some(Reason::Forwarded), "not yet");
        node.tunnel(0, node_flags::SEND_ENCRYPTED);
        assert_eq!(told(&mut node, out, 0), Some(Reason::Forwarded), "no device");
        node.tunnel(INTERFACE, node_flags::SEND_ENCRYPTED);
        assert_eq!(told(&mut node, out, 0), Some(Reason::Encrypted));
    }
}

#[test]
fn what_is_not_from_a_workload_to_a_remote_one_leaves_as_it_is() {
    let mut node = Node::new();
    let encrypting = NodeState {
        tunnel_ifindex: INTERFACE,
        flags: node_flags::SEND_ENCRYPTED,
        ..NodeState::default()
    };
    for id in [NodeId::NONE, OWN_NODE, PEER_NODE] {
        node.nodes.insert(&id, &encrypting).unwrap();
    }
    for family in Family::BOTH {
        let (local, remote, stranger) = (family.local(), family.remote(), family.stranger());
        let between = |from, to| Transport::Udp.between(from, to, true);
        let whole = between(local, remote);
        let header = packet::ETHERNET + if family == Family::V4 { 20 } else { 40 };
        let mut version = whole.clone();
        version[packet::ETHERNET] ^= 0x10;
        let rows = [
            ("from nobody that is known", between(stranger, remote)),
            ("to the world", between(local, stranger)),
            ("another version", version),
            ("ARP", packet::arp(1, [10, 244, 1, 10], [10, 244, 2, 10])),
        ];
        for (what, packet) in rows {
            assert_eq!(
                node.run(Hook::ToNetdev, Direction::Egress, &packet),
                None,
                "{what}, {family:?}"
            );
        }
        let remotes = between(remote, remote);
        let routed = node.run_from(Origin::NOWHERE, Hook::ToNetdev, Direction::Egress, &remotes);
        assert_eq!(routed, None, "a remote workload's, routed on, {family:?}");
        node.know(stranger, SecurityIdentity(301), OWN_NODE);
        let packet = between(local, stranger);
        assert_eq!(
            node.run(Hook::ToNetdev, Direction::Egress, &packet),
            None,
            "to a workload of this node, {family:?}"
        );
        // Whatever it carries, fragments too: only the addresses count.
        assert_eq!(
            node.run(Hook::ToNetdev, Direction::Egress, &whole[..header]),
            Some(Reason::Encrypted),
            "{family:?}"
        );
    }
}

#[test]
fn the_tunnels_own_packets_are_not_encrypted_again() {
    let mut node = Node::new();
    node.tunnel(INTERFACE, node_flags::SEND_ENCRYPTED);
    for family in Family::BOTH {
        let packet = Transport::Udp.opening(family, Direction::Egress);
        for mark in [MARK_TUNNEL, MARK_TUNNEL | 0x42] {
            assert_eq!(
                node.act(Hook::ToNetdev, &packet, mark),
                (PASS, mark),
                "{family:?}"
            );
        }
        for mark in [MARK_LOCAL, MARK_LOCAL | 0x42] {
            let origin = Origin {
                mark,
                received_by: INTERFACE,
            };
            let reason = node.run_from(origin, Hook::ToNetdev, Direction::Egress, &packet);
            assert_eq!(reason, Some(Reason::Encrypted), "{mark:x}, {family:?}");
        }
    }
}

#[test]
fn nobody_else_sets_signets_marks() {
    let mut node = Node::new();
    let rows = [
        (0, 0),
        (MARK_TUNNEL, 0),
        (MARK_DECRYPTED, 0),
        (MARK_LOCAL, 0),
        (MARK_TUNNEL | 0x42, 0x42),
        (0x5147_ff00, 0),
        // Other users' marks.
        (0x42, 0x42),
        (0x0000_0e00, 0x0000_0e00),
        (0x5146_0e00, 0x5146_0e00),
        (u32::MAX, u32::MAX),
    ];
    for family in Family::BOTH {
        let packet = Transport::Tcp.opening(family, Direction::Egress);
        for (mark, left) in rows {
            assert_eq!(
                node.act(Hook::FromNetdev, &packet, mark),
                (PASS, left),
                "{mark:x}"
            );
            let local = MARK_LOCAL | mark & 0xff;
            assert_eq!(
                node.act(Hook::FromContainer, &packet, mark),
                (PASS, local),
                "{mark:x}"
            );
        }
    }
}

#[test]
fn a_local_address_is_believed_only_of_what_left_its_own_interface() {
    let mut node = Node::new();
    for family in Family::BOTH {
        node.reset();
        let neighbour = family.remote();
        node.endpoint(neighbour, |endpoint| endpoint.ifindex = OTHER_INTERFACE);
        node.know(neighbour, REMOTE, OWN_NODE);
        let pair = AuthKey {
            local: LOCAL,
            remote: REMOTE,
            node: OWN_NODE,
        };
        node.prove_pair(pair, MINUTE.cast_signed());
        let packets = Transport::ALL.map(|transport| transport.opening(family, Direction::Ingress));
        let forged = |node: &mut Node, when: &str| {
            for packet in &packets {
                for origin in ELSEWHERE {
                    let reason = node.judge_from(origin, Direction::Ingress, packet);
                    assert_eq!(reason, Reason::InvalidSourceIp, "{origin:x?}, {family:?}, {when}");
                }
            }
        };
        forged(&mut node, "first");
        for packet in &packets {
            let origin = Origin {
                mark: MARK_LOCAL | 0x42,
                received_by: OTHER_INTERFACE,
            };
            let reason = node.judge_from(origin, Direction::Ingress, packet);
            assert_eq!(reason, Reason::Forwarded, "{family:?}");
        }
        forged(&mut node, "within a connection");
        node.endpoint(neighbour, |endpoint| {
            (endpoint.ifindex, endpoint.through) = (OTHER_INTERFACE, BRIDGE);
        });
        for packet in &packets {
            for interface in [OTHER_INTERFACE, BRIDGE] {
                let reason = node.judge_from(Origin::interface(interface), Direction::Ingress, packet);
                assert_eq!(
                    reason,
                    Reason::Forwarded,
                    "behind a bridge: {interface}, {family:?}"
                );
            }
        }
        forged(&mut node, "behind a bridge");
    }
}

/// A bridge between the workload's interface and the host.
const BRIDGE: u32 = 8_888;

/// What has not left `OTHER_INTERFACE`: without the mark, or marked and received since by another interface, as what comes
/// out of a tunnel is, or by none.
const ELSEWHERE: [Origin; 8] = [
    Origin::NOWHERE,
    Origin {
        mark: 0,
        received_by: OTHER_INTERFACE,
    },
    Origin {
        mark: MARK_DECRYPTED,
        received_by: OTHER_INTERFACE,
    },
    Origin {
        mark: MARK_TUNNEL,
        received_by: OTHER_INTERFACE,
    },
    Origin {
        mark: MARK_LOCAL ^ 0x0100_0000,
        received_by: OTHER_INTERFACE,
    },
    Origin {
        mark: 0x42,
        received_by: OTHER_INTERFACE,
    },
    Origin::interface(INTERFACE),
    Origin::interface(0),
];

#[test]
fn what_only_claims_to_be_a_workloads_does_not_leave_for_other_nodes() {
    let mut node = Node::new();
    for family in Family::BOTH {
        node.reset();
        node.endpoint(family.local(), |endpoint| endpoint.ifindex = OTHER_INTERFACE);
        let packet = Transport::Udp.opening(family, Direction::Egress);
        let abroad = Transport::Udp.between(family.local(), family.stranger(), true);
        for flags in [0, node_flags::SEND_ENCRYPTED] {
            node.tunnel(INTERFACE, flags);
            let mut leaves =
                |origin, packet: &[u8]| node.run_from(origin, Hook::ToNetdev, Direction::Egress, packet);
            for origin in ELSEWHERE {
                // The tunnel's own packets are not looked at.
                if origin.mark == MARK_TUNNEL {
                    continue;
                }
                let forged = leaves(origin, &packet);
                assert_eq!(forged, Some(Reason::InvalidSourceIp), "{origin:x?}, {family:?}");
                assert_eq!(leaves(origin, &abroad), None, "nobody takes it for anything");
            }
            let own = leaves(Origin::interface(OTHER_INTERFACE), &packet);
            let wanted = (flags != 0).then_some(Reason::Encrypted);
            assert_eq!(own, wanted, "{family:?}");
        }
    }
}

/// What left a workload of this node and has another node's address was inside a tunnel that ends on this host.
#[test]
fn what_left_a_workload_is_not_believed_to_be_another_nodes() {
    let mut node = Node::new();
    let local = [INTERFACE, OTHER_INTERFACE, 0].map(Origin::interface);
    for family in Family::BOTH {
        node.reset();
        let packets = Transport::ALL.map(|transport| transport.opening(family, Direction::Ingress));
        let forged = |node: &mut Node, when: &str| {
            for (packet, origin) in packets
                .iter()
                .flat_map(|packet| local.map(|origin| (packet, origin)))
            {
                let reason = node.judge_from(origin, Direction::Ingress, packet);
                assert_eq!(reason, Reason::InvalidSourceIp, "{origin:x?}, {family:?}, {when}");
            }
        };
        forged(&mut node, "first");
        for packet in &packets {
            let reason = node.judge_from(Origin::NOWHERE, Direction::Ingress, packet);
            assert_eq!(reason, Reason::Forwarded, "{family:?}");
        }
        forged(&mut node, "within a connection");

        node.tunnel(INTERFACE, node_flags::SEND_ENCRYPTED);
        node.know(family.stranger(), REMOTE, PEER_NODE);
        let onwards = Transport::Udp.between(family.stranger(), family.remote(), true);
        let mut leaves = |origin| node.run_from(origin, Hook::ToNetdev, Direction::Egress, &onwards);
        for origin in local {
            assert_eq!(
                leaves(origin),
                Some(Reason::InvalidSourceIp),
                "{origin:x?}, {family:?}"
            );
        }
        assert_eq!(leaves(Origin::NOWHERE), None, "{family:?}");
    }
}

#[test]
fn without_settings_no_workloads_packet_reaches_the_wire() {
    let mut node = Node::new();
    for family in Family::BOTH {
        node.reset();
        node.tunnel(INTERFACE, node_flags::SEND_ENCRYPTED);
        let own = Transport::Tcp.opening(family, Direction::Egress);
        let strangers = Transport::Tcp.between(family.stranger(), family.remote(), true);
        node.configure(|config| config.abi_version = ABI_VERSION + 1);
        let leaves = |node: &mut Node, packet| node.run(Hook::ToNetdev, Direction::Egress, packet);
        assert_eq!(leaves(&mut node, &own), Some(Reason::NoConfig), "{family:?}");
        let strangers = node.run_from(Origin::NOWHERE, Hook::ToNetdev, Direction::Egress, &strangers);
        assert_eq!(strangers, None, "{family:?}");
        node.configure(|_| {});
        assert_eq!(leaves(&mut node, &own), Some(Reason::Encrypted), "{family:?}");
    }
}

#[test]
fn a_mark_buys_no_verdict() {
    everywhere(|node, family, direction| {
        node.enforce(BOTH_ENFORCED);
        let packet = Transport::Tcp.opening(family, direction);
        for mark in [MARK_TUNNEL, MARK_DECRYPTED, MARK_LOCAL, 0x42, u32::MAX] {
            let (action, _) = node.act(crate::support::scene::hook(direction), &packet, mark);
            assert_eq!(action, crate::support::scene::DROP, "{mark:x}");
        }
    });
}

#[test]
fn what_leaves_the_tunnel_is_counted_and_marked() {
    let mut node = Node::new();
    for family in Family::BOTH {
        let packet = Transport::Tcp.opening(family, Direction::Ingress);
        assert_eq!(
            node.run(Hook::FromTunnel, Direction::Ingress, &packet),
            Some(Reason::Decrypted)
        );
        for (mark, marked) in [
            (0, MARK_DECRYPTED),
            (MARK_TUNNEL, MARK_DECRYPTED),
            (0x42, MARK_DECRYPTED | 0x42),
        ] {
            assert_eq!(
                node.act(Hook::FromTunnel, &packet, mark),
                (PASS, marked),
                "{mark:x}"
            );
        }
    }
}

#[test]
fn a_workload_on_a_foreign_interface_is_refused_in_both_directions() {
    everywhere(|node, family, direction| {
        node.endpoint(family.local(), |endpoint| endpoint.ifindex = OTHER_INTERFACE);
        for transport in Transport::ALL {
            let reason = match direction {
                Direction::Egress => Reason::InvalidSourceIp,
                Direction::Ingress => Reason::EndpointNotReady,
            };
            let packet = transport.opening(family, direction);
            assert_eq!(node.judge(direction, &packet), reason, "{transport:?}");
        }
    });
}
