//! Which pairs are worth a proof before anybody asks.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use signet_abi::{NodeId, SecurityIdentity};
use signet_endpoints::{
    Cidr, Desired, Ifindex, Inputs, InterfaceName, Node, Pairs, View, Workload, WorkloadAddress,
    WorkloadName, Worth,
};
use signet_policy::{
    Action, Authentication, Effect, Entity, Identities, Labels, Name, Namespace, Peer, Policy, PolicyName,
    Rule, RuleTable,
};
use signet_spiffe::{NodeName, SpiffeId, TrustDomain};

/// Service account, node, last part of the address. The number of the account is 256 and its place in [`ACCOUNTS`].
const WORKLOADS: [(&str, &str, u8); 6] = [
    ("web", "n1", 10),
    ("batch", "n1", 11),
    ("client", "n2", 10),
    ("client", "n3", 10),
    ("other", "n2", 11),
    ("unknown", "n2", 12),
];
const ACCOUNTS: [&str; 4] = ["web", "batch", "client", "other"];

fn number(account: &str) -> u32 {
    256 + u32::try_from(ACCOUNTS.iter().position(|known| *known == account).unwrap()).unwrap()
}

fn view() -> View {
    let domain = TrustDomain::parse("cluster.local").unwrap();
    let mut identities = Identities::new(domain.clone());
    let mut places = BTreeMap::new();
    for account in ACCOUNTS {
        let id = SpiffeId::workload(&domain, "shop", account).unwrap();
        identities.insert(id.clone(), SecurityIdentity(number(account)));
        let on = WORKLOADS.iter().filter(|(its, ..)| *its == account);
        places.insert(
            id,
            on.map(|(_, node, _)| NodeName::parse(node).unwrap())
                .collect::<BTreeSet<_>>(),
        );
    }
    let node = |id: u32| Node {
        id: NodeId(id),
        addresses: vec![format!("192.0.2.{id}").parse().unwrap()],
        pod_cidrs: vec![Cidr::parse(&format!("10.244.{id}.0/24")).unwrap()],
    };
    View {
        nodes: (1..4)
            .map(|id| (NodeName::parse(&format!("n{id}")).unwrap(), node(id)))
            .collect(),
        identities,
        places,
        ..View::default()
    }
}

fn workloads() -> Vec<Workload> {
    let workload = |(at, (account, node, last)): (usize, &(&str, &str, u8))| {
        Workload::new(
            WorkloadName {
                namespace: Namespace::parse("shop").unwrap(),
                name: Name::parse(&format!("w{at}")).unwrap(),
            },
            Labels::default(),
            NodeName::parse(node).unwrap(),
            Name::parse(account).unwrap(),
            InterfaceName::parse(&format!("sgv-{at}")).unwrap(),
            vec![WorkloadAddress::parse(&format!("10.244.{}.{last}", &node[1..])).unwrap()],
        )
        .unwrap()
    };
    WORKLOADS.iter().enumerate().map(workload).collect()
}

fn account(name: &str) -> Peer {
    Peer::Workload {
        namespace: Namespace::parse("shop").unwrap(),
        service_account: Name::parse(name).unwrap(),
    }
}

fn required(peers: Vec<Peer>) -> Rule {
    Rule::new(peers, vec![], Effect::Allow(Authentication::Required)).unwrap()
}

fn with(peers: Vec<Peer>, effect: Effect) -> Rule {
    Rule::new(peers, vec![], effect).unwrap()
}

/// Local account, remote account, node.
type Pair = (u32, u32, u32);

fn pairs(ingress: Option<Vec<Rule>>, egress: Option<Vec<Rule>>, worth: Worth) -> BTreeSet<Pair> {
    let (workloads, view) = (workloads(), view());
    let policy = Policy {
        name: PolicyName {
            namespace: Namespace::parse("shop").unwrap(),
            name: Name::parse("p").unwrap(),
        },
        selector: Labels::default(),
        ingress,
        egress,
    };
    let policies = [policy];
    let own = NodeName::parse("n1").unwrap();
    let interfaces: BTreeMap<_, _> = workloads
        .iter()
        .filter(|workload| workload.node == own)
        .zip(10..)
        .map(|(workload, index)| (workload.interface.clone(), Ifindex::new(index).unwrap()))
        .collect();
    let desired = Desired::new(&Inputs {
        own: &own,
        view: Some(&view),
        workloads: &workloads,
        policies: &policies,
        table: &RuleTable::new(&policies).unwrap(),
        interfaces: &interfaces,
        through: &BTreeMap::new(),
        own_addresses: &[],
        parking: None,
    });
    let pairs = Pairs::of(&desired, worth);
    assert!(!pairs.cut);
    let all = pairs.groups.iter().flat_map(|group| {
        group.locals.iter().flat_map(|local| {
            group
                .remotes
                .iter()
                .map(|place| (local.0, place.identity.0, place.node.0))
        })
    });
    all.collect()
}

fn with_both(remotes: &[(&str, u32)]) -> BTreeSet<Pair> {
    let each = |local: &'static str| {
        remotes
            .iter()
            .map(move |(remote, node)| (number(local), number(remote), *node))
    };
    each("web").chain(each("batch")).collect()
}

#[test]
fn whom_a_rule_names_on_every_node_where_it_lives() {
    let found = pairs(Some(vec![required(vec![account("client")])]), None, Worth::Asked);
    assert_eq!(found, with_both(&[("client", 2), ("client", 3)]));
}

#[test]
fn rules_for_leaving_ask_as_well() {
    let found = pairs(None, Some(vec![required(vec![account("other")])]), Worth::Asked);
    assert_eq!(found, with_both(&[("other", 2)]));
}

#[test]
fn a_rule_for_everyone_means_everyone_with_an_identity_but_those_who_are_let_in_without_or_denied() {
    let rules = vec![
        required(vec![Peer::Entity(Entity::All)]),
        with(
            vec![account("client")],
            Effect::new(Action::Deny, Authentication::Disabled).unwrap(),
        ),
    ];
    let found = pairs(Some(rules), None, Worth::Asked);
    assert_eq!(found, with_both(&[("web", 1), ("batch", 1), ("other", 2)]));
}

#[test]
fn without_a_rule_that_asks_there_is_none_and_all_means_all() {
    let open = || {
        Some(vec![with(
            vec![account("client")],
            Effect::Allow(Authentication::Disabled),
        )])
    };
    assert_eq!(pairs(open(), None, Worth::Asked), BTreeSet::new());
    let never = Some(vec![with(
        vec![account("client")],
        Effect::Allow(Authentication::AlwaysFail),
    )]);
    assert_eq!(pairs(never, None, Worth::Asked), BTreeSet::new());
    let all = [
        ("web", 1),
        ("batch", 1),
        ("client", 2),
        ("client", 3),
        ("other", 2),
    ];
    assert_eq!(pairs(open(), None, Worth::Every), with_both(&all));
}

#[test]
fn nodes_are_among_them_where_a_rule_names_them_and_a_proof_lets_something_pass() {
    let (host, remote) = (SecurityIdentity::HOST.0, SecurityIdentity::REMOTE_NODE.0);
    let entity = |entity| Some(vec![required(vec![Peer::Entity(entity)])]);
    let found = |ingress, egress| {
        let found = pairs(ingress, egress, Worth::Asked);
        let web = found.into_iter().filter(|(local, ..)| *local == number("web"));
        web.map(|(_, remote, node)| (remote, node)).collect::<Vec<_>>()
    };
    assert_eq!(found(entity(Entity::Host), None), [(host, 1)]);
    assert_eq!(found(None, entity(Entity::Host)), [(host, 1)]);
    assert_eq!(
        found(None, entity(Entity::RemoteNode)),
        [(remote, 2), (remote, 3)]
    );
    assert_eq!(
        found(entity(Entity::RemoteNode), None),
        [],
        "refused all the same"
    );
    let everyone = found(entity(Entity::All), entity(Entity::All));
    assert!(
        everyone.iter().all(|(identity, _)| *identity >= 256),
        "{everyone:?}"
    );
    let without = Some(vec![with(
        vec![Peer::Entity(Entity::Host)],
        Effect::Allow(Authentication::Disabled),
    )]);
    assert_eq!(found(without, None), []);
}
