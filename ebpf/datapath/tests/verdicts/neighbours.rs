//! ARP (RFC 826) and neighbour discovery (RFC 4861): a workload may find its node, and pose as nobody else.

use signet_abi::{Direction, NodeId, Reason, SecurityIdentity};

use crate::support::node::Node;
use crate::support::packet::{self, arp, neighbour};
use crate::support::scene::{BOTH_ENFORCED, INTERFACE, OTHER_INTERFACE, OWN_NODE, Origin};

const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

const OWN: &str = "fd00:244:1::10";
const NEIGHBOUR: &str = "fd00:244:1::11";
const REMOTE: &str = "fd00:244:2::10";
const HOST: &str = "fd00:244:1::1";
const HOST_LINK: &str = "fe80::1";

/// Nothing is allowed by a rule; another workload lives on the node.
fn node() -> Node {
    let mut node = Node::new();
    node.enforce(BOTH_ENFORCED);
    node.know(HOST.parse().unwrap(), SecurityIdentity::HOST, OWN_NODE);
    for address in [NEIGHBOUR, "10.244.1.11"] {
        node.endpoint(address.parse().unwrap(), |endpoint| {
            (endpoint.ifindex, endpoint.identity) = (OTHER_INTERFACE, SecurityIdentity(301));
        });
    }
    node
}

#[test]
fn a_workload_speaks_arp_for_itself_alone() {
    let mut node = node();
    let (own, host) = ([10, 244, 1, 10], [10, 244, 1, 1]);
    let asks = arp(1, own, host);
    let with = |at: usize, byte: u8| {
        let mut changed = asks.clone();
        changed[at] = byte;
        changed
    };
    let (good, stolen, bad) = (Reason::Forwarded, Reason::InvalidSourceIp, Reason::InvalidPacket);
    let rows = [
        ("asks", asks.clone(), good),
        ("answers", arp(2, own, host), good),
        ("probes", arp(1, [0; 4], own), good),
        ("announces itself", arp(1, own, own), good),
        ("poses as its neighbour", arp(2, [10, 244, 1, 11], host), stolen),
        ("asks as its neighbour", arp(1, [10, 244, 1, 11], host), stolen),
        ("poses as its node", arp(2, host, own), stolen),
        (
            "poses as a remote workload",
            arp(2, [10, 244, 2, 10], host),
            stolen,
        ),
        ("another hardware", with(15, 2), bad),
        ("another protocol", with(16, 9), bad),
        ("hardware addresses of 7 bytes", with(18, 7), bad),
        ("protocol addresses of 5 bytes", with(19, 5), bad),
        ("reverse ARP", with(21, 3), bad),
    ];
    for (what, packet, reason) in rows {
        assert_eq!(node.judge(Direction::Egress, &packet), reason, "{what}");
    }
    for length in packet::ETHERNET + 1..asks.len() {
        assert_eq!(node.judge(Direction::Egress, &asks[..length]), bad, "{length}");
    }
}

#[test]
fn arp_reaches_a_workload() {
    let mut node = node();
    for operation in [1, 2] {
        let packet = arp(operation, [10, 244, 1, 1], [10, 244, 1, 10]);
        assert_eq!(node.judge(Direction::Ingress, &packet), Reason::Forwarded);
    }
}

/// Message, source, destination, the address that it is about, and what it means.
const HONEST: [&str; 8] = [
    "RS  fe80::10        ff02::2          fd00:244:1::1   looks for routers",
    "RS  ::              ff02::2          fd00:244:1::1   before it has an address",
    "NS  fd00:244:1::10  ff02::1:ff00:1   fd00:244:1::1   asks",
    "NS  fd00:244:1::10  fd00:244:1::1    fd00:244:1::1   asks its node itself",
    "NS  fe80::10        fe80::1          fe80::1         asks by link-local addresses",
    "NS  ::              ff02::1:ff00:10  fd00:244:1::10  looks whether its address is free",
    "NA  fd00:244:1::10  fd00:244:1::1    fd00:244:1::10  answers",
    "NA  fe80::10        fe80::1          fe80::10        answers by link-local addresses",
];
const STOLEN: [&str; 7] = [
    "NA  ::              fe80::1          fd00:244:1::10  answers from no address",
    "NS  fd00:244:1::11  ff02::1:ff00:1   fd00:244:1::1   asks as its neighbour",
    "NA  fd00:244:1::11  fd00:244:1::1    fd00:244:1::11  poses as its neighbour",
    "NA  fd00:244:1::1   fe80::1          fd00:244:1::1   poses as its node",
    "NA  fd00:244:1::10  fd00:244:1::1    fd00:244:1::11  speaks of its neighbour",
    "NA  fe80::10        fe80::1          fd00:244:1::11  the same from its link-local address",
    "NA  fd00:244:1::10  fd00:244:1::1    fd00:244:2::10  speaks of a remote workload",
];
const FOREIGN: [&str; 5] = [
    "RA  fe80::10        ff02::1          fd00:244:1::1   poses as a router",
    "NS  fd00:244:1::10  fd00:244:1::11   fd00:244:1::11  asks its neighbour",
    "NA  fd00:244:1::10  fd00:244:2::10   fd00:244:1::10  tells a remote workload",
    "NS  fd00:244:1::10  2001:db8::7      fd00:244:1::10  tells the world",
    "NS  fd00:244:1::10  ff05::2          fd00:244:1::10  tells another site",
];

fn message(row: &str) -> Vec<u8> {
    let mut words = row.split_whitespace();
    let mut next = || words.next().unwrap();
    let kind = match next() {
        "RS" => ROUTER_SOLICITATION,
        "RA" => ROUTER_ADVERTISEMENT,
        "NS" => SOLICITATION,
        "NA" => ADVERTISEMENT,
        other => panic!("{other}"),
    };
    neighbour(kind, next(), next(), next())
}

#[test]
fn a_workload_discovers_its_node_and_poses_as_nobody_else() {
    let mut node = node();
    let (stolen, unknown) = (Reason::InvalidSourceIp, Reason::UnknownL4);
    let tables = [
        (&HONEST[..], Reason::Forwarded),
        (&STOLEN[..], stolen),
        (&FOREIGN[..], unknown),
    ];
    for (table, reason) in tables {
        for row in table {
            assert_eq!(node.judge(Direction::Egress, &message(row)), reason, "{row}");
        }
    }
    let whole = neighbour(ADVERTISEMENT, OWN, HOST, OWN);
    let mut short = whole[..whole.len() - 1].to_vec();
    short[packet::ETHERNET + 5] -= 1;
    assert_eq!(
        node.judge(Direction::Egress, &short),
        stolen,
        "cut in the address"
    );
    let forwarded = {
        let mut packet = whole.clone();
        packet[packet::ETHERNET + 7] = 254;
        packet
    };
    assert_eq!(
        node.judge(Direction::Egress, &forwarded),
        unknown,
        "hop limit 254"
    );
    let code = {
        let mut packet = whole;
        packet[packet::ETHERNET + 41] = 1;
        packet
    };
    assert_eq!(node.judge(Direction::Egress, &code), unknown, "code 1");
}

#[test]
fn what_a_stack_says_of_its_groups_is_dropped_and_counted_and_no_flow() {
    const HOP_BY_HOP: u8 = 0;
    let mut node = node();
    let report = |kind, source: &str| {
        let message = packet::icmp(kind, 0, [0, 0, 0, 1], &[4, 0, 0, 0]);
        let (from, to) = (source.parse().unwrap(), "ff02::16".parse().unwrap());
        packet::extended(
            &packet::ip_hops(from, to, packet::ICMPV6, 1, &message),
            &[HOP_BY_HOP],
        )
    };
    let _ = node.flows();
    for kind in [130, 131, 132, 143] {
        for source in ["::", "fe80::2", OWN] {
            let reason = node.judge(Direction::Egress, &report(kind, source));
            assert_eq!(reason, Reason::UnknownL4, "{kind} from {source}");
        }
    }
    assert!(node.flows().is_empty());
    let other = node.judge(Direction::Egress, &report(144, "fe80::2"));
    assert_eq!(other, Reason::InvalidSourceIp);
    assert_eq!(node.flows().len(), 1);
}

#[test]
fn a_workload_is_told_of_neighbours_by_its_own_node_alone() {
    let mut node = node();
    node.know(
        "fd00::2".parse().unwrap(),
        SecurityIdentity::REMOTE_NODE,
        NodeId(2),
    );
    let (good, unknown, stolen) = (Reason::Forwarded, Reason::UnknownL4, Reason::InvalidSourceIp);
    let rows = [
        ("its node asks", SOLICITATION, HOST, good),
        ("its node asks, link-local", SOLICITATION, HOST_LINK, good),
        (
            "its node looks whether an address is free",
            SOLICITATION,
            "::",
            good,
        ),
        ("its node answers", ADVERTISEMENT, HOST, good),
        ("its node routes", ROUTER_ADVERTISEMENT, HOST_LINK, good),
        ("its neighbour", ADVERTISEMENT, NEIGHBOUR, stolen),
        ("itself", ADVERTISEMENT, OWN, stolen),
        ("a remote workload", ADVERTISEMENT, REMOTE, unknown),
        ("a remote node", ADVERTISEMENT, "fd00::2", unknown),
    ];
    for (what, kind, source, reason) in rows {
        let packet = neighbour(kind, source, OWN, source);
        assert_eq!(node.judge(Direction::Ingress, &packet), reason, "{what}");
    }
    assert_eq!(node.connections.entries().unwrap(), [], "nothing is remembered");
    // An endpoint that only ENDPOINTS knows is a workload all the same.
    assert!(
        node.ipcache
            .remove(&signet_maps::IpcachePrefix::host(OWN.parse().unwrap()))
            .unwrap()
    );
    let packet = neighbour(ADVERTISEMENT, OWN, OWN, OWN);
    assert_eq!(node.judge(Direction::Ingress, &packet), stolen);
    // One that left its own interface is told from the node's all the same.
    assert_eq!(
        node.judge_from(Origin::interface(INTERFACE), Direction::Ingress, &packet),
        unknown
    );
}
