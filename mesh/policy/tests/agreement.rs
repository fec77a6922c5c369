//! The compiled entries, found by longest prefix, answer every packet as the reference does.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use signet_abi::{PolicyId, PolicyKey, PolicyValue, SecurityIdentity, Verdict};
use signet_policy::{
    Action, Authentication, Compiled, Direction, Effect, Entity, Identities, Judgement, LabelKey, LabelValue,
    Labels, Name, Namespace, Packet, Peer, Policy, PolicyName, PortRange, Protocol, Rule, RuleTable, Traffic,
    compile, judge, select,
};
use signet_spiffe::{SpiffeId, TrustDomain};

const ACCOUNTS: [&str; 4] = ["client", "web", "api", "unregistered"];

fn identities() -> Identities {
    let domain = TrustDomain::parse("cluster.local").unwrap();
    let mut identities = Identities::new(domain.clone());
    for (account, number) in ACCOUNTS[..3].iter().zip(256..) {
        identities.insert(
            SpiffeId::workload(&domain, "shop", account).unwrap(),
            SecurityIdentity(number),
        );
    }
    identities
}

fn peer() -> impl Strategy<Value = Peer> {
    let entity = proptest::sample::select(&Entity::EVERY[..]).prop_map(Peer::Entity);
    let workload = proptest::sample::select(&ACCOUNTS[..]).prop_map(|account| Peer::Workload {
        namespace: Namespace::parse("shop").unwrap(),
        service_account: Name::parse(account).unwrap(),
    });
    let id = proptest::sample::select(&ACCOUNTS[..]).prop_map(|account| {
        let domain = TrustDomain::parse("cluster.local").unwrap();
        Peer::SpiffeId(SpiffeId::workload(&domain, "shop", account).unwrap())
    });
    prop_oneof![entity, workload, id]
}

fn small_port() -> impl Strategy<Value = u16> {
    prop_oneof![8 => 1_u16..40, 1 => 1_u16..]
}

fn traffic() -> impl Strategy<Value = Traffic> {
    let range = (small_port(), small_port()).prop_map(|(a, b)| PortRange::new(a.min(b), a.max(b)).unwrap());
    (
        proptest::option::of(proptest::sample::select(&Protocol::ALL[..])),
        proptest::option::of(range),
    )
        .prop_map(|(protocol, ports)| {
            Traffic::new(protocol, ports).unwrap_or_else(|_| Traffic::new(protocol, None).unwrap())
        })
}

fn effect() -> impl Strategy<Value = Effect> {
    prop_oneof![
        3 => Just(Authentication::Disabled).prop_map(|mode| Effect::new(Action::Allow, mode).unwrap()),
        2 => Just(Effect::Allow(Authentication::Required)),
        1 => Just(Effect::Allow(Authentication::RequiredOrRejected)),
        1 => Just(Effect::Allow(Authentication::AlwaysFail)),
        1 => Just(Effect::Deny),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    (
        proptest::collection::vec(peer(), 1..4),
        proptest::collection::vec(traffic(), 0..4),
        effect(),
    )
        .prop_map(|(peers, traffic, effect)| Rule::new(peers, traffic, effect).unwrap())
}

fn policies() -> impl Strategy<Value = Vec<Policy>> {
    let rules = || proptest::option::weighted(0.8, proptest::collection::vec(rule(), 0..5));
    proptest::collection::vec((rules(), rules(), proptest::bool::weighted(0.8)), 0..4).prop_map(|parts| {
        let label = |key, value| (LabelKey::parse(key).unwrap(), LabelValue::parse(value).unwrap());
        let policy = |(index, (ingress, egress, selects)): (usize, (_, _, bool))| Policy {
            name: PolicyName {
                namespace: Namespace::parse("shop").unwrap(),
                name: Name::parse(&format!("p{index}")).unwrap(),
            },
            selector: if selects {
                Labels::default()
            } else {
                [label("app", "other")].into_iter().collect()
            },
            ingress,
            egress,
        };
        parts.into_iter().enumerate().map(policy).collect()
    })
}

fn packet() -> impl Strategy<Value = Packet> {
    (
        prop_oneof![Just(Direction::Ingress), Just(Direction::Egress)],
        proptest::sample::select(vec![1_u32, 2, 3, 6, 256, 257, 258, 300]),
        proptest::sample::select(vec![1_u8, 6, 17, 58, 132]),
        prop_oneof![9 => 0_u16..45, 1 => any::<u16>()],
    )
        .prop_map(|(direction, peer, protocol, port)| Packet {
            direction,
            peer: SecurityIdentity(peer),
            protocol,
            port,
        })
}

/// The kernel's map and what its programs do with it, written from the layout alone.
struct Trie(BTreeMap<(u32, [u8; 12]), PolicyValue>);

impl Trie {
    fn new(compiled: &Compiled) -> Self {
        let entry = |(bits, key, value)| ((bits, bytes(key)), value);
        Self(compiled.to_abi(PolicyId(7)).map(entry).collect())
    }

    fn longest(&self, key: PolicyKey) -> Option<PolicyValue> {
        let wanted = bytes(key);
        (0..=PolicyKey::PREFIX_FULL).rev().find_map(|bits| {
            let mut masked = [0; 12];
            for bit in 0..bits as usize {
                masked[bit / 8] |= wanted[bit / 8] & (0x80 >> (bit % 8));
            }
            self.0.get(&(bits, masked)).copied()
        })
    }

    fn judge(&self, packet: Packet) -> (bool, u8, u32) {
        let key = |identity| PolicyKey {
            policy: PolicyId(7),
            identity,
            direction: packet.direction as u8,
            protocol: packet.protocol,
            port: packet.port.to_be_bytes(),
        };
        let found = self
            .longest(key(packet.peer))
            .or_else(|| self.longest(key(SecurityIdentity::ANY)));
        found.map_or((false, 0, 0), |value| {
            (
                value.verdict == Verdict::Allow as u8,
                value.authentication,
                value.rule,
            )
        })
    }
}

/// The key as it lies in memory; the prefix counts its bits from the first.
fn bytes(key: PolicyKey) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&key.policy.0.to_ne_bytes());
    bytes[4..8].copy_from_slice(&key.identity.0.to_ne_bytes());
    bytes[8] = key.direction;
    bytes[9] = key.protocol;
    bytes[10..].copy_from_slice(&key.port);
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn compiled_entries_agree_with_the_reference(
        policies in policies(),
        packets in proptest::collection::vec(packet(), 40),
    ) {
        let identities = identities();
        let table = RuleTable::new(&policies).unwrap();
        let namespace = Namespace::parse("shop").unwrap();
        let selection = select(&policies, &table, &namespace, &Labels::default());
        let compiled = compile(&selection, &identities).unwrap();
        let trie = Trie::new(&compiled);
        for packet in packets {
            let expected = judge(&selection, &identities, packet);
            if expected == Judgement::NotSelected {
                prop_assert_eq!(compiled.find(packet), None);
                continue;
            }
            prop_assert_eq!(compiled.decide(packet), expected, "{:?} of {:?}", packet, compiled);
            let in_kernel = match expected {
                Judgement::Allow { authentication, rule } => (true, authentication as u8, rule.get()),
                Judgement::Deny { rule } => (false, 0, rule.get()),
                Judgement::NoRule | Judgement::NotSelected => (false, 0, 0),
            };
            prop_assert_eq!(trie.judge(packet), in_kernel);
        }
    }
}
