//! Attached to a real veth pair, in namespaces of the test's own: packets pass and are dropped, a new load adopts what
//! is pinned, and taking it away leaves nothing. Needs root and iproute2.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests: what fails here is the test"
)]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "the rows of verdicts use the rest")]
mod support;

mod tunnels;
mod wire;

use std::io::ErrorKind;
use std::net::IpAddr;

use aya::programs::SchedClassifier;
use aya::programs::tc::TcAttachType;
use signet_abi::{Authentication, Direction, NodeId, Reason, SecurityIdentity, Verdict};
use signet_datapath::{Datapath, Hook};
use signet_maps::PolicyPrefix;
use support::node::Node;
use support::scene::{BOTH_ENFORCED, Family, POLICY};
use wire::{Wire, counted, host, receive, socket, wait_until};

/// The node's end of the veth pair.
const INTERFACE: &str = "sgv-web";
/// Where the workload listens.
const PORT: u16 = 8_080;

/// An address that the workload's namespace has, and Signet gave to nobody.
fn stolen(family: Family) -> IpAddr {
    match family {
        Family::V4 => "10.244.1.99".parse().unwrap(),
        Family::V6 => "fd00:244:1::99".parse().unwrap(),
    }
}

fn allow_host(node: &mut Node, direction: Direction) {
    let rule = PolicyPrefix::everything(POLICY, SecurityIdentity::HOST, direction);
    node.rule_at(&rule, Verdict::Allow as u8, Authentication::Disabled as u8);
    node.next_epoch();
}

/// A node, and its workload behind a pair.
struct Cabled {
    wire: Wire,
    workload: String,
}

impl Cabled {
    fn new() -> Self {
        let mut wire = Wire::new();
        let own = Family::BOTH.map(|family| [family.local(), stolen(family)]);
        let [v4, v6] = Family::BOTH.map(host);
        let workload = wire.join(INTERFACE, None, &[(v4, &own[0]), (v6, &own[1])]);
        Self { wire, workload }
    }

    /// A socket of the workload.
    fn workload(&self, address: IpAddr, port: u16) -> std::net::UdpSocket {
        self.wire.socket(&self.workload, address, port)
    }
}

/// A node whose workload is behind the pair, all of it enforced, without a rule.
fn attached() -> (Cabled, Node) {
    let wire = Cabled::new();
    let mut node = Node::new();
    let interface = node.datapath.attach_endpoint(INTERFACE).unwrap();
    for family in Family::BOTH {
        node.endpoint(family.local(), |endpoint| {
            (endpoint.ifindex, endpoint.flags) = (interface.index, BOTH_ENFORCED);
        });
        node.know(host(family), SecurityIdentity::HOST, NodeId(1));
    }
    node.next_epoch();
    (wire, node)
}

#[test]
fn a_packet_on_a_real_wire_passes_with_a_rule_and_not_without_one() {
    let (wire, mut node) = attached();
    for family in Family::BOTH {
        let outside = socket(host(family), 0);
        let inside = wire.workload(family.local(), PORT);
        let to = (family.local(), PORT);
        let before = counted(&node.metrics, Reason::PolicyDenied, Direction::Ingress);
        outside.send_to(b"refused", to).unwrap();
        // A neighbour that is not known yet is asked for first: the packet leaves a moment later.
        wait_until(|| counted(&node.metrics, Reason::PolicyDenied, Direction::Ingress) > before);
        allow_host(&mut node, Direction::Ingress);
        outside.send_to(b"allowed", to).unwrap();
        let (bytes, from) = receive(&inside);
        assert_eq!(bytes, b"allowed", "{family:?}: the refused one never came");

        inside.send_to(b"answer", from).unwrap();
        assert_eq!(receive(&outside).0, b"answer", "{family:?}");

        let refusals = [
            (wire.workload(family.local(), 0), Reason::PolicyDenied),
            (wire.workload(stolen(family), 0), Reason::InvalidSourceIp),
        ];
        for (socket, reason) in refusals {
            let before = counted(&node.metrics, reason, Direction::Egress);
            socket.send_to(b"refused", outside.local_addr().unwrap()).unwrap();
            wait_until(|| counted(&node.metrics, reason, Direction::Egress) > before);
        }
        outside.set_nonblocking(true).unwrap();
        let nothing = outside.recv_from(&mut [0; 64]).unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock, "{family:?}");

        let rule = PolicyPrefix::everything(POLICY, SecurityIdentity::HOST, Direction::Ingress);
        assert!(node.policy.remove(&rule).unwrap());
        node.next_epoch();
    }
}

#[test]
fn what_is_pinned_goes_on_without_its_daemon_and_is_adopted_by_the_next() {
    let (wire, mut node) = attached();
    allow_host(&mut node, Direction::Ingress);
    let family = Family::V4;
    let (outside, inside) = (socket(host(family), 0), wire.workload(family.local(), PORT));
    let to = (family.local(), PORT);
    outside.send_to(b"first", to).unwrap();
    let (_, from) = receive(&inside);

    let connection = node.connection();
    let old = programs(Hook::ToContainer);
    node.reload();
    assert_eq!(programs(Hook::ToContainer), old, "loaded, not yet attached");
    inside.send_to(b"answer", from).unwrap();
    assert_eq!(
        receive(&outside).0,
        b"answer",
        "judged by what the earlier run attached"
    );
    assert!(node.datapath.adopted(), "{:?}", node.datapath.replaced());
    assert_eq!(node.connection().source, connection.source);

    node.datapath.attach_endpoint(INTERFACE).unwrap();
    for hook in [Hook::FromContainer, Hook::ToContainer] {
        assert_eq!(programs(hook).len(), 1, "replaced, not added to: {hook}");
    }
    assert_ne!(programs(Hook::ToContainer), old);
    inside.send_to(b"again", from).unwrap();
    assert_eq!(receive(&outside).0, b"again", "the connection is still known");
}

#[test]
fn detaching_leaves_nothing_behind() {
    let (wire, mut node) = attached();
    let family = Family::V4;
    let (outside, inside) = (socket(host(family), 0), wire.workload(family.local(), PORT));
    let hooks = [Hook::FromContainer, Hook::ToContainer];
    let attachments = node.datapath.attached().unwrap();
    let index = attachments[0].ifindex;
    assert_eq!(
        attachments
            .iter()
            .map(|attachment| attachment.hook)
            .collect::<Vec<_>>(),
        hooks
    );
    assert!(node.datapath.detach_endpoint(index).unwrap());
    assert!(!node.datapath.detach_endpoint(index).unwrap(), "twice");
    assert_eq!(node.datapath.attached().unwrap(), []);
    for hook in hooks {
        // The kernel takes a link away once nobody can be running its program any more.
        wait_until(|| programs(hook).is_empty());
    }
    outside.send_to(b"not judged", (family.local(), PORT)).unwrap();
    assert_eq!(receive(&inside).0, b"not judged");

    node.datapath.attach_endpoint(INTERFACE).unwrap();
    Datapath::remove(&node.directory).unwrap();
    assert!(!node.directory.exists());
    for hook in hooks {
        wait_until(|| programs(hook).is_empty());
    }
}

/// Ids of the programs at this hook of the interface, in order.
fn programs(hook: Hook) -> Vec<u32> {
    let side = match hook {
        Hook::FromContainer | Hook::FromNetdev | Hook::FromTunnel | Hook::FromParking => {
            TcAttachType::Ingress
        }
        Hook::ToContainer | Hook::ToNetdev => TcAttachType::Egress,
    };
    let (_, programs) = SchedClassifier::query_tcx(INTERFACE, side).unwrap();
    programs.iter().map(aya::programs::ProgramInfo::id).collect()
}
