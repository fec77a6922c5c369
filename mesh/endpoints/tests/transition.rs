//! While a node goes from one state to another, after every single write: nothing passes that neither state lets
//! pass, and nothing is dropped that both let pass.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::net::IpAddr;

use proptest::prelude::*;
use signet_abi::{
    ABI_VERSION, Address, NodeId, PolicyKey, PolicyValue, SecurityIdentity, Verdict, endpoint_flags,
};
use signet_endpoints::{
    Capacity, Cidr, Desired, Ifindex, Inputs, InterfaceName, KernelState, Node, PlanError, PolicySlot, Step,
    View, Workload, WorkloadAddress, WorkloadName, finish, plan,
};
use signet_policy::{
    Authentication, Direction, Effect, Entity, Identities, Judgement, LabelKey, LabelValue, Labels, Name,
    Namespace, Packet, Peer, Policy, PolicyName, PortRange, Protocol, Rule, RuleTable, Traffic, judge,
    select,
};
use signet_spiffe::{NodeName, SpiffeId, TrustDomain};

const ROOMY: Capacity = Capacity {
    ipcache: 10_000,
    endpoints: 10_000,
    policy: 100_000,
};
const ACCOUNTS: [&str; 3] = ["a", "b", "c"];
/// Addresses that are looked at: workloads of three nodes, a stranger in a block, a node, the world.
const ADDRESSES: [&str; 9] = [
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
struct World {
    view: Option<View>,
    workloads: Vec<Workload>,
    policies: Vec<Policy>,
    interfaces: BTreeMap<InterfaceName, Ifindex>,
}

impl World {
    fn desired(&self) -> Desired {
        Desired::new(&Inputs {
            own: &NodeName::parse("n1").unwrap(),
            view: self.view.as_ref(),
            workloads: &self.workloads,
            policies: &self.policies,
            table: &RuleTable::new(&self.policies).unwrap(),
            interfaces: &self.interfaces,
            through: &BTreeMap::new(),
            own_addresses: &["192.0.2.1".parse().unwrap()],
        })
    }
}

fn view() -> impl Strategy<Value = Option<View>> {
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

fn workload(slot: usize) -> impl Strategy<Value = Option<Workload>> {
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

fn rule() -> impl Strategy<Value = Rule> {
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

fn policies() -> impl Strategy<Value = Vec<Policy>> {
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

fn world() -> impl Strategy<Value = World> {
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

/// How freely the kernel lets a packet go. Ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Freedom {
    Dropped,
    WithProof,
    Free,
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    local: Address,
    remote: Address,
    direction: Direction,
    port: u16,
}

fn probes() -> Vec<Probe> {
    let address = |text: &str| Address::from(text.parse::<IpAddr>().unwrap());
    let mut probes = Vec::new();
    for local in &ADDRESSES[..3] {
        for remote in ADDRESSES {
            for direction in [Direction::Ingress, Direction::Egress] {
                for port in [80, 81, 82] {
                    probes.push(Probe {
                        local: address(local),
                        remote: address(remote),
                        direction,
                        port,
                    });
                }
            }
        }
    }
    probes
}

/// What the kernel programs do, in the order of their judgement, for a first packet.
fn freedom(kernel: &KernelState, probe: Probe) -> Freedom {
    if kernel.config.abi_version != ABI_VERSION {
        return Freedom::Dropped;
    }
    let Some(endpoint) = kernel.endpoints.get(&probe.local) else {
        return Freedom::Dropped;
    };
    let remote = kernel.identity(Cidr::host(probe.remote));
    if remote == SecurityIdentity::ANY {
        return Freedom::Dropped;
    }
    let enforced = match probe.direction {
        Direction::Ingress => endpoint_flags::INGRESS_ENFORCED,
        Direction::Egress => endpoint_flags::EGRESS_ENFORCED,
    };
    if endpoint.flags & enforced == 0 {
        return Freedom::Free;
    }
    let key = |identity| PolicyKey {
        policy: endpoint.policy,
        identity,
        direction: probe.direction as u8,
        protocol: 6,
        port: probe.port.to_be_bytes(),
    };
    let found = longest(kernel, key(remote)).or_else(|| longest(kernel, key(SecurityIdentity::ANY)));
    match found {
        Some(value) if value.verdict == Verdict::Allow as u8 => {
            if value.authentication == Authentication::Disabled as u8 {
                Freedom::Free
            } else {
                Freedom::WithProof
            }
        }
        Some(_) | None => Freedom::Dropped,
    }
}

fn longest(kernel: &KernelState, wanted: PolicyKey) -> Option<PolicyValue> {
    (PolicyKey::PREFIX_BASE..=PolicyKey::PREFIX_FULL)
        .rev()
        .find_map(|bits| {
            let port = u16::from_be_bytes(wanted.port);
            let key = if bits < PolicyKey::PREFIX_PROTOCOL {
                PolicyKey {
                    protocol: 0,
                    port: [0; 2],
                    ..wanted
                }
            } else {
                let mask = u16::MAX.checked_shl(PolicyKey::PREFIX_FULL - bits).unwrap_or(0);
                PolicyKey {
                    port: (port & mask).to_be_bytes(),
                    ..wanted
                }
            };
            kernel.policy.get(&PolicySlot { key, bits }).copied()
        })
}

fn is_held(kernel: &KernelState, probe: Probe) -> bool {
    kernel.identity(Cidr::host(probe.remote)) == SecurityIdentity::ANY
}

/// What the policies' reference says of a probe in a world, where the endpoint is set up.
fn reference(world: &World, desired: &Desired, kernel: &KernelState, probe: Probe) -> Freedom {
    let Some(report) = desired.reports.iter().find(|report| {
        report.ifindex.is_some()
            && report
                .addresses
                .iter()
                .any(|address| address.abi() == probe.local)
    }) else {
        return Freedom::Dropped;
    };
    let workload = world
        .workloads
        .iter()
        .find(|workload| workload.name == report.workload)
        .unwrap();
    let table = RuleTable::new(&world.policies).unwrap();
    let selection = select(
        &world.policies,
        &table,
        &workload.name.namespace,
        &workload.labels,
    );
    let identities = world
        .view
        .as_ref()
        .map(|view| view.identities.clone())
        .unwrap_or_default();
    let peer = kernel.identity(Cidr::host(probe.remote));
    let packet = Packet {
        direction: probe.direction,
        peer,
        protocol: 6,
        port: probe.port,
    };
    match judge(&selection, &identities, packet) {
        Judgement::NotSelected
        | Judgement::Allow {
            authentication: Authentication::Disabled,
            ..
        } => Freedom::Free,
        Judgement::Allow { .. } => Freedom::WithProof,
        Judgement::Deny { .. } | Judgement::NoRule => Freedom::Dropped,
    }
}

fn run(kernel: &mut KernelState, steps: &[Step]) {
    for step in steps {
        kernel.apply(step);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(800))]

    #[test]
    fn no_step_between_two_states_leaks_or_breaks(before in world(), after in world()) {
        let mut kernel = KernelState::default();
        let first = before.desired();
        let steps = plan(&kernel, &first, ROOMY).unwrap();
        run(&mut kernel, &steps);
        for probe in probes() {
            prop_assert_eq!(freedom(&kernel, probe), reference(&before, &first, &kernel, probe), "{:?}", probe);
        }

        let old = kernel.clone();
        let desired = after.desired();
        let steps = plan(&kernel, &desired, ROOMY).unwrap();
        let mut new = kernel.clone();
        run(&mut new, &steps);
        for (index, step) in steps.iter().enumerate() {
            kernel.apply(step);
            for probe in probes() {
                let (was, will, is) = (freedom(&old, probe), freedom(&new, probe), freedom(&kernel, probe));
                prop_assert!(is <= was.max(will), "step {index} {step:?} lets {probe:?} pass: {was:?} {is:?} {will:?}");
                let broken = is < was.min(will) && !is_held(&kernel, probe);
                prop_assert!(!broken, "step {index} {step:?} drops {probe:?}: {was:?} {is:?} {will:?}");
            }
        }
        for probe in probes() {
            prop_assert_eq!(freedom(&new, probe), reference(&after, &desired, &new, probe), "{:?}", probe);
        }
        prop_assert_eq!(plan(&new, &desired, ROOMY).unwrap(), vec![], "what is reached needs no more writes");
    }

    #[test]
    fn a_crash_after_any_step_is_made_good_by_the_next_plan(
        before in world(),
        after in world(),
        crash in any::<prop::sample::Index>(),
        judged in any::<prop::sample::Index>(),
    ) {
        let mut kernel = KernelState::default();
        let steps = plan(&kernel, &before.desired(), ROOMY).unwrap();
        run(&mut kernel, &steps);
        let desired = after.desired();
        let steps = plan(&kernel, &desired, ROOMY).unwrap();
        let done = &steps[..if steps.is_empty() { 0 } else { crash.index(steps.len()) }];
        // Every probe has a connection, whose last packet came somewhere on the way.
        let (earlier, later) = done.split_at(judged.index(done.len() + 1));
        run(&mut kernel, earlier);
        let connections: Vec<Connection> = probes().into_iter().map(|probe| Connection::judged(&kernel, probe)).collect();
        run(&mut kernel, later);
        kernel.unfinished = true;
        let rest = plan(&kernel, &desired, ROOMY).unwrap();
        run(&mut kernel, &rest);
        for connection in connections {
            let probe = connection.probe;
            let right = reference(&after, &desired, &kernel, probe);
            prop_assert_eq!(freedom(&kernel, probe), right, "a new connection, {:?}", probe);
            prop_assert_eq!(connection.freedom(&kernel), right, "a connection of epoch {}, {:?}", connection.epoch, probe);
        }
        prop_assert!(kernel.ipcache.values().all(|value| value.identity != SecurityIdentity::ANY), "nothing is held for ever");
        prop_assert_eq!(plan(&kernel, &desired, ROOMY).unwrap(), vec![]);
    }
}

/// An entry of conntrack: what a rule said, and when.
struct Connection {
    probe: Probe,
    epoch: u32,
    verdict: Freedom,
}

impl Connection {
    fn judged(kernel: &KernelState, probe: Probe) -> Self {
        Self {
            probe,
            epoch: kernel.config.policy_epoch,
            verdict: freedom(kernel, probe),
        }
    }

    /// What becomes of its next packet: as the last one, while the policy epoch is the same.
    fn freedom(&self, kernel: &KernelState) -> Freedom {
        if self.epoch == kernel.config.policy_epoch {
            self.verdict
        } else {
            freedom(kernel, self.probe)
        }
    }
}

/// A world with one workload on n1, one on n2, and these rules for ingress.
fn small_world(ingress: Option<Vec<Rule>>) -> World {
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

fn allow(account: &str) -> Rule {
    let peer = Peer::Workload {
        namespace: Namespace::parse("shop").unwrap(),
        service_account: Name::parse(account).unwrap(),
    };
    Rule::new(vec![peer], vec![], Effect::Allow(Authentication::Required)).unwrap()
}

fn reached(world: &World) -> KernelState {
    let mut kernel = KernelState::default();
    let steps = plan(&kernel, &world.desired(), ROOMY).unwrap();
    run(&mut kernel, &steps);
    kernel
}

#[test]
fn a_fresh_node_is_closed_until_the_last_write() {
    let world = small_world(None);
    let steps = plan(&KernelState::default(), &world.desired(), ROOMY).unwrap();
    assert!(matches!(steps.last(), Some(Step::SetConfig(config)) if config.abi_version == ABI_VERSION));
    assert!(
        steps
            .iter()
            .rev()
            .skip(1)
            .all(|step| !matches!(step, Step::SetConfig(_)))
    );
}

#[test]
fn a_restart_finds_everything_in_place_and_writes_nothing() {
    let world = small_world(Some(vec![allow("w2")]));
    let kernel = reached(&world);
    assert!(!kernel.policy.is_empty());
    assert_eq!(plan(&kernel, &world.desired(), ROOMY).unwrap(), []);
    let closed = small_world(Some(vec![]));
    assert_eq!(
        plan(&reached(&closed), &closed.desired(), ROOMY).unwrap(),
        [],
        "a set without entries is found too"
    );
}

#[test]
fn a_start_judges_every_connection_again_once() {
    let world = small_world(Some(vec![allow("w2")]));
    let mut kernel = reached(&world);
    kernel.unfinished = true;
    let epoch = kernel.config.policy_epoch;
    let steps = plan(&kernel, &world.desired(), ROOMY).unwrap();
    assert_eq!(steps, finish(&kernel).into_iter().collect::<Vec<_>>());
    run(&mut kernel, &steps);
    assert_eq!(kernel.config.policy_epoch, epoch + 1);
    assert_eq!(
        (plan(&kernel, &world.desired(), ROOMY).unwrap(), finish(&kernel)),
        (vec![], None)
    );
}

#[test]
fn every_change_has_its_own_policy_epoch_and_none_is_zero() {
    let mut kernel = reached(&small_world(None));
    assert_eq!(kernel.config.policy_epoch, 1);
    kernel.config.policy_epoch = u32::MAX;
    let steps = plan(&kernel, &small_world(Some(vec![])).desired(), ROOMY).unwrap();
    run(&mut kernel, &steps);
    assert_eq!(kernel.config.policy_epoch, 1);
}

#[test]
fn changed_rules_are_switched_with_one_write_and_the_old_ones_go_after_a_pause() {
    let before = small_world(Some(vec![allow("w2")]));
    let after = small_world(Some(vec![allow("w2"), allow("w1")]));
    let steps = plan(&reached(&before), &after.desired(), ROOMY).unwrap();
    let kinds: Vec<u8> = steps
        .iter()
        .map(|step| match step {
            Step::PutPolicy(..) => b'p',
            Step::PutEndpoint(..) => b'e',
            Step::SetConfig(_) => b'c',
            Step::Settle => b's',
            Step::RemovePolicy(_) => b'r',
            Step::RemoveEndpoint(_) | Step::PutIpcache(..) | Step::RemoveIpcache(_) => panic!("{step:?}"),
        })
        .collect();
    assert_eq!(String::from_utf8(kinds).unwrap(), "ppecsr");
}

#[test]
fn an_interface_that_was_made_again_only_moves_the_endpoint() {
    let mut world = small_world(Some(vec![allow("w2")]));
    let kernel = reached(&world);
    world
        .interfaces
        .insert(InterfaceName::parse("sgv-w1").unwrap(), Ifindex::new(8).unwrap());
    let steps = plan(&kernel, &world.desired(), ROOMY).unwrap();
    assert!(
        matches!(steps[..], [Step::PutEndpoint(_, endpoint), Step::SetConfig(_)] if endpoint.ifindex == 8)
    );
}

#[test]
fn a_map_without_room_is_said_before_anything_is_written() {
    let world = small_world(Some(vec![allow("w2")]));
    let kernel = reached(&world);
    let more = small_world(Some(vec![allow("w2"), allow("w1")]));
    let tight = Capacity { policy: 2, ..ROOMY };
    let error = plan(&kernel, &more.desired(), tight).unwrap_err();
    assert_eq!(
        error,
        PlanError::Full {
            map: "POLICY",
            needed: 3,
            capacity: 2
        }
    );
    assert!(error.to_string().contains("nothing was changed"));
}

#[test]
fn equal_rules_share_their_entries() {
    let mut world = small_world(Some(vec![allow("w2")]));
    let mut twin = world.workloads[0].clone();
    twin = Workload::new(
        WorkloadName {
            name: Name::parse("twin").unwrap(),
            ..twin.name
        },
        Labels::default(),
        twin.node,
        twin.service_account,
        InterfaceName::parse("sgv-twin").unwrap(),
        vec![WorkloadAddress::parse("10.244.1.11").unwrap()],
    )
    .unwrap();
    world.workloads.push(twin);
    world.interfaces.insert(
        InterfaceName::parse("sgv-twin").unwrap(),
        Ifindex::new(9).unwrap(),
    );
    let kernel = reached(&world);
    assert_eq!((kernel.endpoints.len(), kernel.policy.len()), (2, 1));
}
