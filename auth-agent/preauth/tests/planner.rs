//! Which pairs the planner begins, when, and which ones it leaves alone.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use signet_abi::{AuthKey, NodeId, SecurityIdentity};
use signet_preauth::{Bounds, Cause, Demand, End, Group, Next, Place, Planner, Standing, choose};

const SECOND: u64 = 1_000_000_000;
const HOUR: u64 = 3_600 * SECOND;

fn place(identity: u32, node: u32) -> Place {
    Place {
        identity: SecurityIdentity(identity),
        node: NodeId(node),
    }
}

fn group(locals: impl IntoIterator<Item = u32>, remotes: impl IntoIterator<Item = (u32, u32)>) -> Group {
    Group {
        locals: locals.into_iter().map(SecurityIdentity).collect(),
        remotes: remotes
            .into_iter()
            .map(|(identity, node)| place(identity, node))
            .collect(),
    }
}

fn key(local: u32, remote: u32, node: u32) -> AuthKey {
    AuthKey {
        local: SecurityIdentity(local),
        remote: SecurityIdentity(remote),
        node: NodeId(node),
    }
}

const NO_PACE: Bounds = Bounds {
    pairs: 4096,
    in_flight: 10_000,
    per_node: 10_000,
    beside_contacts: 1,
    burst: u32::MAX,
    interval: 0,
};

fn started(planner: &mut Planner, now: u64) -> Vec<AuthKey> {
    let mut keys = Vec::new();
    while let Next::Start(key) = planner.next(now, false, |_| Standing::Lacking) {
        keys.push(key);
    }
    keys
}

#[test]
fn after_a_restart_what_was_used_last_is_first() {
    let mut planner = Planner::new(NO_PACE, 7);
    planner.used(key(300, 401, 2), 10);
    planner.used(key(300, 404, 2), 30);
    planner.used(key(300, 402, 2), 20);
    planner.used(key(300, 999, 2), 40);
    planner.demand(
        Demand::new([group([300], (400..410).map(|remote| (remote, 2)))]),
        SECOND,
    );
    let order = started(&mut planner, SECOND);
    assert_eq!(order[..3], [key(300, 404, 2), key(300, 402, 2), key(300, 401, 2)]);
    assert_eq!(
        order.len(),
        10,
        "and the one that no policy makes possible is not among them"
    );
}

#[test]
fn who_has_just_come_is_before_all_others() {
    let mut planner = Planner::new(NO_PACE, 7);
    planner.used(key(300, 400, 2), 10);
    planner.demand(
        Demand::new([group([300], (400..410).map(|remote| (remote, 2)))]),
        SECOND,
    );
    // One local workload and one remote one are new.
    let remotes = (400..410).map(|remote| (remote, 2)).chain([(500, 3)]);
    planner.demand(Demand::new([group([300, 301], remotes)]), 2 * SECOND);
    let order = started(&mut planner, 2 * SECOND);
    assert_eq!(order.len(), 22);
    assert!(
        order[..12]
            .iter()
            .all(|key| key.local.0 == 301 || key.remote.0 == 500)
    );
    assert_eq!(order[12], key(300, 400, 2));
}

#[test]
fn who_flaps_is_not_first_again_and_again() {
    let mut planner = Planner::new(NO_PACE, 7);
    planner.used(key(300, 400, 2), 10);
    let with = || Demand::new([group([300], [(400, 2), (500, 3)])]);
    let without = || Demand::new([group([300], [(400, 2)])]);
    planner.demand(without(), SECOND);
    planner.demand(with(), 2 * SECOND);
    assert_eq!(started(&mut planner.clone(), 2 * SECOND)[0], key(300, 500, 3));
    for round in 2..100 {
        planner.demand(without(), round * 2 * SECOND);
        planner.demand(with(), (round * 2 + 1) * SECOND);
        assert_eq!(
            started(&mut planner.clone(), round * 3 * SECOND)[0],
            key(300, 400, 2)
        );
    }
}

#[test]
fn while_packets_wait_one_handshake_at_a_time_is_begun() {
    let mut planner = Planner::new(NO_PACE, 7);
    planner.demand(
        Demand::new([group([300], (400..410).map(|remote| (remote, 2)))]),
        0,
    );
    let lacking = |_: &AuthKey| Standing::Lacking;
    let Next::Start(first) = planner.next(0, true, lacking) else {
        panic!("one may")
    };
    assert_eq!(planner.next(0, true, lacking), Next::Nothing);
    planner.ended(first, End::Proven, 0, 0);
    assert!(matches!(planner.next(0, true, lacking), Next::Start(_)));
    assert!(
        matches!(planner.next(0, false, lacking), Next::Start(_)),
        "the contacts are over"
    );
}

#[test]
fn a_node_that_does_not_answer_costs_one_handshake_at_a_time_and_ever_fewer() {
    let mut planner = Planner::new(Bounds::default(), 7);
    let dead = (400..500).map(|remote| (remote, 2));
    planner.demand(Demand::new([group([300], dead.chain([(600, 3)]))]), 0);
    let mut attempts = 0;
    let mut proven = false;
    let mut now = 0;
    let mut flights: Vec<(u64, AuthKey)> = Vec::new();
    while now < HOUR {
        let standing = |key: &AuthKey| match key.node.0 {
            3 if proven => Standing::Settled,
            _ => Standing::Lacking,
        };
        while let Next::Start(key) = planner.next(now, false, standing) {
            if key.node == NodeId(3) {
                assert!(now < 30 * SECOND, "the living one does not wait for the dead one");
                planner.ended(key, End::Proven, now, 0);
                proven = true;
                break;
            }
            attempts += 1;
            flights.push((now + 8 * SECOND, key));
        }
        flights.retain(|(end, key)| {
            if *end <= now {
                planner.ended(*key, End::Failed(Cause::Unreachable), now, 0);
            }
            *end > now
        });
        now += SECOND / 10;
    }
    assert!(proven);
    assert!((10..100).contains(&attempts), "{attempts} in an hour");
}

#[test]
fn a_pair_that_is_refused_for_what_it_is_is_hardly_tried_and_nobody_waits_for_it() {
    let mut planner = Planner::new(Bounds::default(), 7);
    planner.demand(Demand::new([group([300], [(400, 2), (401, 2)])]), 0);
    let mut attempts = BTreeMap::<AuthKey, u32>::new();
    for tenth in 0..36_000 {
        let now = tenth * SECOND / 10;
        while let Next::Start(key) = planner.next(now, false, |_| Standing::Lacking) {
            *attempts.entry(key).or_default() += 1;
            let cause = if key.remote.0 == 400 {
                Cause::Never
            } else {
                Cause::NotYet
            };
            planner.ended(key, End::Failed(cause), now, u64::MAX / 2);
        }
    }
    assert!(attempts[&key(300, 400, 2)] <= 6, "{attempts:?}");
    assert!((10..40).contains(&attempts[&key(300, 401, 2)]), "{attempts:?}");
}

#[test]
fn a_peer_that_refuses_and_flaps_does_not_begin_anew_each_time() {
    let mut planner = Planner::new(Bounds::default(), 7);
    let mut attempts = 0;
    for tenth in 0..36_000 {
        let now = tenth * SECOND / 10;
        let remotes = if tenth % 2 == 0 {
            vec![(400, 2)]
        } else {
            Vec::new()
        };
        planner.demand(Demand::new([group([300], remotes)]), now);
        while let Next::Start(key) = planner.next(now, false, |_| Standing::Lacking) {
            attempts += 1;
            planner.ended(key, End::Failed(Cause::NotYet), now, 0);
        }
    }
    assert!(attempts < 40, "{attempts} in an hour");
}

#[test]
fn what_a_bound_of_this_node_puts_off_is_nobody_s_failure() {
    let mut planner = Planner::new(NO_PACE, 7);
    planner.demand(Demand::new([group([300], [(400, 2), (401, 2)])]), 0);
    assert_eq!(started(&mut planner, 0).len(), 2);
    let (silent, innocent) = (key(300, 400, 2), key(300, 401, 2));
    planner.ended(silent, End::Failed(Cause::Unreachable), 0, u64::MAX);
    planner.ended(innocent, End::Deferred, 0, u64::MAX);
    assert_eq!(
        started(&mut planner, SECOND / 2),
        [],
        "the node is left alone for as long as before"
    );
    planner.clear();
    planner.demand(Demand::new([group([300], [(401, 2)])]), 0);
    for second in 0..100 {
        assert_eq!(
            started(&mut planner, second * SECOND),
            [innocent],
            "second {second}"
        );
        planner.ended(innocent, End::Deferred, second * SECOND, u64::MAX);
        assert_eq!(
            planner.next(second * SECOND, false, |_| Standing::Lacking),
            Next::At((second + 1) * SECOND)
        );
    }
}

#[test]
fn what_failed_is_tried_soon_after_a_change_and_not_before() {
    for cause in [Cause::Never, Cause::Unreachable] {
        let mut planner = Planner::new(NO_PACE, 7);
        planner.demand(Demand::new([group([300], [(400, 2)])]), 0);
        let pair = key(300, 400, 2);
        assert_eq!(started(&mut planner, 0), [pair]);
        planner.ended(pair, End::Failed(cause), 0, u64::MAX);
        let now = SECOND / 4;
        // It rests.
        assert_eq!(started(&mut planner, now), []);
        planner.relent(now, || 0);
        assert_eq!(started(&mut planner, now), [], "not at once");
        assert_eq!(started(&mut planner, now + SECOND / 2), [pair], "{cause:?}");
    }
}

#[test]
fn changes_without_end_do_not_make_each_failure_the_first() {
    for cause in [Cause::Never, Cause::NotYet, Cause::Unreachable] {
        let mut planner = Planner::new(Bounds::default(), 7);
        planner.demand(Demand::new([group([300], [(400, 2)])]), 0);
        let mut attempts = 0;
        for tenth in 0..36_000 {
            let now = tenth * SECOND / 10;
            planner.relent(now, || 0);
            while let Next::Start(key) = planner.next(now, false, |_| Standing::Lacking) {
                attempts += 1;
                planner.ended(key, End::Failed(cause), now, 0);
            }
        }
        assert!((10..150).contains(&attempts), "{attempts} in an hour, {cause:?}");
    }
}

#[test]
fn a_thousand_by_a_thousand_identities_are_bounded_and_every_one_gets_its_share() {
    let demand = Demand::new([group(
        1000..2000,
        (5000..6000).map(|remote| (remote, remote % 50 + 2)),
    )]);
    assert_eq!(demand.len(), 1_000_000);
    let choice = choose(&demand, &Group::default(), [], 4096, 7);
    assert_eq!((choice.keys.len(), choice.left_out), (4096, 1_000_000 - 4096));
    let mut shares = BTreeMap::<u32, u32>::new();
    for key in &choice.keys {
        *shares.entry(key.local.0).or_default() += 1;
    }
    assert_eq!(shares.len(), 1000);
    assert!(shares.values().all(|share| (4..=5).contains(share)));
    let nodes: BTreeSet<_> = choice.keys.iter().map(|key| key.node).collect();
    assert_eq!(nodes.len(), 50, "and not all with one node");
    let other = choose(&demand, &Group::default(), [], 4096, 8);
    assert_ne!(other.keys, choice.keys, "another node begins elsewhere");
}

#[test]
fn a_proof_that_is_lost_is_made_again_and_one_that_stands_is_left_alone() {
    let mut planner = Planner::new(NO_PACE, 7);
    planner.demand(Demand::new([group([300], [(400, 2), (401, 2)])]), 0);
    for key in started(&mut planner, 0) {
        planner.ended(key, End::Proven, 0, 0);
    }
    assert_eq!(started(&mut planner, 1), []);
    planner.lost(&[key(300, 401, 2), key(300, 999, 2)]);
    assert_eq!(started(&mut planner, 2), [key(300, 401, 2)]);
    planner.look();
    let settled = |_: &AuthKey| Standing::Settled;
    assert_eq!(planner.next(3, false, settled), Next::Nothing);
    assert_eq!(planner.fill(3).waiting, 0);
}

/// Locals, and remotes with their nodes.
type Numbers = (BTreeSet<u32>, BTreeSet<(u32, u32)>);

#[derive(Clone, Debug)]
enum Op {
    Demand(Vec<Numbers>),
    Used(u32, u32, u32),
    Next(bool),
    End(usize, u8),
    Lost(u32, u32, u32),
    Look,
    Relent,
    Time(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let local = || 300_u32..306;
    let remote = || (400_u32..406, 1_u32..4);
    let groups = (
        proptest::collection::btree_set(local(), 0..4),
        proptest::collection::btree_set(remote(), 0..6),
    );
    prop_oneof![
        2 => proptest::collection::vec(groups, 0..3).prop_map(Op::Demand),
        2 => (local(), remote()).prop_map(|(local, (remote, node))| Op::Used(local, remote, node)),
        12 => any::<bool>().prop_map(Op::Next),
        6 => (0_usize..8, 0_u8..6).prop_map(|(which, how)| Op::End(which, how)),
        1 => (local(), remote()).prop_map(|(local, (remote, node))| Op::Lost(local, remote, node)),
        1 => Just(Op::Look),
        1 => Just(Op::Relent),
        4 => (0_u64..3 * SECOND).prop_map(Op::Time),
    ]
}

proptest! {
    #[test]
    fn bounds_hold_whatever_happens(ops in proptest::collection::vec(op(), 1..200), random in any::<u64>()) {
        let bounds = Bounds { pairs: 12, in_flight: 4, per_node: 2, beside_contacts: 1, burst: 3, interval: SECOND / 10 };
        let mut planner = Planner::new(bounds, random);
        let mut demand = Demand::default();
        let mut now = SECOND;
        let mut flights: Vec<AuthKey> = Vec::new();
        let mut starts: Vec<u64> = Vec::new();
        for op in ops {
            match op {
                Op::Demand(groups) => {
                    demand = Demand::new(groups.into_iter().map(|(locals, remotes)| group(locals, remotes)));
                    planner.demand(demand.clone(), now);
                }
                Op::Used(local, remote, node) => planner.used(key(local, remote, node), now),
                Op::Next(contacts) => {
                    if let Next::Start(key) = planner.next(now, contacts, |_| Standing::Lacking) {
                        prop_assert!(demand.contains(&key), "only what is possible");
                        prop_assert!(!flights.contains(&key), "one handshake per pair");
                        prop_assert!(!contacts || flights.is_empty(), "contacts go first");
                        flights.push(key);
                        starts.push(now);
                    }
                }
                Op::End(which, how) => {
                    if !flights.is_empty() {
                        let key = flights.remove(which % flights.len());
                        let end = match how {
                            0 => End::Proven,
                            1 => End::Taken,
                            2 => End::Failed(Cause::Unreachable),
                            3 => End::Failed(Cause::NotYet),
                            4 => End::Deferred,
                            _ => End::Failed(Cause::Never),
                        };
                        planner.ended(key, end, now, random);
                    }
                }
                Op::Lost(local, remote, node) => planner.lost(&[key(local, remote, node)]),
                Op::Look => planner.look(),
                Op::Relent => planner.relent(now, || random),
                Op::Time(step) => now += step,
            }
            prop_assert!(flights.len() <= bounds.in_flight);
            for node in 1..4 {
                let with = flights.iter().filter(|key| key.node == NodeId(node)).count();
                prop_assert!(with <= bounds.per_node);
            }
            let fill = planner.fill(now);
            prop_assert!(fill.chosen <= bounds.pairs && fill.waiting <= fill.chosen);
            prop_assert_eq!(fill.in_flight, flights.len());
        }
        for (at, start) in starts.iter().enumerate() {
            let burst = usize::try_from(bounds.burst).expect("small");
            if let Some(later) = starts.get(at + burst) {
                prop_assert!(later - start >= bounds.interval, "paced");
            }
        }
    }

    #[test]
    fn everything_that_is_possible_is_begun_in_the_end(
        remotes in proptest::collection::btree_set((400_u32..460, 1_u32..8), 1..60),
        random in any::<u64>(),
    ) {
        let bounds = Bounds::default();
        let mut planner = Planner::new(bounds, random);
        let wanted = remotes.len() * 2;
        planner.demand(Demand::new([group([300, 301], remotes)]), 0);
        let mut proven = BTreeSet::new();
        let mut now = 0;
        while now < 60 * SECOND {
            let standing = |key: &AuthKey| if proven.contains(key) { Standing::Settled } else { Standing::Lacking };
            match planner.next(now, false, standing) {
                Next::Start(key) => {
                    planner.ended(key, End::Proven, now, random);
                    proven.insert(key);
                }
                Next::At(at) => {
                    prop_assert!(at > now, "no spinning");
                    now = at;
                }
                Next::Nothing => break,
            }
        }
        prop_assert_eq!(proven.len(), wanted);
    }
}
