//! Worlds: what a node's state follows from, drawn at random or small and known.

use std::collections::BTreeMap;

use proptest::prelude::*;
use signet_abi::{NodeId, SecurityIdentity};
use signet_endpoints::{
    Cidr, Desired, Ifindex, Inputs, InterfaceName, Node, View, Workload, WorkloadAddress, WorkloadName,
};
use signet_policy::{
    Authentication, Effect, Entity, Identities, LabelKey, LabelValue, Labels, Name, Namespace, Peer, Policy,
    PolicyName, PortRange, Protocol, Rule, RuleTable, Traffic,
};
use signet_spiffe::{NodeName, SpiffeId, TrustDomain};

const ACCOUNTS: [&str; 3] = ["a", "b", "c"];
/// Addresses that are looked at: workloads of three nodes, a stranger in a block, a node, the world.
pub(crate) const ADDRESSES: [&str; 9] = [
    "10.244.1.10",
    "10.244.1.11",
    "10.244.1.12",
    "10.244.2.10",
    "10.244.2.11",
    "10.244.3.10",
    "10.244.2.99",
    "192.0.2.2",
    "198.51.100.7",
];

#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) view: Option<View>,
    pub(crate) workloads: Vec<Workload>,
    pub(crate) policies: Vec<Policy>,
    pub(crate) interfaces: BTreeMap<InterfaceName, Ifindex>,
}

impl World {
    pub(crate) fn desired(&self) -> Desired {
        Desired::new(&Inputs {
            own: &NodeName::parse("n1").unwrap(),
            view: self.view.as_ref(),
            workloads: &self.workloads,
            policies: &self.policies,
            table: &RuleTable::new(&self.policies).unwrap(),
            interfaces: &self.interfaces,
            through: &BTreeMap::new(),
            own_addresses: &["192.0.2.1".parse().unwrap()],
            parking: None,
        })
    }
}

pub(crate) fn view() -> impl Strategy<Value = Option<View>> {
    let nodes = proptest::collection::vec(proptest::bool::weighted(0.8), 3);
    // Where each account is registered: mostly everywhere, sometimes nowhere.
    let places = prop_oneof![
        5 => Just(vec!["n1", "n2", "n3"]),
        3 => proptest::sample::subsequence(vec!["n1", "n2", "n3"], 0..3),
    ];
    let identities = proptest::collection::vec(places, 3);
    let view = (nodes, identities).prop_map(|(nodes, identities)| {
        let domain = TrustDomain::parse("cluster.local").unwrap();
        let mut view = View {
            identities: Identities::new(domain.clone()),
            ..View::default()
        };
        for (number, _) in (1_u32..).zip(nodes).filter(|(_, present)| *present) {
            let node = Node {
                id: NodeId(number),
                addresses: vec![format!("192.0.2.{number}").parse().unwrap()],
                pod_cidrs: vec![Cidr::parse(&format!("10.244.{number}.0/24")).unwrap()],
            };
            view.nodes
                .insert(NodeName::parse(&format!("n{number}")).unwrap(), node);
        }
        for ((account, number), nodes) in ACCOUNTS
            .iter()
            .zip(256..)
            .zip(identities)
            .filter(|(_, nodes)| !nodes.is_empty())
        {
            let id = SpiffeId::workload(&domain, "shop", account).unwrap();
            view.identities.insert(id.clone(), SecurityIdentity(number));
            let nodes = nodes.iter().map(|node| NodeName::parse(node).unwrap());
            view.places.insert(id, nodes.collect());
        }
        view
    });
    proptest::option::weighted(0.9, view)
}

pub(crate) fn workload(slot: usize) -> impl Strategy<Value = Option<Workload>> {
    let parts = (
        proptest::sample::select(&ACCOUNTS[..]),
        0_usize..8,
        prop_oneof![Just("x"), Just("y")],
    );
    let workload = parts.prop_map(move |(account, address, label)| {
        // Mostly an address of its own; sometimes that of a neighbour, or one outside its node's block.
        let address = ADDRESSES[if address < 6 {
            slot
        } else {
            (slot + address) % ADDRESSES.len()
        }];
        let node = ["n1", "n1", "n1", "n2", "n2", "n3"][slot];
        let name = format!("w{slot}");
        Workload::new(
            WorkloadName {
                namespace: Namespace::parse("shop").unwrap(),
                name: Name::parse(&name).unwrap(),
            },
            [(LabelKey::parse("app").unwrap(), LabelValue::parse(label).unwrap())]
                .into_iter()
                .collect(),
            NodeName::parse(node).unwrap(),
            Name::parse(account).unwrap(),
            InterfaceName::parse(&format!("sgv-{name}")).unwrap(),
            vec![WorkloadAddress::parse(address).unwrap()],
        )
        .unwrap()
    });
    proptest::option::weighted(0.8, workload)
}

pub(crate) fn rule() -> impl Strategy<Value = Rule> {
    let entity = proptest::sample::select(&Entity::EVERY[..]).prop_map(Peer::Entity);
    let workload = proptest::sample::select(&ACCOUNTS[..]).prop_map(|account| Peer::Workload {
        namespace: Namespace::parse("shop").unwrap(),
        service_account: Name::parse(account).unwrap(),
    });
    let effect = prop_oneof![
        3 => Just(Effect::Allow(Authentication::Disabled)),
        2 => Just(Effect::Allow(Authentication::Required)),
        2 => Just(Effect::Deny),
    ];
    let traffic = prop_oneof![Just(None), Just(Some(80)), Just(Some(81))].prop_map(|port: Option<u16>| {
        let tcp = |port| Traffic::new(Some(Protocol::Tcp), Some(PortRange::single(port).unwrap())).unwrap();
        port.map(tcp).into_iter().collect::<Vec<_>>()
    });
    (prop_oneof![1 => entity, 2 => workload], traffic, effect)
        .prop_map(|(peer, traffic, effect)| Rule::new(vec![peer], traffic, effect).unwrap())
}

pub(crate) fn policies() -> impl Strategy<Value = Vec<Policy>> {
    let rules = |weight| proptest::option::weighted(weight, proptest::collection::vec(rule(), 0..4));
    let label = proptest::option::of(prop_oneof![Just("x"), Just("y")]);
    proptest::collection::vec((rules(0.8), rules(0.4), label), 0..3).prop_map(|parts| {
        let policy = |(index, (ingress, egress, label)): (usize, (_, _, Option<&str>))| Policy {
            name: PolicyName {
                namespace: Namespace::parse("shop").unwrap(),
                name: Name::parse(&format!("p{index}")).unwrap(),
            },
            selector: label
                .map(|value| (LabelKey::parse("app").unwrap(), LabelValue::parse(value).unwrap()))
                .into_iter()
                .collect::<Labels>(),
            ingress,
            egress,
        };
        parts.into_iter().enumerate().map(policy).collect()
    })
}

pub(crate) fn world() -> impl Strategy<Value = World> {
    let workloads = (
        workload(0),
        workload(1),
        workload(2),
        workload(3),
        workload(4),
        workload(5),
    );
    let interfaces = proptest::collection::vec(proptest::option::weighted(0.8, 10_u32..14), 3);
    (view(), workloads, policies(), interfaces).prop_map(|(view, w, policies, interfaces)| World {
        view,
        workloads: [w.0, w.1, w.2, w.3, w.4, w.5].into_iter().flatten().collect(),
        policies,
        interfaces: interfaces
            .into_iter()
            .enumerate()
            .filter_map(|(slot, index)| {
                Some((
                    InterfaceName::parse(&format!("sgv-w{slot}")).unwrap(),
                    Ifindex::new(index?).unwrap(),
                ))
            })
            .collect(),
    })
}

/// A world with one workload on n1, one on n2, and these rules for ingress.
pub(crate) fn small_world(ingress: Option<Vec<Rule>>) -> World {
    let domain = TrustDomain::parse("cluster.local").unwrap();
    let mut view = View {
        identities: Identities::new(domain.clone()),
        ..View::default()
    };
    for number in 1..=2_u32 {
        let node = Node {
            id: NodeId(number),
            addresses: vec![],
            pod_cidrs: vec![Cidr::parse(&format!("10.244.{number}.0/24")).unwrap()],
        };
        view.nodes
            .insert(NodeName::parse(&format!("n{number}")).unwrap(), node);
        let id = SpiffeId::workload(&domain, "shop", &format!("w{number}")).unwrap();
        view.identities.insert(id.clone(), SecurityIdentity(255 + number));
        view.places
            .insert(id, [NodeName::parse(&format!("n{number}")).unwrap()].into());
    }
    let workload = |number: u32| {
        Workload::new(
            WorkloadName {
                namespace: Namespace::parse("shop").unwrap(),
                name: Name::parse(&format!("w{number}")).unwrap(),
            },
            Labels::default(),
            NodeName::parse(&format!("n{number}")).unwrap(),
            Name::parse(&format!("w{number}")).unwrap(),
            InterfaceName::parse(&format!("sgv-w{number}")).unwrap(),
            vec![WorkloadAddress::parse(&format!("10.244.{number}.10")).unwrap()],
        )
        .unwrap()
    };
    let policy = |rules| Policy {
        name: PolicyName {
            namespace: Namespace::parse("shop").unwrap(),
            name: Name::parse("p").unwrap(),
        },
        selector: Labels::default(),
        ingress: Some(rules),
        egress: None,
    };
    World {
        view: Some(view),
        workloads: vec![workload(1), workload(2)],
        policies: ingress.map(policy).into_iter().collect(),
        interfaces: [(InterfaceName::parse("sgv-w1").unwrap(), Ifindex::new(7).unwrap())]
            .into_iter()
            .collect(),
    }
}

pub(crate) fn allow(account: &str) -> Rule {
    let peer = Peer::Workload {
        namespace: Namespace::parse("shop").unwrap(),
        service_account: Name::parse(account).unwrap(),
    };
    Rule::new(vec![peer], vec![], Effect::Allow(Authentication::Required)).unwrap()
}
