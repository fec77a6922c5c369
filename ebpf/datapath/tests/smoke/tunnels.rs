//! What a local workload sends to another one of its node, by the ways that there are: routed, through a bridge, and inside
//! a tunnel that ends on the host.

use std::net::{IpAddr, UdpSocket};
use std::process::Command;

use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketType};
use signet_abi::{Authentication, Direction, Endpoint, NodeId, Reason, SecurityIdentity, Verdict};
use signet_maps::PolicyPrefix;

use crate::support::node::Node;
use crate::support::packet;
use crate::support::scene::{BOTH_ENFORCED, Family, LOCAL, POLICY, REMOTE};
use crate::wire::{Wire, counted, host, ip, receive, wait_until};

/// Where they listen.
const PORT: u16 = 8_080;
/// Where the host's tunnel listens.
const VXLAN: u16 = 4_789;
const VNI: u8 = 7;

const WEB: &str = "sgv-web";
const API: &str = "sgv-api";
const BRIDGE: &str = "br0";

fn address_of_api(family: Family) -> IpAddr {
    match family {
        Family::V4 => "10.244.3.10".parse().unwrap(),
        Family::V6 => "fd00:244:3::10".parse().unwrap(),
    }
}

fn host_of_api(family: Family) -> IpAddr {
    match family {
        Family::V4 => "10.244.3.1".parse().unwrap(),
        Family::V6 => "fd00:244:3::1".parse().unwrap(),
    }
}

fn set(sysctl: &str, value: &str) {
    std::fs::write(format!("/proc/sys/net/{sysctl}"), value).unwrap();
}

fn index(interface: &str) -> u32 {
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::DGRAM, None).unwrap();
    name_to_index(socket, interface).unwrap()
}

/// The frame with the checksum that an IPv4 header needs to be received (RFC 791 section 3.1).
fn checked(mut frame: Vec<u8>) -> Vec<u8> {
    if frame[12..14] == [0x08, 0x00] {
        let header = &mut frame[packet::ETHERNET..packet::ETHERNET + 20];
        let words = header.as_chunks().0.iter().copied().map(u16::from_be_bytes);
        let sum: u32 = words.map(u32::from).sum();
        let folded = u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
        header[10..12].copy_from_slice(&(!folded).to_be_bytes());
    }
    frame
}

/// Two workloads on a node that routes between them: they and the host may send each other everything.
struct Neighbours {
    wire: Wire,
    web: String,
    api: String,
    node: Node,
}

impl Neighbours {
    fn new(bridge: Option<&str>) -> Self {
        let mut wire = Wire::new();
        for sysctl in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            set(sysctl, "1");
        }
        // The host would catch forged IPv4 addresses by itself, and these ones alone.
        set("ipv4/conf/all/rp_filter", "0");
        set("ipv4/conf/default/rp_filter", "0");
        if let Some(bridge) = bridge {
            ip(&["link", "add", bridge, "type", "bridge"]);
            ip(&["link", "set", bridge, "up"]);
        }
        let [v4, v6] = Family::BOTH;
        let web = wire.join(
            WEB,
            bridge,
            &[(host(v4), &[v4.local()]), (host(v6), &[v6.local()])],
        );
        let api = wire.join(
            API,
            bridge,
            &[
                (host_of_api(v4), &[address_of_api(v4)]),
                (host_of_api(v6), &[address_of_api(v6)]),
            ],
        );
        let mut node = Node::new();
        let (at_web, at_api) = (
            node.datapath.attach_endpoint(WEB).unwrap().index,
            node.datapath.attach_endpoint(API).unwrap().index,
        );
        for family in Family::BOTH {
            let own = |ifindex, identity| {
                move |endpoint: &mut Endpoint| {
                    (endpoint.ifindex, endpoint.identity) = (ifindex, identity);
                    endpoint.flags = BOTH_ENFORCED;
                }
            };
            node.endpoint(family.local(), own(at_web, LOCAL));
            node.endpoint(address_of_api(family), own(at_api, REMOTE));
            node.know(address_of_api(family), REMOTE, NodeId(1));
            for host in [host(family), host_of_api(family)] {
                node.know(host, SecurityIdentity::HOST, NodeId(1));
            }
        }
        for identity in [LOCAL, REMOTE, SecurityIdentity::HOST] {
            for direction in [Direction::Ingress, Direction::Egress] {
                let rule = PolicyPrefix::everything(POLICY, identity, direction);
                node.rule_at(&rule, Verdict::Allow as u8, Authentication::Disabled as u8);
            }
        }
        node.next_epoch();
        Self { wire, web, api, node }
    }

    /// The workload, what it sends from and the other one's socket.
    fn sockets(&self, family: Family) -> (UdpSocket, UdpSocket) {
        let from = self.wire.socket(&self.api, address_of_api(family), 0);
        let to = self.wire.socket(&self.web, family.local(), PORT);
        (from, to)
    }

    /// That the first workload hears the second.
    fn assert_heard(&self, family: Family, what: &str) {
        let (from, to) = self.sockets(family);
        from.send_to(what.as_bytes(), (family.local(), PORT)).unwrap();
        let (bytes, sender) = receive(&to);
        assert_eq!(
            (bytes.as_slice(), sender.ip()),
            (what.as_bytes(), address_of_api(family))
        );
    }

    fn refused(&self) -> u64 {
        counted(&self.node.metrics, Reason::InvalidSourceIp, Direction::Ingress)
    }
}

#[test]
fn what_is_routed_between_two_workloads_of_a_node_is_known_for_its_senders() {
    let neighbours = Neighbours::new(None);
    for family in Family::BOTH {
        neighbours.assert_heard(family, "routed");
    }
    assert_eq!(neighbours.refused(), 0);
}

#[test]
fn behind_a_bridge_the_host_routes_for_those_alone_whose_bridge_it_is() {
    let mut neighbours = Neighbours::new(Some(BRIDGE));
    for family in Family::BOTH {
        let (from, _to) = neighbours.sockets(family);
        let before = neighbours.refused();
        from.send_to(b"through nothing", (family.local(), PORT)).unwrap();
        wait_until(|| neighbours.refused() > before);
    }
    let (bridge, at_api) = (index(BRIDGE), index(API));
    for family in Family::BOTH {
        neighbours.node.endpoint(address_of_api(family), |endpoint| {
            (endpoint.ifindex, endpoint.through) = (at_api, bridge);
            (endpoint.identity, endpoint.flags) = (REMOTE, BOTH_ENFORCED);
        });
    }
    neighbours.node.next_epoch();
    for family in Family::BOTH {
        neighbours.assert_heard(family, "bridged");
    }
}

#[test]
fn what_comes_out_of_a_tunnel_on_the_host_is_nobodys_of_this_node() {
    let neighbours = Neighbours::new(None);
    let vni = VNI.to_string();
    let mac = "02:00:00:00:00:02";
    let (port, address) = (VXLAN.to_string(), host(Family::V4).to_string());
    let device = [
        "link", "add", "vxlan0", "type", "vxlan", "id", &vni, "dstport", &port, "local", &address,
    ];
    if !Command::new("ip").args(device).status().unwrap().success() {
        let test = "tunnels::what_comes_out_of_a_tunnel_on_the_host_is_nobodys_of_this_node";
        signet_skip::skip(test, "the kernel has no VXLAN devices");
        return;
    }
    ip(&["link", "set", "vxlan0", "address", mac, "up"]);
    let local = Family::V4.local();
    let sender = neighbours.wire.socket(&neighbours.web, local, 0);
    let whom = |family: Family| [address_of_api(family), family.remote()];
    for (family, claimed) in Family::BOTH
        .into_iter()
        .flat_map(|family| whom(family).map(|one| (family, one)))
    {
        // A packet of its neighbour's, or of a workload of another node, to itself: that is whom it would like to be
        // believed to be.
        let inner = packet::udp(40_000, PORT);
        let frame = packet::ip(claimed, family.local(), packet::UDP, &inner);
        let mut bytes = vec![0x08, 0, 0, 0, 0, 0, VNI, 0];
        bytes.extend(checked(frame));
        let before = neighbours.refused();
        sender.send_to(&bytes, (host(Family::V4), VXLAN)).unwrap();
        wait_until(|| neighbours.refused() > before);
    }
}
