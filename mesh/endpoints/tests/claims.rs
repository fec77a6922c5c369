//! Whose word about an address is believed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::net::IpAddr;

use signet_abi::{Address, NodeId, SecurityIdentity};
use signet_endpoints::{
    Capacity, Cidr, Desired, EndpointState, Ifindex, Inputs, InterfaceName, KernelState, Node, Place, View,
    Workload, WorkloadAddress, WorkloadName, plan,
};
use signet_policy::{Identities, Labels, Name, Namespace, RuleTable};
use signet_spiffe::{NodeName, SpiffeId, TrustDomain};

const WEB: SecurityIdentity = SecurityIdentity(256);

fn workload(name: &str, node: &str, addresses: &[&str]) -> Workload {
    Workload::new(
        WorkloadName {
            namespace: Namespace::parse("shop").unwrap(),
            name: Name::parse(name).unwrap(),
        },
        Labels::default(),
        NodeName::parse(node).unwrap(),
        Name::parse("web").unwrap(),
        InterfaceName::parse(&format!("sgv-{name}")).unwrap(),
        addresses
            .iter()
            .map(|address| WorkloadAddress::parse(address).unwrap())
            .collect(),
    )
    .unwrap()
}

fn node(id: u32, addresses: &[&str], cidrs: &[&str]) -> Node {
    Node {
        id: NodeId(id),
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        pod_cidrs: cidrs.iter().map(|cidr| Cidr::parse(cidr).unwrap()).collect(),
    }
}

fn view(nodes: Vec<(&str, Node)>) -> View {
    let domain = TrustDomain::parse("cluster.local").unwrap();
    let web = SpiffeId::workload(&domain, "shop", "web").unwrap();
    let mut identities = Identities::new(domain);
    identities.insert(web.clone(), WEB);
    let nodes: BTreeMap<_, _> = nodes
        .into_iter()
        .map(|(name, node)| (NodeName::parse(name).unwrap(), node))
        .collect();
    View {
        places: [(web, nodes.keys().cloned().collect())].into(),
        nodes,
        identities,
        encrypted: false,
        ..View::default()
    }
}

fn two_nodes() -> View {
    view(vec![
        (
            "n1",
            node(1, &["192.0.2.1"], &["10.244.1.0/24", "fd00:244:1::/64"]),
        ),
        ("n2", node(2, &["192.0.2.2"], &["10.244.2.0/24"])),
    ])
}

/// The desired state of node n1, on which all of its workloads' interfaces are there.
fn desired(view: Option<&View>, workloads: &[Workload], own_addresses: &[IpAddr]) -> Desired {
    let interfaces: BTreeMap<_, _> = workloads
        .iter()
        .zip(10..)
        .map(|(workload, index)| (workload.interface.clone(), Ifindex::new(index).unwrap()))
        .collect();
    Desired::new(&Inputs {
        own: &NodeName::parse("n1").unwrap(),
        view,
        workloads,
        policies: &[],
        table: &RuleTable::default(),
        interfaces: &interfaces,
        through: &BTreeMap::new(),
        own_addresses,
        parking: None,
    })
}

fn place(desired: &Desired, cidr: &str) -> Option<Place> {
    desired.ipcache.get(&Cidr::parse(cidr).unwrap()).copied()
}

fn problems(desired: &Desired) -> Vec<String> {
    desired.problems.iter().map(ToString::to_string).collect()
}

fn abi(address: &str) -> Address {
    Address::from(address.parse::<IpAddr>().unwrap())
}

#[test]
fn a_workload_in_its_nodes_block_has_its_identity_everywhere_and_an_endpoint_at_home() {
    let workloads = [
        workload("web", "n1", &["10.244.1.10", "fd00:244:1::10"]),
        workload("far", "n2", &["10.244.2.9"]),
    ];
    let desired = desired(Some(&two_nodes()), &workloads, &[]);
    assert_eq!(problems(&desired), [""; 0]);
    assert_eq!(desired.node, NodeId(1));
    assert_eq!(
        place(&desired, "10.244.1.10/32"),
        Some(Place {
            identity: WEB,
            node: NodeId(1)
        })
    );
    assert_eq!(
        place(&desired, "fd00:244:1::10/128"),
        Some(Place {
            identity: WEB,
            node: NodeId(1)
        })
    );
    assert_eq!(
        place(&desired, "10.244.2.9/32"),
        Some(Place {
            identity: WEB,
            node: NodeId(2)
        })
    );
    assert_eq!(
        desired.endpoints.keys().copied().collect::<Vec<_>>(),
        [abi("10.244.1.10"), abi("fd00:244:1::10")]
    );
    assert!(
        desired
            .reports
            .iter()
            .all(|report| report.state == EndpointState::Ready)
    );
}

#[test]
fn nodes_are_host_and_remote_node_and_the_rest_of_their_blocks_is_unmanaged() {
    let desired = desired(Some(&two_nodes()), &[], &["10.244.1.1".parse().unwrap()]);
    let at = |identity, node| {
        Some(Place {
            identity,
            node: NodeId(node),
        })
    };
    assert_eq!(place(&desired, "192.0.2.1/32"), at(SecurityIdentity::HOST, 1));
    assert_eq!(place(&desired, "10.244.1.1/32"), at(SecurityIdentity::HOST, 1));
    assert_eq!(
        place(&desired, "192.0.2.2/32"),
        at(SecurityIdentity::REMOTE_NODE, 2)
    );
    assert_eq!(
        place(&desired, "10.244.1.0/24"),
        at(SecurityIdentity::UNMANAGED, 1)
    );
    assert_eq!(
        place(&desired, "10.244.2.0/24"),
        at(SecurityIdentity::UNMANAGED, 2)
    );
}

#[test]
fn an_address_outside_the_nodes_blocks_is_refused_and_said() {
    let workloads = [workload("web", "n1", &["10.244.1.10", "10.244.2.10"])];
    let desired = desired(Some(&two_nodes()), &workloads, &[]);
    assert_eq!(place(&desired, "10.244.2.10/32"), None);
    assert!(!desired.endpoints.contains_key(&abi("10.244.2.10")));
    assert!(desired.endpoints.contains_key(&abi("10.244.1.10")));
    assert_eq!(desired.reports[0].state, EndpointState::SomeAddresses);
    let [problem] = &problems(&desired)[..] else {
        panic!("{:?}", desired.problems)
    };
    assert!(problem.contains("workload shop/web: address 10.244.2.10 is outside the pod CIDRs of node n1"));
    assert!(problem.contains("(10.244.1.0/24, fd00:244:1::/64)"), "{problem}");
}

#[test]
fn of_two_workloads_with_one_address_neither_is_believed() {
    let workloads = [
        workload("a", "n1", &["10.244.1.10"]),
        workload("b", "n1", &["10.244.1.10"]),
    ];
    let desired = desired(Some(&two_nodes()), &workloads, &[]);
    let nobody = Place {
        identity: SecurityIdentity::CONTESTED,
        node: NodeId(1),
    };
    assert_eq!(place(&desired, "10.244.1.10/32"), Some(nobody));
    assert!(desired.endpoints.is_empty());
    let id = "spiffe://cluster.local/ns/shop/sa/web";
    let words = format!(
        "address 10.244.1.10 is claimed by shop/a ({id}), shop/b ({id}): none of them is believed, give each its own"
    );
    assert_eq!(problems(&desired), [words.as_str()]);
    let told = desired.contest(abi("10.244.1.10")).map(ToString::to_string);
    assert_eq!(told, Some(words));
    assert!(
        desired
            .reports
            .iter()
            .all(|report| report.state == EndpointState::NoAddress)
    );
}

#[test]
fn who_comes_first_does_not_decide_whose_a_contested_address_is_and_it_is_somebody_s_again_once_the_others_have_gone()
 {
    let one = workload("a", "n1", &["10.244.1.10"]);
    let other = workload("b", "n1", &["10.244.1.10", "10.244.1.11"]);
    for order in [[one.clone(), other.clone()], [other.clone(), one.clone()]] {
        let both = desired(Some(&two_nodes()), &order, &[]);
        assert!(both.is_contested(abi("10.244.1.10")));
        assert!(!both.endpoints.contains_key(&abi("10.244.1.10")));
        assert!(
            both.endpoints.contains_key(&abi("10.244.1.11")),
            "what one alone has is its own"
        );
        assert!(!both.is_contested(abi("10.244.1.11")));
        assert_eq!(both.contest(abi("10.244.1.11")), None);
    }
    let alone = desired(Some(&two_nodes()), std::slice::from_ref(&one), &[]);
    assert!(!alone.is_contested(abi("10.244.1.10")));
    assert!(alone.endpoints.contains_key(&abi("10.244.1.10")));
}

#[test]
fn a_contested_address_takes_a_node_s_own_from_nobody_and_its_way_into_the_tunnel_stays() {
    let twice = |address| [workload("a", "n9", &[address]), workload("b", "n9", &[address])];
    let node = desired(Some(&two_nodes()), &twice("192.0.2.2"), &[]);
    let place_of = |desired: &Desired, cidr| place(desired, cidr).map(|place| (place.identity, place.node));
    assert_eq!(
        place_of(&node, "192.0.2.2/32"),
        Some((SecurityIdentity::REMOTE_NODE, NodeId(2)))
    );
    let far = [
        workload("a", "n2", &["10.244.2.9"]),
        workload("b", "n2", &["10.244.2.9"]),
    ];
    let far = desired(Some(&two_nodes()), &far, &[]);
    assert_eq!(
        place_of(&far, "10.244.2.9/32"),
        Some((SecurityIdentity::CONTESTED, NodeId(2)))
    );
    let outside = desired(Some(&two_nodes()), &twice("198.51.100.7"), &[]);
    assert_eq!(
        place_of(&outside, "198.51.100.7/32"),
        Some((SecurityIdentity::CONTESTED, NodeId::NONE))
    );
}

#[test]
fn a_claim_from_outside_the_block_does_not_harm_the_owner() {
    let workloads = [
        workload("web", "n1", &["10.244.1.10"]),
        workload("thief", "n2", &["10.244.1.10"]),
    ];
    let desired = desired(Some(&two_nodes()), &workloads, &[]);
    assert_eq!(
        place(&desired, "10.244.1.10/32"),
        Some(Place {
            identity: WEB,
            node: NodeId(1)
        })
    );
    assert_eq!(desired.problems.len(), 1);
}

#[test]
fn a_claim_of_a_node_that_has_not_joined_does_not_harm_the_owner() {
    let workloads = [
        workload("web", "n1", &["10.244.1.10"]),
        workload("ghost", "n9", &["10.244.1.10"]),
    ];
    let desired = desired(Some(&two_nodes()), &workloads, &[]);
    assert_eq!(
        place(&desired, "10.244.1.10/32"),
        Some(Place {
            identity: WEB,
            node: NodeId(1)
        })
    );
    assert_eq!(desired.reports[1].state, EndpointState::NoAddress);
    assert_eq!(desired.problems.len(), 1);
}

#[test]
fn a_workload_on_a_node_that_has_not_joined_has_no_identity_yet() {
    let desired = desired(
        Some(&two_nodes()),
        &[workload("web", "n9", &["10.244.9.10"])],
        &[],
    );
    let unmanaged = Place {
        identity: SecurityIdentity::UNMANAGED,
        node: NodeId::NONE,
    };
    assert_eq!(place(&desired, "10.244.9.10/32"), Some(unmanaged));
    assert_eq!(desired.reports[0].state.to_string(), "node n9 has not joined");
}

#[test]
fn before_the_view_is_known_local_workloads_are_unmanaged_and_the_node_has_no_number() {
    let desired = desired(None, &[workload("web", "n1", &["10.244.1.10"])], &[]);
    assert_eq!(desired.node, NodeId::NONE);
    assert_eq!(
        desired.endpoints[&abi("10.244.1.10")].identity,
        SecurityIdentity::UNMANAGED
    );
    assert_eq!(desired.reports[0].spiffe_id, None);
}

#[test]
fn a_service_account_without_a_registration_is_unmanaged_on_its_node() {
    let mut view = two_nodes();
    view.identities = Identities::new(TrustDomain::parse("cluster.local").unwrap());
    let desired = desired(Some(&view), &[workload("web", "n1", &["10.244.1.10"])], &[]);
    let unmanaged = Place {
        identity: SecurityIdentity::UNMANAGED,
        node: NodeId(1),
    };
    assert_eq!(place(&desired, "10.244.1.10/32"), Some(unmanaged));
    assert_eq!(
        desired.reports[0].spiffe_id.as_ref().unwrap().as_str(),
        "spiffe://cluster.local/ns/shop/sa/web"
    );
}

#[test]
fn a_workload_has_its_identity_only_on_a_node_where_it_is_registered() {
    let workloads = [
        workload("web", "n1", &["10.244.1.10"]),
        workload("far", "n2", &["10.244.2.9"]),
    ];
    let mut view = two_nodes();
    for nodes in view.places.values_mut() {
        nodes.remove(&NodeName::parse("n1").unwrap());
    }
    let desired = desired(Some(&view), &workloads, &[]);
    let identity = |cidr| place(&desired, cidr).map(|place| place.identity);
    assert_eq!(identity("10.244.1.10/32"), Some(SecurityIdentity::UNMANAGED));
    assert_eq!(
        identity("10.244.2.9/32"),
        Some(WEB),
        "where it is registered it stays"
    );
    assert_eq!(
        desired.endpoints[&abi("10.244.1.10")].identity,
        SecurityIdentity::UNMANAGED
    );
}

#[test]
fn an_address_of_this_nodes_own_interfaces_is_no_workloads() {
    let workloads = [workload("web", "n1", &["10.244.1.1"])];
    let desired = desired(Some(&two_nodes()), &workloads, &["10.244.1.1".parse().unwrap()]);
    assert_eq!(
        place(&desired, "10.244.1.1/32"),
        Some(Place {
            identity: SecurityIdentity::HOST,
            node: NodeId(1)
        })
    );
    assert!(problems(&desired)[0].contains("belongs to the node itself"));
}

#[test]
fn a_node_cannot_announce_another_nodes_pods_or_addresses() {
    let view = view(vec![
        ("n1", node(1, &["192.0.2.1"], &["10.244.1.0/24"])),
        (
            "n2",
            node(2, &["192.0.2.2", "10.244.1.10", "192.0.2.1"], &["10.244.2.0/24"]),
        ),
    ]);
    let workloads = [workload("web", "n1", &["10.244.1.10"])];
    let desired = desired(Some(&view), &workloads, &["192.0.2.1".parse().unwrap()]);
    assert_eq!(
        place(&desired, "10.244.1.10/32"),
        Some(Place {
            identity: WEB,
            node: NodeId(1)
        })
    );
    assert_eq!(
        place(&desired, "192.0.2.1/32"),
        Some(Place {
            identity: SecurityIdentity::HOST,
            node: NodeId(1)
        })
    );
    let said = problems(&desired).join("\n");
    assert!(
        said.contains("node n2 announces 10.244.1.10, which belongs to the pods of node n1"),
        "{said}"
    );
    assert!(
        said.contains("node n2 announces 192.0.2.1, which belongs to this node"),
        "{said}"
    );
}

#[test]
fn two_nodes_with_one_block_are_reported_and_its_rest_belongs_to_neither() {
    let view = view(vec![
        ("n1", node(1, &[], &["10.244.0.0/16"])),
        ("n2", node(2, &[], &["10.244.0.0/16"])),
    ]);
    let desired = desired(Some(&view), &[], &[]);
    assert_eq!(
        place(&desired, "10.244.0.0/16"),
        Some(Place {
            identity: SecurityIdentity::UNMANAGED,
            node: NodeId::NONE
        })
    );
    assert_eq!(desired.problems.len(), 1);
}

#[test]
fn two_workloads_with_one_interface_are_both_left_out() {
    let mut other = workload("b", "n1", &["10.244.1.11"]);
    other.interface = InterfaceName::parse("sgv-a").unwrap();
    let workloads = [workload("a", "n1", &["10.244.1.10"]), other];
    let desired = desired(Some(&two_nodes()), &workloads, &[]);
    assert!(desired.endpoints.is_empty());
    assert_eq!(
        desired.reports[0].state.to_string(),
        "interface sgv-a is claimed by another workload too"
    );
}

#[test]
fn an_interface_that_is_not_there_is_waited_for() {
    let workloads = [workload("web", "n1", &["10.244.1.10"])];
    let view = two_nodes();
    let desired = Desired::new(&Inputs {
        own: &NodeName::parse("n1").unwrap(),
        view: Some(&view),
        workloads: &workloads,
        policies: &[],
        table: &RuleTable::default(),
        interfaces: &BTreeMap::new(),
        through: &BTreeMap::new(),
        own_addresses: &[],
        parking: None,
    });
    assert!(desired.endpoints.is_empty());
    assert_eq!(
        desired.reports[0].state.to_string(),
        "waiting for interface sgv-web"
    );
    assert_eq!(
        place(&desired, "10.244.1.10/32"),
        Some(Place {
            identity: WEB,
            node: NodeId(1)
        })
    );
}

#[test]
fn an_endpoint_says_what_it_is_routed_through_and_follows_when_that_changes() {
    let workloads = [workload("web", "n1", &["10.244.1.10"])];
    let view = two_nodes();
    let index = |number| Ifindex::new(number).unwrap();
    let desired = |through: &BTreeMap<Ifindex, Ifindex>| {
        Desired::new(&Inputs {
            own: &NodeName::parse("n1").unwrap(),
            view: Some(&view),
            workloads: &workloads,
            policies: &[],
            table: &RuleTable::default(),
            interfaces: &BTreeMap::from([(workloads[0].interface.clone(), index(10))]),
            through,
            own_addresses: &[],
            parking: None,
        })
    };
    let room = Capacity {
        ipcache: 100,
        endpoints: 100,
        policy: 100,
    };
    let mut kernel = KernelState::default();
    let bridged = BTreeMap::from([(index(10), index(77)), (index(11), index(78))]);
    for (through, wanted) in [(BTreeMap::new(), 0), (bridged, 77), (BTreeMap::new(), 0)] {
        for step in plan(&kernel, &desired(&through), room).unwrap() {
            kernel.apply(&step);
        }
        let written: Vec<_> = kernel
            .endpoints
            .values()
            .map(|endpoint| endpoint.through)
            .collect();
        assert_eq!(written, [wanted]);
    }
}
