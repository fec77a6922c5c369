//! What of nodes' claims is believed, step by step.

#![expect(clippy::expect_used, reason = "helpers of tests: what fails here is the test")]

mod bench;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use proptest::prelude::*;
use signet_abi::{Lease, LeaseEnd, LeaseKey, NodeId, SecurityIdentity};
use signet_lease::{BookError, Facts as _, News, Refusal, Table, TableError, Write};
use signet_session::{ADDRESSES, Group};

use crate::bench::{Bench, Kernel, LATER, NOW, address, end, group, id, key, lease, node};

#[test]
fn what_a_node_says_of_its_own_is_believed_until_its_grant_ends() {
    let mut bench = Bench::new();
    assert!(
        bench
            .says(2, &[group(400, &["10.244.2.10", "10.244.2.11"])])
            .is_empty()
    );
    assert_eq!(bench.has("10.244.2.10"), Some(lease(400, 2)));
    let covers = |bench: &Bench, now| bench.book.covers(NodeId(2), SecurityIdentity(400), now);
    assert!(!covers(&bench, NOW), "not granted yet");
    bench.grants(2, LATER);
    assert_eq!(bench.kernel.ends.get(&end(2)), Some(&LATER));
    assert!(covers(&bench, NOW) && !covers(&bench, LATER));
    assert!(!bench.book.covers(NodeId(2), SecurityIdentity(401), NOW));
    assert!(!bench.book.covers(NodeId(3), SecurityIdentity(400), NOW));
    bench.grants(2, NOW + 1);
    assert_eq!(bench.kernel.ends.get(&end(2)), Some(&LATER), "never shortened");
    assert_eq!(bench.tick(LATER), [News::Lapsed { node: node(2) }]);
    assert!(bench.tick(LATER + 1).is_empty(), "told once");
}

#[test]
fn a_change_takes_away_before_it_adds_and_an_identity_can_change_in_place() {
    let mut bench = Bench::new();
    bench.says(2, &[group(400, &["10.244.2.10", "10.244.2.11"])]);
    bench.changes(
        2,
        &["10.244.2.10"],
        &[group(401, &["10.244.2.10", "10.244.2.12"])],
    );
    assert_eq!(bench.has("10.244.2.10"), Some(lease(401, 2)));
    assert_eq!(bench.has("10.244.2.11"), Some(lease(400, 2)));
    assert_eq!(bench.has("10.244.2.12"), Some(lease(401, 2)));
    bench.changes(2, &["10.244.2.11"], &[]);
    assert_eq!(bench.has("10.244.2.11"), None);
    assert!(!bench.book.covers(NodeId(2), SecurityIdentity(400), NOW));
}

#[test]
fn a_change_that_cannot_be_is_refused_and_changes_nothing() {
    let mut bench = Bench::new();
    bench.says(2, &[group(400, &["10.244.2.10"])]);
    let refused = |bench: &mut Bench, withdrawn: &[&str], added: &[Group]| {
        let withdrawn: Vec<IpAddr> = withdrawn.iter().map(|text| address(text)).collect();
        bench
            .book
            .change((node(2), 1), &withdrawn, added.to_vec(), &bench.world, NOW)
            .expect_err("refused")
    };
    let before = bench.book.digest(node(2));
    assert_eq!(
        refused(&mut bench, &["10.244.2.99"], &[]),
        BookError::Table(TableError::NotThere(address("10.244.2.99")))
    );
    assert_eq!(
        refused(&mut bench, &[], &[group(401, &["10.244.2.10"])]),
        BookError::Table(TableError::Twice(address("10.244.2.10")))
    );
    let many = Group {
        id: id(400),
        addresses: (0..=u32::try_from(ADDRESSES).expect("small"))
            .map(|number| IpAddr::from((0x0b00_0000 + number).to_be_bytes()))
            .collect(),
    };
    assert_eq!(
        refused(&mut bench, &[], &[many]),
        BookError::Table(TableError::TooMany)
    );
    assert_eq!(bench.book.digest(node(2)), before);
    assert_eq!(bench.has("10.244.2.10"), Some(lease(400, 2)));
}

#[test]
fn a_node_speaks_for_its_own_identities_and_addresses_alone() {
    let mut bench = Bench::new();
    let news = bench.says(
        2,
        &[
            group(300, &["10.244.2.20"]),
            group(400, &["10.244.1.10", "10.244.2.10"]),
            group(999, &["10.244.2.30"]),
        ],
    );
    bench.grants(2, LATER);
    let why = |text: &str| {
        let address = address(text);
        news.iter().find_map(|news| match news {
            News::Refused { address: of, why, .. } if *of == address => Some(why.clone()),
            News::Refused { .. } | News::Conflict { .. } | News::Resolved { .. } | News::Lapsed { .. } => {
                None
            }
        })
    };
    assert_eq!(
        why("10.244.2.20"),
        Some(Refusal::NotRegistered),
        "another node's identity"
    );
    assert_eq!(
        why("10.244.2.30"),
        Some(Refusal::NotRegistered),
        "nobody's identity"
    );
    assert_eq!(
        why("10.244.1.10"),
        Some(Refusal::NotItsAddress),
        "another node's address"
    );
    assert_eq!(bench.kernel.leases, [(key("10.244.2.10"), lease(400, 2))].into());
    assert_eq!(bench.book.refused(), 3);
    // A claim that is not entitled stands in nobody's way.
    assert!(bench.says(1, &[group(300, &["10.244.1.10"])]).is_empty());
    assert_eq!(bench.has("10.244.1.10"), Some(lease(300, 1)));
    assert_eq!(bench.book.conflicts(), 0);
}

#[test]
fn of_two_nodes_that_claim_one_address_neither_is_believed_until_one_withdraws_it() {
    let mut bench = Bench::new();
    bench.says(2, &[group(400, &["10.244.2.10"])]);
    bench.grants(2, LATER);
    bench.says(3, &[group(500, &["10.244.2.10", "10.244.3.10"])]);
    // What was not granted yet takes nothing away.
    assert_eq!(bench.has("10.244.2.10"), Some(lease(400, 2)));
    let news = bench.grants(3, LATER);
    let conflict = News::Conflict {
        address: address("10.244.2.10"),
        nodes: vec![node(2), node(3)],
    };
    assert!(news.contains(&conflict), "{news:?}");
    assert_eq!(bench.has("10.244.2.10"), None);
    assert_eq!(bench.has("10.244.3.10"), Some(lease(500, 3)), "its others stay");
    assert_eq!(bench.book.conflicts(), 1);
    let both: Vec<_> = bench
        .book
        .report(&bench.world, NOW)
        .into_iter()
        .filter_map(|entry| entry.refusal)
        .collect();
    assert_eq!(
        both,
        [Refusal::Conflict(vec![node(3)]), Refusal::Conflict(vec![node(2)])]
    );
    let news = bench.changes(3, &["10.244.2.10"], &[]);
    assert_eq!(
        news,
        [News::Resolved {
            address: address("10.244.2.10")
        }]
    );
    assert_eq!(bench.has("10.244.2.10"), Some(lease(400, 2)));
    assert_eq!((bench.book.conflicts(), bench.book.refused()), (0, 0));
}

#[test]
fn a_conflict_ends_with_the_word_of_one_and_comes_back_with_it() {
    let mut bench = Bench::new();
    for number in [2, 3] {
        bench.says(number, &[group(400, &["10.244.2.10"])]);
        bench.grants(number, LATER + u64::from(number));
    }
    assert_eq!(bench.has("10.244.2.10"), None);
    bench.tick(LATER + 2);
    assert_eq!(
        bench.has("10.244.2.10"),
        Some(lease(400, 3)),
        "node 2 has fallen silent"
    );
    bench.grants(2, LATER + 1000);
    assert_eq!(bench.has("10.244.2.10"), None, "it speaks again");
    bench.world.members.remove(&3);
    bench.review();
    assert_eq!(
        bench.has("10.244.2.10"),
        Some(lease(400, 2)),
        "the other one was banned"
    );
}

#[test]
fn the_conflict_is_there_before_the_word_counts() {
    let mut bench = Bench::new();
    bench.says(2, &[group(400, &["10.244.2.10"])]);
    bench.grants(2, LATER);
    bench.says(3, &[group(400, &["10.244.2.10"])]);
    let effects = bench
        .book
        .grant((node(3), 1), LATER, &bench.world, NOW)
        .expect("taken");
    assert_eq!(
        effects.writes,
        [Write::Remove(key("10.244.2.10")), Write::Extend(end(3), LATER)]
    );
}

#[test]
fn this_nodes_own_addresses_are_nobody_elses() {
    let mut bench = Bench::new();
    bench.says(2, &[group(400, &["10.244.2.10"])]);
    bench.grants(2, LATER);
    let effects = bench.book.own([address("10.244.2.10")].into(), &bench.world, NOW);
    bench.kernel.take(effects);
    assert_eq!(bench.has("10.244.2.10"), None);
    let effects = bench.book.own(BTreeSet::new(), &bench.world, NOW);
    bench.kernel.take(effects);
    assert_eq!(bench.has("10.244.2.10"), Some(lease(400, 2)));
}

#[test]
fn a_banned_node_loses_its_leases_and_its_word_at_once_and_is_not_heard() {
    let mut bench = Bench::new();
    bench.says(2, &[group(400, &["10.244.2.10"])]);
    bench.grants(2, LATER);
    bench.world.members.remove(&2);
    bench.review();
    assert_eq!(bench.kernel, Kernel::default());
    bench.says(2, &[group(400, &["10.244.2.10"])]);
    bench.grants(2, LATER);
    assert_eq!(bench.kernel, Kernel::default());
    assert!(bench.book.report(&bench.world, NOW).is_empty());
}

#[test]
fn what_the_operator_changes_is_judged_anew_without_the_node() {
    let mut bench = Bench::new();
    bench.says(2, &[group(400, &["10.244.2.10"]), group(401, &["10.244.2.11"])]);
    bench.grants(2, LATER);
    bench.world.registered.remove(&(2, 400));
    bench.review();
    assert_eq!(bench.has("10.244.2.10"), None);
    assert_eq!(bench.has("10.244.2.11"), Some(lease(401, 2)));
    bench.world.registered.insert((2, 400));
    bench.world.blocks.remove(&(2, [10, 244, 2]));
    bench.review();
    assert!(bench.kernel.leases.is_empty());
    bench.world.blocks.insert((2, [10, 244, 2]));
    bench.review();
    assert_eq!(bench.kernel.leases.len(), 2, "back, without a word of the node");
}

#[test]
fn an_older_session_is_not_heard_any_more() {
    let mut bench = Bench::new();
    bench.book.open(node(2), 7);
    let groups = vec![group(400, &["10.244.2.10"])];
    let old = bench.book.table((node(2), 6), groups.clone(), &bench.world, NOW);
    assert!(matches!(old, Err(BookError::Superseded(_))));
    assert!(bench.book.grant((node(2), 6), LATER, &bench.world, NOW).is_err());
    assert!(
        bench
            .book
            .change((node(2), 6), &[], groups.clone(), &bench.world, NOW)
            .is_err()
    );
    bench
        .book
        .table((node(2), 7), groups, &bench.world, NOW)
        .expect("the present one");
}

#[test]
fn what_a_node_said_before_it_was_rebooted_counts_no_more() {
    let mut bench = Bench::new();
    bench.says(2, &[group(400, &["10.244.2.10", "10.244.2.11"])]);
    bench.grants(2, LATER);
    bench.says(3, &[group(500, &["10.244.3.10"])]);
    bench.grants(3, LATER);
    let effects = bench.book.rebooted((node(2), 7), &bench.world, NOW);
    bench.kernel.take(effects);
    assert_eq!(bench.has("10.244.2.10"), None);
    assert_eq!(bench.has("10.244.2.11"), None);
    assert_eq!(bench.kernel.ends.get(&end(2)), None);
    assert!(!bench.book.covers(NodeId(2), SecurityIdentity(400), NOW));
    assert_eq!(bench.book.digest(node(2)), None, "it is asked for all of it");
    // Its last words of before are not heard, and nobody else's are touched.
    let late = vec![group(400, &["10.244.2.10"])];
    assert!(bench.book.table((node(2), 6), late, &bench.world, NOW).is_err());
    assert_eq!(bench.has("10.244.3.10"), Some(lease(500, 3)));
    assert_eq!(bench.kernel.ends.get(&end(3)), Some(&LATER));
    // What an earlier run of this agent has left of it goes as well.
    let mut bench = Bench::new();
    let left = [(key("10.244.2.10"), lease(400, 2))];
    let until = [(end(2), LeaseEnd { not_after: LATER })];
    let effects = bench.book.adopt(&left, &until, &bench.world, NOW);
    bench.kernel.leases.extend(left);
    bench.kernel.ends.insert(end(2), LATER);
    bench.kernel.take(effects);
    assert_eq!(bench.has("10.244.2.10"), Some(lease(400, 2)));
    let effects = bench.book.rebooted((node(2), 1), &bench.world, NOW);
    bench.kernel.take(effects);
    assert_eq!(
        (bench.has("10.244.2.10"), bench.kernel.ends.get(&end(2))),
        (None, None)
    );
}

#[test]
fn an_earlier_runs_leases_go_on_and_no_longer_than_they_were_granted() {
    let mut bench = Bench::new();
    let left = [
        (key("10.244.2.10"), lease(400, 2)),
        (key("10.244.2.99"), lease(300, 2)),
        (key("10.244.1.10"), lease(300, 7)),
        (key("10.244.1.11"), lease(9_999, 1)),
    ];
    let ends = [(end(2), LATER), (end(7), LATER)].map(|(key, not_after)| (key, LeaseEnd { not_after }));
    bench.kernel.leases = left.into();
    bench.kernel.ends = ends.iter().map(|(key, end)| (*key, end.not_after)).collect();
    let effects = bench.book.adopt(&left, &ends, &bench.world, NOW);
    bench.kernel.take(effects);
    assert_eq!(bench.kernel.leases, [(key("10.244.2.10"), lease(400, 2))].into());
    assert_eq!(bench.kernel.ends, [(end(2), LATER)].into());
    assert!(bench.book.covers(NodeId(2), SecurityIdentity(400), NOW));
    assert!(!bench.book.covers(NodeId(2), SecurityIdentity(400), LATER));
    // The node says the same, and something else.
    bench.says(2, &[group(400, &["10.244.2.10"])]);
    assert_eq!(bench.has("10.244.2.10"), Some(lease(400, 2)));
    bench.says(2, &[group(400, &["10.244.2.11"])]);
    assert_eq!(bench.kernel.leases, [(key("10.244.2.11"), lease(400, 2))].into());
}

#[test]
fn what_has_found_no_room_is_no_lease_and_is_tried_again() {
    let mut bench = Bench::new();
    bench.says(2, &[group(400, &["10.244.2.10"])]);
    bench.grants(2, LATER);
    bench.book.unwritten(key("10.244.2.10"));
    bench.kernel.leases.clear();
    assert!(!bench.book.covers(NodeId(2), SecurityIdentity(400), NOW));
    assert_eq!(bench.book.without_room(), 1);
    let effects = bench.book.retry(&bench.world, NOW);
    bench.kernel.take(effects);
    assert_eq!(bench.has("10.244.2.10"), Some(lease(400, 2)));
    assert_eq!(bench.book.without_room(), 0);
}

#[test]
fn another_numbering_voids_everything_and_the_nodes_are_asked_anew() {
    let mut bench = Bench::new();
    bench.says(2, &[group(400, &["10.244.2.10"])]);
    bench.grants(2, LATER);
    let effects = bench.book.clear();
    bench.kernel.take(effects);
    assert_eq!(bench.kernel, Kernel::default());
    assert_eq!(bench.book.digest(node(2)), None, "so that the whole table comes");
    bench.changes(2, &["10.244.2.10"], &[]);
    assert_eq!(bench.kernel, Kernel::default());
}

#[test]
fn digests_are_equal_where_tables_are() {
    let table = |groups: &[Group]| Table::new(groups.to_vec()).expect("a table");
    let one = table(&[group(300, &["10.0.0.1", "fd00::1"]), group(400, &["10.0.0.2"])]);
    let same = table(&[
        group(400, &["10.0.0.2"]),
        group(300, &["fd00::1"]),
        group(300, &["10.0.0.1"]),
    ]);
    assert_eq!(one.digest(), same.digest());
    let others = [
        table(&[group(300, &["10.0.0.1", "fd00::1", "10.0.0.2"])]),
        table(&[group(300, &["10.0.0.1"]), group(400, &["10.0.0.2"])]),
        table(&[]),
    ];
    for other in others {
        assert_ne!(one.digest(), other.digest());
    }
}

proptest! {
    #[test]
    fn a_change_leads_from_any_table_to_any_other(
        before in prop::collection::btree_map(0..40_u8, 300..304_u32, 0..30),
        after in prop::collection::btree_map(0..40_u8, 300..304_u32, 0..30),
    ) {
        let table = |map: BTreeMap<u8, u32>| {
            Table::of(map.into_iter().map(|(last, workload)| (IpAddr::from([10, 0, 0, last]), id(workload))).collect())
        };
        let (before, after) = (table(before), table(after));
        let (withdrawn, added) = before.change_to(&after);
        prop_assert_eq!(before.changed(&withdrawn, added), Ok(after));
    }

    /// Whatever nodes say and the operator does: the kernel has a lease only where exactly one node whose word counts may
    /// claim the address and does, and the book knows what the kernel has.
    #[test]
    fn the_kernel_has_what_one_entitled_node_says_and_nothing_else(
        steps in prop::collection::vec((0..7_u8, 1..4_u32, 0..4_u8, 0..6_u32), 1..60),
    ) {
        let mut bench = Bench::new();
        let mut said: BTreeMap<u32, BTreeMap<IpAddr, u32>> = BTreeMap::new();
        let mut ends: BTreeMap<u32, u64> = BTreeMap::new();
        for (kind, number, last, pick) in steps {
            let block = [1, 2, 2, 3][usize::from(last)];
            let at = IpAddr::from([10, 244, block, last]);
            let workload = [300, 400, 401, 500, 400, 999][usize::try_from(pick).expect("small")];
            let is_member = bench.world.members.contains(&number);
            match kind {
                0..=2 => {
                    let mut table = said.get(&number).cloned().unwrap_or_default();
                    if kind == 0 { table.remove(&at); } else { table.insert(at, workload); }
                    let groups: Vec<Group> = table.iter().map(|(at, workload)| Group { id: id(*workload), addresses: vec![*at] }).collect();
                    bench.says(number, &groups);
                    if is_member { said.insert(number, table); }
                }
                3 => {
                    let until = bench.now + u64::from(pick) * 10;
                    bench.grants(number, until);
                    if is_member && said.contains_key(&number) {
                        let end = ends.entry(number).or_default();
                        *end = (*end).max(until);
                    }
                }
                4 => { let now = bench.now + u64::from(pick) * 7; bench.tick(now); }
                5 => {
                    if !bench.world.members.remove(&number) { bench.world.members.insert(number); }
                    bench.review();
                    if !bench.world.members.contains(&number) { said.remove(&number); ends.remove(&number); }
                }
                _ => {
                    let place = (number, workload);
                    if !bench.world.registered.remove(&place) { bench.world.registered.insert(place); }
                    bench.review();
                }
            }
            let written: BTreeMap<LeaseKey, Lease> = bench.book.written().collect();
            prop_assert_eq!(&written, &bench.kernel.leases);
            let live = |number: &u32| ends.get(number).is_some_and(|end| bench.now < *end);
            for (key, lease) in &bench.kernel.leases {
                let at = IpAddr::from(key.0);
                let entitled: BTreeSet<u32> = said.iter().filter(|(number, table)| {
                    table.get(&at).is_some_and(|workload| bench.world.registered.contains(&(**number, *workload)))
                        && bench.world.has_address(node(**number), at)
                }).map(|(number, _)| *number).collect();
                let claimed = said.get(&lease.node.0).and_then(|table| table.get(&at));
                prop_assert_eq!(claimed, Some(&lease.identity.0), "{} as it said last", at);
                prop_assert!(entitled.contains(&lease.node.0));
                let rivals = entitled.iter().filter(|number| **number != lease.node.0 && live(number)).count();
                prop_assert!(rivals == 0 || !live(&lease.node.0), "{} is claimed by {:?}", at, entitled);
            }
            for (key, end) in &bench.kernel.ends {
                prop_assert_eq!(ends.get(&key.0.0), Some(end));
            }
        }
    }
}
