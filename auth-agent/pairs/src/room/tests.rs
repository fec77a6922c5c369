use signet_abi::{NodeId, SecurityIdentity};

use super::*;

const NOW: u64 = 1_000 * SECOND;

fn key(local: u32) -> AuthKey {
    AuthKey {
        local: SecurityIdentity(local),
        remote: SecurityIdentity(900),
        node: NodeId(2),
    }
}

/// Used so many seconds ago, and good for so many more.
fn proof(local: u32, idle: u64, left: i64) -> (AuthKey, AuthValue) {
    let value = AuthValue {
        not_after: NOW.saturating_add_signed(left * SECOND.cast_signed()),
        used: NOW - idle * SECOND,
        ..AuthValue::default()
    };
    (key(local), value)
}

fn found(room: &mut Room) -> Vec<u32> {
    std::iter::from_fn(|| room.candidate())
        .map(|key| key.local.0)
        .collect()
}

fn room(slots: usize) -> Room {
    let mut room = Room::default();
    let _ = room.measure(0, slots);
    room
}

#[test]
fn what_has_ended_gives_way_first_then_the_oldest_unused_and_never_one_at_work() {
    let mut room = room(8);
    let entries = [
        proof(300, 40, 60),
        proof(301, 29, 60),
        proof(302, 500, 60),
        // It has ended: that it was used a moment ago counts for nothing.
        proof(303, 0, -1),
        proof(304, 0, 60),
        proof(305, 30, 60),
        proof(306, 600, 60),
    ];
    room.search(&entries, |spared| *spared == key(306), NOW);
    assert_eq!(found(&mut room), [303, 302, 300, 305]);
}

#[test]
fn one_that_was_used_again_before_its_turn_does_not_give_way() {
    let (_, mut value) = proof(300, 40, 60);
    assert!(may_give_way(&value, NOW));
    value.used = NOW - SECOND;
    assert!(!may_give_way(&value, NOW));
    // The clock of the programs is the same, but read on another processor.
    value.used = NOW + SECOND;
    assert!(!may_give_way(&value, NOW));
    value.used = NOW - GRACE;
    assert!(may_give_way(&value, NOW), "at the end of the grace");
    assert!(!may_give_way(&value, NOW - 1), "and not before");
}

#[test]
fn a_search_that_finds_nobody_is_not_repeated_before_somebody_may_give_way() {
    let mut room = room(2);
    assert!(room.is_worth_a_search(NOW));
    room.search(&[proof(300, 10, 60), proof(301, 20, 60)], |_| false, NOW);
    assert_eq!(room.candidate(), None);
    assert!(!room.is_worth_a_search(NOW + 10 * SECOND - 1));
    assert!(room.is_worth_a_search(NOW + 10 * SECOND));
    // A larger map, which may hold anything.
    let _ = room.measure(2, 3);
    assert!(room.is_worth_a_search(NOW));
    // All are spared: they may land at any time, but the map is not searched all the time.
    room.search(
        &[proof(300, 90, 60), proof(301, 1, 60)],
        |spared| *spared == key(300),
        NOW,
    );
    assert!(!room.is_worth_a_search(NOW) && room.is_worth_a_search(NOW + SEARCH_GAP));
    // Nor where it is worth it.
    room.search(&[proof(300, 90, 60)], |_| false, NOW);
    assert!(room.candidate().is_some());
    assert!(!room.is_worth_a_search(NOW) && room.is_worth_a_search(NOW + SEARCH_GAP));
    // A map of half a million is searched more seldom.
    let _ = room.measure(2, 524_288);
    room.search(&[proof(300, 90, 60)], |_| false, NOW);
    assert!(!room.is_worth_a_search(NOW + 5 * SECOND) && room.is_worth_a_search(NOW + 6 * SECOND));
}

#[test]
fn newcomers_are_turned_away_for_a_moment_after_one_found_no_room() {
    let mut room = room(2);
    assert!(!room.is_closed(NOW));
    room.search(&[proof(300, 1, 60), proof(301, 2, 60)], |_| false, NOW);
    room.close(NOW);
    assert!(room.is_closed(NOW) && room.is_closed(NOW + SECOND - 1) && !room.is_closed(NOW + SECOND));
    // Somebody has left.
    room.freed();
    assert!(!room.is_closed(NOW));
    // Somebody may give way sooner.
    let later = NOW + 28 * SECOND - 5;
    room.close(later);
    assert!(room.is_closed(later + 4) && !room.is_closed(later + 5));
    room.close(NOW);
    let _ = room.measure(2, 4);
    assert!(!room.is_closed(NOW), "a larger map");
}

#[test]
fn a_search_remembers_a_share_of_a_large_map_and_the_oldest_of_it() {
    let mut room = room(3_200);
    let entries: Vec<_> = (0..3_200)
        .map(|n| proof(n, 50 + u64::from(n % 800), 60))
        .collect();
    room.search(&entries, |_| false, NOW);
    let mut candidates = found(&mut room);
    assert_eq!(candidates.len(), 200);
    assert_eq!(candidates[..4], [799, 1_599, 2_399, 3_199]);
    candidates.sort_unstable_by_key(|n| n % 800);
    assert_eq!(
        candidates[0] % 800,
        750,
        "none younger than the oldest two hundred"
    );
}

#[test]
fn pressure_is_told_at_four_fifths_and_at_ninety_five_of_a_hundred_and_over_five_below() {
    let mut room = Room::default();
    let told: Vec<_> = [0, 79, 80, 94, 95, 100, 91, 90, 89, 81, 76, 75, 74, 79, 95, 10]
        .into_iter()
        .filter_map(|taken| Some((taken, room.measure(taken, 100)?)))
        .collect();
    assert_eq!(
        told,
        [
            (80, Pressure::High),
            (95, Pressure::Critical),
            (89, Pressure::High),
            (74, Pressure::None),
            (95, Pressure::Critical),
            (10, Pressure::None),
        ]
    );
    assert_eq!(room.measure(0, 0), Some(Pressure::Critical), "a map without room");
    assert_eq!(room.measure(usize::MAX, usize::MAX), None);
}
