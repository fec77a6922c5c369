//! Each outcome, with what the operator is told to do.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use signet_abi::{
    ABI_VERSION, Address, AuthKey, AuthValue, IpcacheValue, Lease, MeshConfig, NodeId, NodeState,
    SecurityIdentity, node_flags,
};
use signet_endpoints::{Cidr, Desired, Ifindex, Inputs, InterfaceName, Node, View};
use signet_policy::Identities;
use signet_proto::mesh::v1::{ExplainRequest, ExplainResponse};
use signet_source::{Set, Snapshot};
use signet_spiffe::{NodeName, SpiffeId, TrustDomain};

use super::{Maps, Question, explain};
use crate::known::Known;

const YAML: &str = "\
apiVersion: signet.io/v1alpha1
kind: Workload
metadata: {name: client, namespace: shop, labels: {app: client}}
spec: {node: n1, serviceAccount: client, addresses: [10.244.1.10, \"fd00:244:1::10\"], interface: sgv-client}
---
apiVersion: signet.io/v1alpha1
kind: Workload
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {node: n2, serviceAccount: web, addresses: [10.244.2.10, \"fd00:244:2::10\"], interface: sgv-web}
---
apiVersion: signet.io/v1alpha1
kind: Workload
metadata: {name: ghost, namespace: shop, labels: {app: ghost}}
spec: {node: n1, serviceAccount: ghost, addresses: [10.244.1.11], interface: sgv-ghost}
---
apiVersion: signet.io/v1alpha1
kind: Workload
metadata: {name: lost, namespace: shop}
spec: {node: n1, serviceAccount: lost, addresses: [10.9.9.9], interface: sgv-lost}
---
apiVersion: signet.io/v1alpha1
kind: Policy
metadata: {name: web, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress:
  - from: [{workload: {serviceAccount: client}}]
    ports: [{protocol: TCP, port: 8080}]
    authentication: required
  - from: [{workload: {serviceAccount: client}}]
    ports: [{protocol: TCP, port: 9090}]
    authentication: always-fail
  - from: [{entity: all}]
    ports: [{protocol: TCP, port: 9091}]
    action: Deny
  - from: [{entity: all}]
    ports: [{protocol: TCP, port: 80}, {protocol: ICMP}]
  - from: [{workload: {serviceAccount: ghost}}, {entity: unmanaged}]
    ports: [{protocol: TCP, port: 7000}]
    authentication: required
  - from: [{workload: {serviceAccount: ghost}}]
    ports: [{protocol: TCP, port: 7001}]
  - from: [{entity: unmanaged}]
    ports: [{protocol: TCP, port: 7002}]
    authentication: required
";

#[derive(Default)]
struct Kernel {
    ipcache: BTreeMap<Cidr, IpcacheValue>,
    proofs: BTreeMap<AuthKey, AuthValue>,
    leases: BTreeMap<IpAddr, Lease>,
    lease_ends: BTreeMap<NodeId, u64>,
    endpoints: BTreeMap<IpAddr, SecurityIdentity>,
    nodes: BTreeMap<NodeId, NodeState>,
}

impl Maps for Kernel {
    fn place(&self, address: IpAddr) -> Option<IpcacheValue> {
        Cidr::host(Address::from(address))
            .lineage()
            .find_map(|block| self.ipcache.get(&block).copied())
    }

    fn proof(&self, pair: &AuthKey) -> Option<AuthValue> {
        self.proofs.get(pair).copied()
    }

    fn lease(&self, address: IpAddr) -> Option<Lease> {
        self.leases.get(&address).copied()
    }

    fn lease_end(&self, node: NodeId) -> u64 {
        self.lease_ends.get(&node).copied().unwrap_or(0)
    }

    fn endpoint(&self, address: IpAddr) -> Option<SecurityIdentity> {
        self.endpoints.get(&address).copied()
    }

    fn node(&self, id: NodeId) -> Option<NodeState> {
        self.nodes.get(&id).copied()
    }

    fn now(&self) -> u64 {
        1_000_000_000
    }
}

/// What a node knows once everything is set up, and what its kernel says.
fn node(own: &str) -> (Known, Kernel) {
    configured(own, YAML)
}

fn configured(own: &str, yaml: &str) -> (Known, Kernel) {
    let domain = TrustDomain::parse("cluster.local").unwrap();
    let mut view = View {
        identities: Identities::new(domain.clone()),
        ..View::default()
    };
    for number in 1..=2 {
        let node = Node {
            id: NodeId(number),
            addresses: vec![format!("192.0.2.{number}").parse().unwrap()],
            pod_cidrs: vec![
                Cidr::parse(&format!("10.244.{number}.0/24")).unwrap(),
                Cidr::parse(&format!("fd00:244:{number}::/64")).unwrap(),
            ],
        };
        view.nodes
            .insert(NodeName::parse(&format!("n{number}")).unwrap(), node);
    }
    for (account, number, node) in [("client", 256, "n1"), ("web", 257, "n2")] {
        let id = SpiffeId::workload(&domain, "shop", account).unwrap();
        view.identities.insert(id.clone(), SecurityIdentity(number));
        view.places.insert(id, [NodeName::parse(node).unwrap()].into());
    }
    let set = Set::parse([("f.yaml", yaml)]).unwrap();
    let interfaces: BTreeMap<_, _> = ["sgv-client", "sgv-web", "sgv-ghost"]
        .into_iter()
        .zip(5..)
        .map(|(name, index)| (InterfaceName::parse(name).unwrap(), Ifindex::new(index).unwrap()))
        .collect();
    let own = NodeName::parse(own).unwrap();
    let desired = Desired::new(&Inputs {
        own: &own,
        view: Some(&view),
        workloads: set.workloads(),
        policies: set.policies(),
        table: set.table(),
        interfaces: &interfaces,
        through: &BTreeMap::new(),
        own_addresses: &[],
        parking: None,
    });
    let place = |(cidr, place): (&Cidr, &signet_endpoints::Place)| {
        (
            *cidr,
            IpcacheValue {
                identity: place.identity,
                node: place.node,
            },
        )
    };
    let kernel = Kernel {
        ipcache: desired.ipcache.iter().map(place).collect(),
        ..Kernel::default()
    };
    let config = MeshConfig {
        abi_version: ABI_VERSION,
        node: desired.node,
        policy_epoch: 1,
        ..MeshConfig::default()
    };
    let known = Known {
        snapshot: Arc::new(Snapshot {
            set: Some(Arc::new(set)),
            ..Snapshot::default()
        }),
        view: Some(Arc::new(view)),
        agent_connected: true,
        desired: Arc::new(desired),
        complete: true,
        ..Known::nothing(own, false, config)
    };
    (known, kernel)
}

fn ask(on: &(Known, Kernel), source: &str, destination: &str, port: u32) -> ExplainResponse {
    ask_protocol(on, source, destination, port, "tcp")
}

fn ask_protocol(
    on: &(Known, Kernel),
    source: &str,
    destination: &str,
    port: u32,
    protocol: &str,
) -> ExplainResponse {
    let request = ExplainRequest {
        source: source.into(),
        destination: destination.into(),
        port,
        protocol: protocol.into(),
    };
    explain(&Question::parse(&request).unwrap(), &on.0, &on.1)
}

fn verdict(answer: &ExplainResponse) -> (&str, u32) {
    (&answer.verdict, answer.reason)
}

fn detail<'a>(answer: &'a ExplainResponse, title: &str) -> &'a str {
    let step = answer.steps.iter().find(|step| step.title == title);
    &step
        .unwrap_or_else(|| panic!("no step {title} in {answer:?}"))
        .detail
}

const PAIR: AuthKey = AuthKey {
    local: SecurityIdentity(257),
    remote: SecurityIdentity(256),
    node: NodeId(1),
};

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 244, 1, 10));

/// Node 2, which has the pair's proof, and node 1's word that the client's address is the client's.
fn proven() -> (Known, Kernel) {
    let mut n2 = node("n2");
    n2.1.proofs.insert(
        PAIR,
        AuthValue {
            not_after: 61_000_000_000,
            epoch: 4,
            made: 0,
            used: 0,
        },
    );
    n2.1.leases.insert(
        CLIENT,
        Lease {
            identity: SecurityIdentity(256),
            node: NodeId(1),
        },
    );
    n2.1.lease_ends.insert(NodeId(1), 9_000_000_000);
    n2
}

#[test]
fn an_allowed_and_proven_pair_is_allowed() {
    let n2 = proven();
    let answer = ask(&n2, "shop/client", "shop/web", 8080);
    assert_eq!(verdict(&answer), ("allowed", 0));
    assert_eq!(answer.next_step, "");
    assert_eq!(
        detail(&answer, "source"),
        "10.244.1.10 is shop/client on n1, spiffe://cluster.local/ns/shop/sa/client (256)"
    );
    assert_eq!(
        detail(&answer, "ingress policy"),
        "shop/web ingress[0] allows it to whom is proven"
    );
    assert_eq!(detail(&answer, "proof"), "handshake 4 of the pair holds for 60 s");
    assert_eq!(
        detail(&answer, "lease"),
        "n1 says that 10.244.1.10 is its, for 8 s more unless it says so again"
    );
    assert_eq!(
        detail(&answer, "egress policy"),
        "judged on n1; no policy selects it"
    );
}

#[test]
fn a_proven_pair_without_a_lease_is_refused_and_what_lacks_is_named_with_its_remedy() {
    type Change = fn(&mut Kernel);
    let other = |kernel: &mut Kernel, identity, node| {
        let lease = Lease {
            identity: SecurityIdentity(identity),
            node: NodeId(node),
        };
        kernel.leases.insert(CLIENT, lease);
    };
    let rows: [(Change, &str, &str); 5] = [
        (
            |kernel| kernel.lease_ends.clear(),
            "n1 has not said yet what its addresses are",
            "signet auth sessions",
        ),
        (
            |kernel| {
                kernel.lease_ends.insert(NodeId(1), 1_000_000_000);
            },
            "n1 has not said for 0 s what its addresses are",
            "TCP 4250",
        ),
        (
            |kernel| kernel.leases.clear(),
            "n1 does not say that it has 10.244.1.10, or is not believed",
            "signet auth leases",
        ),
        (
            |_| {},
            "n1 says that 10.244.1.10 is spiffe://cluster.local/ns/shop/sa/web now",
            "older than that",
        ),
        (
            |_| {},
            "10.244.1.10 is not on n1 any more: n2 says that it is its",
            "older than that",
        ),
    ];
    for (number, (change, says, next)) in rows.into_iter().enumerate() {
        let mut n2 = proven();
        change(&mut n2.1);
        match number {
            3 => other(&mut n2.1, 257, 1),
            4 => other(&mut n2.1, 256, 2),
            _ => {}
        }
        let answer = ask(&n2, "shop/client", "shop/web", 8080);
        assert_eq!(verdict(&answer), ("refused", 221), "{says}");
        assert_eq!(detail(&answer, "lease"), says);
        assert!(answer.next_step.contains(next), "{}", answer.next_step);
    }
    let mut n2 = proven();
    n2.1.leases.clear();
    let unproven = ask(&n2, "shop/client", "shop/web", 80);
    assert_eq!(
        verdict(&unproven),
        ("allowed", 0),
        "what needs no proof needs no lease"
    );
}

#[test]
fn a_pair_without_a_live_proof_waits() {
    let mut n2 = node("n2");
    let answer = ask(&n2, "shop/client", "shop/web", 8080);
    assert_eq!(verdict(&answer), ("waiting", 189));
    assert!(answer.next_step.contains("signet auth list"));
    n2.1.proofs.insert(
        PAIR,
        AuthValue {
            not_after: 1_000_000_000,
            epoch: 4,
            made: 0,
            used: 0,
        },
    );
    let expired = ask(&n2, "shop/client", "shop/web", 8080);
    assert_eq!(verdict(&expired), ("waiting", 189));
    assert!(detail(&expired, "proof").contains("expired"));
}

/// The view after the operator has changed something, and the kernel maps that follow from it.
fn after(on: (Known, Kernel), change: impl FnOnce(&mut View)) -> (Known, Kernel) {
    let (mut known, mut kernel) = on;
    let mut view = View::clone(known.view.as_ref().unwrap());
    change(&mut view);
    let set = known.set().unwrap().clone();
    let interfaces: BTreeMap<_, _> =
        [(InterfaceName::parse("sgv-web").unwrap(), Ifindex::new(6).unwrap())].into();
    let desired = Desired::new(&Inputs {
        own: &known.node,
        view: Some(&view),
        workloads: set.workloads(),
        policies: set.policies(),
        table: set.table(),
        interfaces: &interfaces,
        through: &BTreeMap::new(),
        own_addresses: &[],
        parking: None,
    });
    let place = |(cidr, place): (&Cidr, &signet_endpoints::Place)| {
        let value = IpcacheValue {
            identity: place.identity,
            node: place.node,
        };
        (*cidr, value)
    };
    kernel.ipcache = desired.ipcache.iter().map(place).collect();
    known.desired = Arc::new(desired);
    known.view = Some(Arc::new(view));
    (known, kernel)
}

#[test]
fn a_revoked_identity_is_refused_and_the_revocation_is_named_with_its_remedy() {
    let id = SpiffeId::parse("spiffe://cluster.local/ns/shop/sa/client").unwrap();
    let close = |view: &mut View| {
        view.closed.insert(id.clone(), "leaked".into());
    };
    let n2 = after(node("n2"), close);
    let answer = ask(&n2, "shop/client", "shop/web", 8080);
    assert_eq!(verdict(&answer), ("refused", 189));
    assert_eq!(
        detail(&answer, "proof"),
        format!("there can be none: {id} is revoked and gets no certificates: leaked")
    );
    assert_eq!(
        answer.next_step,
        format!("`signet ca reopen {id}` lets it have certificates again")
    );
    assert_eq!(
        verdict(&ask(&n2, "shop/client", "shop/web", 80)),
        ("allowed", 0),
        "what needs no proof passes"
    );
}

#[test]
fn a_banned_node_is_refused_and_the_ban_is_named_with_its_remedy() {
    let ban = |view: &mut View| {
        let n1 = NodeName::parse("n1").unwrap();
        view.nodes.remove(&n1);
        view.banned.insert(n1, "stolen".into());
    };
    let n2 = after(node("n2"), ban);
    for (source, port, reason) in [("shop/client", 8080, 133), ("shop/ghost", 7000, 224)] {
        let answer = ask(&n2, source, "shop/web", port);
        assert_eq!(verdict(&answer), ("refused", reason), "{answer:?}");
        assert!(detail(&answer, "source").contains("node n1 is banned: stolen"));
        assert!(detail(&answer, "egress policy").starts_with("judged on n1; "));
        assert!(
            answer.next_step.contains("`signet ca evict n1 --reason"),
            "{}",
            answer.next_step
        );
    }
}

#[test]
fn no_rule_is_refused_with_the_rule_that_would_help() {
    let answer = ask(&node("n2"), "shop/client", "shop/web", 1234);
    assert_eq!(verdict(&answer), ("refused", 133));
    assert_eq!(
        answer.next_step,
        "add a rule to shop/web that names `spiffeId: spiffe://cluster.local/ns/shop/sa/client` and port 1234/TCP"
    );
    let world = ask(&node("n2"), "198.51.100.1", "shop/web", 1234);
    assert_eq!(verdict(&world), ("refused", 133));
    assert!(world.next_step.contains("`entity: world`"));
    assert!(detail(&world, "source").contains("no workload's: world, outside the mesh"));
}

#[test]
fn an_address_of_several_is_refused_with_all_who_claim_it_and_what_to_do() {
    let twin = "\
---
apiVersion: signet.io/v1alpha1
kind: Workload
metadata: {name: twin, namespace: shop}
spec: {node: n1, serviceAccount: twin, addresses: [10.244.1.10, \"fd00:244:1::10\"], interface: sgv-twin}
";
    for node_name in ["n1", "n2"] {
        let on = configured(node_name, &format!("{YAML}{twin}"));
        // Where no claimant lives the rule decides: 8080 asks for a proof, 80 does not, and there it may pass.
        let rows = match node_name {
            "n1" => [(8080, "refused", 228), (80, "refused", 228)],
            _ => [(7002, "refused", 228), (80, "allowed", 0)],
        };
        for (port, says, reason) in rows {
            for source in ["shop/client", "shop/twin", "10.244.1.10"] {
                let answer = ask(&on, source, "shop/web", port);
                assert_eq!(
                    verdict(&answer),
                    (says, reason),
                    "{node_name} {source} {port}: {answer:?}"
                );
                let words = detail(&answer, "source");
                for part in [
                    "address 10.244.1.10",
                    "shop/client (spiffe://cluster.local/ns/shop/sa/client)",
                    "shop/twin (spiffe://cluster.local/ns/shop/sa/twin)",
                ] {
                    assert!(words.contains(part), "{part} is not in {words}");
                }
                assert_eq!(answer.next_step.contains("an address of its own"), reason == 228);
            }
        }
    }
    // It is somebody's again as soon as the others have gone.
    assert_eq!(
        verdict(&ask(&node("n2"), "shop/client", "shop/web", 8080)),
        ("waiting", 189)
    );
}

#[test]
fn deny_and_always_fail_are_refused_by_their_rule() {
    let n2 = node("n2");
    let denied = ask(&n2, "shop/client", "shop/web", 9091);
    assert_eq!(verdict(&denied), ("refused", 181));
    assert_eq!(detail(&denied, "ingress policy"), "shop/web ingress[2] denies it");
    let never = ask(&n2, "shop/client", "shop/web", 9090);
    assert_eq!(verdict(&never), ("refused", 220));
    assert!(never.next_step.contains("shop/web ingress[1]"));
}

#[test]
fn a_missing_registration_is_named_with_the_command_that_makes_it() {
    let n2 = node("n2");
    let command =
        "signet ca register spiffe://cluster.local/ns/shop/sa/ghost --on n1 --selector endpoint:shop/ghost";
    let unproven = ask(&n2, "shop/ghost", "shop/web", 7000);
    assert_eq!(verdict(&unproven), ("refused", 224));
    assert_eq!(unproven.next_step, command);
    let unmatched = ask(&n2, "shop/ghost", "shop/web", 7001);
    assert_eq!(verdict(&unmatched), ("refused", 133));
    assert_eq!(
        unmatched.next_step,
        format!("a rule allows its SPIFFE ID, which is not registered there: {command}")
    );
    assert!(
        detail(&unmatched, "source")
            .contains("spiffe://cluster.local/ns/shop/sa/ghost is not registered there")
    );
}

#[test]
fn the_senders_node_judges_egress_and_says_where_the_packet_goes() {
    let mut n1 = node("n1");
    let plain = ask(&n1, "shop/client", "shop/web", 8080);
    assert_eq!(verdict(&plain), ("allowed", 0));
    assert_eq!(
        detail(&plain, "egress policy"),
        "no policy selects shop/client: all is allowed"
    );
    assert_eq!(
        detail(&plain, "ingress policy"),
        "judged on n2; a policy selects it there"
    );
    assert!(detail(&plain, "encryption").contains("plaintext"));
    let encrypting = NodeState {
        tunnel_ifindex: 9,
        flags: node_flags::SEND_ENCRYPTED,
        ..NodeState::default()
    };
    n1.1.nodes.insert(NodeId(2), encrypting);
    assert_eq!(
        detail(&ask(&n1, "shop/client", "shop/web", 8080), "encryption"),
        "goes to n2 through the tunnel"
    );
    n1.1.nodes.insert(
        NodeId(2),
        NodeState {
            tunnel_ifindex: 0,
            ..encrypting
        },
    );
    assert_eq!(
        verdict(&ask(&n1, "shop/client", "shop/web", 8080)),
        ("refused", 195)
    );
}

#[test]
fn families_are_paired_and_icmp_follows_the_family() {
    let n2 = node("n2");
    let v6 = ask(&n2, "fd00:244:1::10", "shop/web", 80);
    assert_eq!(verdict(&v6), ("allowed", 0));
    assert!(detail(&v6, "destination").starts_with("fd00:244:2::10"));
    assert_eq!(
        verdict(&ask_protocol(&n2, "10.244.1.10", "shop/web", 0, "icmp")),
        ("allowed", 0)
    );
    assert_eq!(
        verdict(&ask_protocol(&n2, "fd00:244:1::10", "shop/web", 0, "icmp")),
        ("refused", 133)
    );
    let mixed = ask(&n2, "fd00:244:1::10", "10.244.2.10", 80);
    assert_eq!(verdict(&mixed), ("unknown", 0));
    assert!(detail(&mixed, "addresses").contains("no addresses of one family"));
}

#[test]
fn what_is_not_known_is_said() {
    let n2 = node("n2");
    let nobody = ask(&n2, "shop/nobody", "shop/web", 80);
    assert_eq!(
        (verdict(&nobody), detail(&nobody, "addresses")),
        (("unknown", 0), "there is no workload shop/nobody")
    );
    let outside = ask(&n2, "shop/lost", "shop/web", 80);
    assert_eq!(verdict(&outside), ("unknown", 0));
    assert!(detail(&outside, "addresses").contains("10.9.9.9 is outside the pod CIDRs of node n1"));
    let elsewhere = ask(&n2, "shop/client", "shop/ghost", 80);
    assert_eq!(verdict(&elsewhere), ("unknown", 0));
    assert!(elsewhere.next_step.contains("--node n1"));
}

#[test]
fn an_endpoint_whose_interface_is_missing_is_refused() {
    let (mut known, kernel) = node("n2");
    let mut desired = Desired::clone(&known.desired);
    for report in desired.reports.iter_mut().filter(|report| report.local) {
        report.ifindex = None;
        report.state =
            signet_endpoints::EndpointState::WaitingForInterface(InterfaceName::parse("sgv-web").unwrap());
    }
    known.desired = Arc::new(desired);
    let answer = ask(&(known, kernel), "shop/client", "shop/web", 80);
    assert_eq!(verdict(&answer), ("refused", 203));
    assert!(detail(&answer, "endpoint").contains("waiting for interface sgv-web"));
}

#[test]
fn an_incomplete_daemon_says_so() {
    let (mut known, kernel) = node("n2");
    known.complete = false;
    known.errors = vec!["waiting for signet-agent".to_owned()];
    let answer = ask(&(known, kernel), "shop/client", "shop/web", 80);
    assert!(detail(&answer, "daemon").contains("waiting for signet-agent"));
}
