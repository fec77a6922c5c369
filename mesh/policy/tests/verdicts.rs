//! Each sentence about policies, as an example with a known outcome.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use signet_abi::SecurityIdentity;
use signet_policy::{
    Authentication, CompileError, Direction, Effect, Entity, Identities, Judgement, Labels, Name, Namespace,
    Packet, Peer, Policy, PolicyName, PortRange, Protocol, Rule, RuleName, RuleTable, Traffic, compile,
    judge, select,
};
use signet_spiffe::{SpiffeId, TrustDomain};

const CLIENT: SecurityIdentity = SecurityIdentity(256);
const OTHER: SecurityIdentity = SecurityIdentity(257);

fn identities() -> Identities {
    let domain = TrustDomain::parse("cluster.local").unwrap();
    let mut identities = Identities::new(domain.clone());
    identities.insert(SpiffeId::workload(&domain, "shop", "client").unwrap(), CLIENT);
    identities.insert(SpiffeId::workload(&domain, "shop", "other").unwrap(), OTHER);
    identities
}

fn client() -> Peer {
    Peer::Workload {
        namespace: Namespace::parse("shop").unwrap(),
        service_account: Name::parse("client").unwrap(),
    }
}

fn all() -> Peer {
    Peer::Entity(Entity::All)
}

fn tcp(port: u16) -> Traffic {
    Traffic::new(Some(Protocol::Tcp), Some(PortRange::single(port).unwrap())).unwrap()
}

fn allow(mode: Authentication, peer: Peer, traffic: &[Traffic]) -> Rule {
    Rule::new(vec![peer], traffic.to_vec(), Effect::Allow(mode)).unwrap()
}

fn deny(peer: Peer, traffic: &[Traffic]) -> Rule {
    Rule::new(vec![peer], traffic.to_vec(), Effect::Deny).unwrap()
}

fn policy(name: &str, ingress: Vec<Rule>) -> Policy {
    Policy {
        name: PolicyName {
            namespace: Namespace::parse("shop").unwrap(),
            name: Name::parse(name).unwrap(),
        },
        selector: Labels::default(),
        ingress: Some(ingress),
        egress: None,
    }
}

/// The verdict for TCP from a peer to a port, and the index of the rule in "shop/web"; reference and compiled
/// entries must agree.
fn verdict(policies: &[Policy], peer: SecurityIdentity, port: u16) -> (Judgement, Option<String>) {
    let table = RuleTable::new(policies).unwrap();
    let identities = identities();
    let selection = select(
        policies,
        &table,
        &Namespace::parse("shop").unwrap(),
        &Labels::default(),
    );
    let packet = Packet {
        direction: Direction::Ingress,
        peer,
        protocol: 6,
        port,
    };
    let judged = judge(&selection, &identities, packet);
    if judged != Judgement::NotSelected {
        assert_eq!(compile(&selection, &identities).unwrap().decide(packet), judged);
    }
    let rule = match judged {
        Judgement::Allow { rule, .. } | Judgement::Deny { rule } => table.name(rule).map(ToString::to_string),
        Judgement::NoRule | Judgement::NotSelected => None,
    };
    (judged, rule)
}

fn mode(judgement: Judgement) -> Option<Authentication> {
    match judgement {
        Judgement::Allow { authentication, .. } => Some(authentication),
        Judgement::Deny { .. } | Judgement::NoRule | Judgement::NotSelected => None,
    }
}

#[test]
fn an_endpoint_that_no_policy_selects_is_open() {
    assert_eq!(verdict(&[], CLIENT, 80).0, Judgement::NotSelected);
    let elsewhere = Policy {
        name: PolicyName {
            namespace: Namespace::parse("bank").unwrap(),
            name: Name::parse("web").unwrap(),
        },
        ..policy("web", vec![])
    };
    assert_eq!(verdict(&[elsewhere], CLIENT, 80).0, Judgement::NotSelected);
}

#[test]
fn an_empty_list_of_rules_closes_the_direction() {
    assert_eq!(verdict(&[policy("web", vec![])], CLIENT, 80).0, Judgement::NoRule);
}

#[test]
fn a_policy_for_egress_leaves_ingress_open() {
    let egress_only = Policy {
        ingress: None,
        egress: Some(vec![]),
        ..policy("web", vec![])
    };
    assert_eq!(verdict(&[egress_only], CLIENT, 80).0, Judgement::NotSelected);
}

#[test]
fn deny_beats_allow_in_another_policy_and_with_a_shorter_prefix() {
    let open = policy(
        "open",
        vec![allow(Authentication::Disabled, client(), &[tcp(80)])],
    );
    let shut = policy("shut", vec![deny(all(), &[])]);
    let (judged, rule) = verdict(&[open, shut], CLIENT, 80);
    assert!(matches!(judged, Judgement::Deny { .. }));
    assert_eq!(rule.as_deref(), Some("shop/shut ingress[0]"));
}

#[test]
fn the_strictest_authentication_among_matching_rules_wins() {
    let lax = policy("lax", vec![allow(Authentication::Disabled, client(), &[tcp(80)])]);
    let strict = policy("strict", vec![allow(Authentication::Required, all(), &[])]);
    let (judged, rule) = verdict(&[lax.clone(), strict.clone()], CLIENT, 80);
    assert_eq!(mode(judged), Some(Authentication::Required));
    assert_eq!(rule.as_deref(), Some("shop/strict ingress[0]"));
    let never = policy(
        "never",
        vec![allow(Authentication::AlwaysFail, client(), &[tcp(80)])],
    );
    let (judged, _) = verdict(&[lax, strict, never], CLIENT, 80);
    assert_eq!(mode(judged), Some(Authentication::AlwaysFail));
    assert!(!judged.may_pass());
}

#[test]
fn a_named_peer_also_has_what_everyone_has() {
    let rules = vec![
        allow(Authentication::Required, client(), &[tcp(80)]),
        allow(Authentication::Disabled, all(), &[tcp(443)]),
    ];
    let policies = [policy("web", rules)];
    assert_eq!(
        mode(verdict(&policies, CLIENT, 443).0),
        Some(Authentication::Disabled)
    );
    assert_eq!(
        mode(verdict(&policies, CLIENT, 80).0),
        Some(Authentication::Required)
    );
    assert_eq!(verdict(&policies, OTHER, 80).0, Judgement::NoRule);
    assert_eq!(verdict(&policies, CLIENT, 81).0, Judgement::NoRule);
}

#[test]
fn cluster_is_everyone_but_the_world() {
    let policies = [policy(
        "web",
        vec![allow(
            Authentication::Disabled,
            Peer::Entity(Entity::Cluster),
            &[],
        )],
    )];
    for inside in [
        CLIENT,
        SecurityIdentity::HOST,
        SecurityIdentity::UNMANAGED,
        SecurityIdentity(9999),
    ] {
        assert_eq!(
            mode(verdict(&policies, inside, 80).0),
            Some(Authentication::Disabled)
        );
    }
    assert_eq!(
        verdict(&policies, SecurityIdentity::WORLD, 80).0,
        Judgement::NoRule
    );
}

#[test]
fn the_world_keeps_its_own_rules_beside_cluster() {
    let policies = [policy(
        "web",
        vec![
            allow(Authentication::Disabled, Peer::Entity(Entity::Cluster), &[]),
            allow(Authentication::Disabled, Peer::Entity(Entity::World), &[tcp(443)]),
        ],
    )];
    assert_eq!(
        mode(verdict(&policies, SecurityIdentity::WORLD, 443).0),
        Some(Authentication::Disabled)
    );
    assert_eq!(
        verdict(&policies, SecurityIdentity::WORLD, 80).0,
        Judgement::NoRule
    );
}

#[test]
fn before_the_trust_domain_is_known_a_workload_peer_is_nobody() {
    let policies = [policy(
        "web",
        vec![allow(Authentication::Disabled, client(), &[])],
    )];
    let table = RuleTable::new(&policies).unwrap();
    let selection = select(
        &policies,
        &table,
        &Namespace::parse("shop").unwrap(),
        &Labels::default(),
    );
    let nobody = Identities::default();
    let packet = Packet {
        direction: Direction::Ingress,
        peer: CLIENT,
        protocol: 6,
        port: 80,
    };
    assert_eq!(judge(&selection, &nobody, packet), Judgement::NoRule);
    assert!(compile(&selection, &nobody).unwrap().is_empty());
}

#[test]
fn an_entry_that_repeats_its_parent_is_left_out() {
    let policies = [policy(
        "web",
        vec![allow(
            Authentication::Disabled,
            client(),
            &[Traffic::ANY, tcp(80)],
        )],
    )];
    let table = RuleTable::new(&policies).unwrap();
    let selection = select(
        &policies,
        &table,
        &Namespace::parse("shop").unwrap(),
        &Labels::default(),
    );
    assert_eq!(compile(&selection, &identities()).unwrap().len(), 1);
}

#[test]
fn more_entries_than_the_bound_are_refused() {
    let worst = Traffic::new(None, Some(PortRange::new(1, 65534).unwrap())).unwrap();
    let domain = TrustDomain::parse("cluster.local").unwrap();
    let mut identities = Identities::new(domain.clone());
    let peers: Vec<Peer> = (0..300_u32)
        .map(|index| {
            let id = SpiffeId::workload(&domain, "shop", &format!("w{index}")).unwrap();
            identities.insert(id.clone(), SecurityIdentity(256 + index));
            Peer::SpiffeId(id)
        })
        .collect();
    let rules = peers
        .chunks(200)
        .map(|peers| {
            Rule::new(
                peers.to_vec(),
                vec![worst],
                Effect::Allow(Authentication::Disabled),
            )
            .unwrap()
        })
        .collect();
    let policies = [policy("web", rules)];
    let table = RuleTable::new(&policies).unwrap();
    let selection = select(
        &policies,
        &table,
        &Namespace::parse("shop").unwrap(),
        &Labels::default(),
    );
    assert_eq!(
        compile(&selection, &identities),
        Err(CompileError::TooManyEntries)
    );
}

#[test]
fn rules_are_named_by_the_order_in_their_policy() {
    let rules = vec![
        deny(client(), &[tcp(22)]),
        allow(Authentication::Disabled, client(), &[]),
    ];
    let policies = [policy("web", rules)];
    let table = RuleTable::new(&policies).unwrap();
    let (_, rule) = verdict(&policies, CLIENT, 22);
    assert_eq!(rule.as_deref(), Some("shop/web ingress[0]"));
    let name = RuleName {
        policy: policies[0].name.clone(),
        direction: Direction::Ingress,
        index: 1,
    };
    assert!(table.number(&name).is_some());
}
