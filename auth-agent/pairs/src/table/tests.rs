use signet_abi::SecurityIdentity;

use super::*;

fn key(local: u32, node: u32) -> AuthKey {
    AuthKey {
        local: SecurityIdentity(local),
        remote: SecurityIdentity(900),
        node: NodeId(node),
    }
}

fn until(not_after: u64) -> Made {
    Made { not_after, of: None }
}

#[test]
fn a_revoked_proof_is_gone_with_its_reason_and_may_be_made_anew_at_once() {
    let mut table = table();
    let _ = table.proven(key(256, 1), until(1000), 0, 0);
    let _ = table.proven(key(257, 1), until(1000), 0, 0);
    let judge = |key: &AuthKey, _: &Pair| (key.local.0 == 256).then(|| "leaked".to_owned());
    assert_eq!(table.revoke(10, judge), vec![key(256, 1)]);
    assert!(table.revoke(11, judge).is_empty(), "once");
    assert_eq!(table.proofs().count(), 1);
    // Not even once its node has gone.
    assert_eq!(table.sweep(12, |_| false), vec![key(257, 1)]);
    let pair = table.get(&key(256, 1)).expect("remembered");
    assert_eq!(pair.failure.as_deref(), Some("leaked"));
    assert_eq!(table.request(key(256, 1), 13, 13), Decision::Start);
    let value = table.succeeded(key(256, 1), until(1000), 14, 0);
    assert_eq!(value.epoch, 2);
}

fn table() -> Table {
    Table::new(Bounds {
        in_flight: 3,
        per_node: 2,
        pairs: 4,
    })
}

#[test]
fn signals_of_a_pair_in_flight_join_it() {
    let mut table = table();
    assert_eq!(table.request(key(256, 1), 0, 0), Decision::Start);
    assert_eq!(table.request(key(256, 1), 5, 5), Decision::Joined);
}

#[test]
fn a_proof_answers_until_it_expires() {
    let mut table = table();
    table.request(key(256, 1), 10, 20);
    let value = table.succeeded(key(256, 1), until(1000), 50, 0);
    assert_eq!((value.not_after, value.epoch), (1000, 1));
    assert_eq!(table.get(&key(256, 1)).expect("known").latency, 40);
    assert_eq!(table.request(key(256, 1), 60, 60), Decision::Proven);
    assert_eq!(table.request(key(256, 1), 1000, 1000), Decision::Start);
    assert_eq!(
        table.succeeded(key(256, 1), until(2000), 1010, 0).epoch,
        2,
        "epochs count on"
    );
}

#[test]
fn failures_back_off_and_a_success_forgets_them() {
    let mut table = table();
    table.request(key(256, 1), 0, 0);
    table.failed(key(256, 1), "no".to_owned(), 0, u64::MAX);
    assert_eq!(
        table.request(key(256, 1), 1, 1),
        Decision::Refused(Refusal::Backoff)
    );
    let later = 200_000_000;
    assert_eq!(table.request(key(256, 1), later, later), Decision::Start);
    table.failed(key(256, 1), "no".to_owned(), later, u64::MAX);
    assert_eq!(
        table.request(key(256, 1), 2 * later, 2 * later),
        Decision::Refused(Refusal::Backoff),
        "longer"
    );
    let value = table.proven(key(256, 1), until(10 * later), 2 * later, 0);
    assert_eq!(value.epoch, 1);
    let pair = table.get(&key(256, 1)).expect("known");
    assert_eq!((pair.failure.as_deref(), pair.failures), (None, 2));
}

#[test]
fn a_forgiven_pair_may_try_again_at_once_and_one_in_flight_stays_in_flight() {
    let mut table = table();
    for number in [256, 257] {
        table.request(key(number, 1), 0, 0);
    }
    table.failed(key(256, 1), "no".to_owned(), 0, u64::MAX);
    table.forgive();
    assert_eq!(table.request(key(257, 1), 1, 1), Decision::Joined);
    assert_eq!(table.request(key(256, 1), 1, 1), Decision::Start);
}

#[test]
fn handshakes_are_bounded_per_node_and_in_total_and_landing_makes_room() {
    let mut table = table();
    assert_eq!(table.request(key(256, 1), 0, 0), Decision::Start);
    assert_eq!(table.request(key(257, 1), 0, 0), Decision::Start);
    assert_eq!(
        table.request(key(258, 1), 0, 0),
        Decision::Refused(Refusal::Busy),
        "per node"
    );
    assert_eq!(table.request(key(256, 2), 0, 0), Decision::Start);
    assert_eq!(
        table.request(key(256, 3), 0, 0),
        Decision::Refused(Refusal::Busy),
        "total"
    );
    table.failed(key(256, 1), "no".to_owned(), 0, 0);
    assert_eq!(table.request(key(258, 1), 0, 0), Decision::Start);
    let _ = table.succeeded(key(258, 1), until(9), 0, 0);
    let _ = table.succeeded(key(257, 1), until(9), 0, 0);
    assert_eq!(
        table.request(key(400, 4), 0, 0),
        Decision::Refused(Refusal::Busy),
        "pairs remembered"
    );
}

#[test]
fn a_full_table_forgets_failures_and_neither_proofs_nor_what_is_under_way() {
    let mut table = table();
    for (number, at) in [(256, 5), (257, 3)] {
        table.request(key(number, 1), at, at);
        table.failed(key(number, 1), "no".to_owned(), at, 0);
    }
    let _ = table.proven(key(258, 2), until(100), 0, 0);
    assert_eq!(table.request(key(259, 3), 6, 6), Decision::Start);
    assert_eq!(table.request(key(260, 3), 7, 7), Decision::Refused(Refusal::Busy));
    assert!(table.make_place(&key(256, 1)), "it has one");
    assert!(table.get(&key(257, 1)).is_some());
    assert!(table.make_place(&key(260, 3)));
    assert!(table.get(&key(256, 1)).is_none() && table.get(&key(257, 1)).is_none());
    assert_eq!(table.request(key(260, 3), 7, 7), Decision::Start);
    let _ = table.proven(key(261, 2), until(100), 0, 0);
    assert!(!table.make_place(&key(262, 3)), "proofs and handshakes alone");
    assert_eq!(
        table.turn_away(key(262, 3), String::new(), 8),
        Decision::Refused(Refusal::Busy)
    );
    table.fit(4);
    assert!(
        table.make_place(&key(262, 3)),
        "as many as fit into the kernel, and some"
    );
}

#[test]
fn who_finds_no_room_is_told_why_and_may_ask_again_after_a_moment() {
    let mut table = table();
    let reason = || "AUTH is full".to_owned();
    let no_room = Decision::Refused(Refusal::NoRoom);
    assert_eq!(table.turn_away(key(256, 1), reason(), 5), no_room);
    assert!(table.is_refused(&key(256, 1)), "its packets need not wait");
    let pair = table.get(&key(256, 1)).expect("remembered");
    assert_eq!(
        (pair.failure.as_deref(), pair.failures),
        (Some("AUTH is full"), 1)
    );
    let backoff = Decision::Refused(Refusal::Backoff);
    assert_eq!(table.turn_away(key(256, 1), reason(), 6), backoff);
    assert_eq!(table.request(key(256, 1), 6, 6), backoff);
    let later = SECOND + 5;
    assert_eq!(table.turn_away(key(256, 1), reason(), later), no_room);
    assert_eq!(table.request(key(256, 1), 2 * later, 2 * later), Decision::Start);
    assert_eq!(
        table.turn_away(key(256, 1), reason(), 2 * later),
        Decision::Joined
    );
    let _ = table.succeeded(key(256, 1), until(9 * later), 2 * later, 0);
    assert_eq!(
        table.turn_away(key(256, 1), reason(), 3 * later),
        Decision::Proven
    );
    // Proven, and then there was no room for it.
    table.crowded_out(key(256, 1), reason(), 3 * later);
    assert_eq!(table.proofs().count(), 0);
    assert!(table.is_refused(&key(256, 1)));
    assert_eq!(table.request(key(256, 1), 5 * later, 5 * later), Decision::Start);
}

#[test]
fn a_pair_that_gave_way_is_forgotten_unless_a_handshake_is_under_way() {
    let mut table = table();
    let _ = table.proven(key(256, 1), until(100), 0, 0);
    let _ = table.proven(key(257, 1), until(100), 0, 0);
    assert_eq!(table.request(key(257, 1), 100, 100), Decision::Start);
    for number in [256, 257] {
        table.give_way(&key(number, 1));
    }
    assert!(table.get(&key(256, 1)).is_none());
    assert!(table.is_under_way(&key(257, 1)) && table.get(&key(257, 1)).is_some());
    // Its next packet is a first contact.
    assert_eq!(table.request(key(256, 1), 101, 101), Decision::Start);
}

#[test]
fn a_renewed_proof_is_as_unused_as_it_was_and_a_new_one_counts_as_used() {
    let mut table = table();
    assert_eq!(table.proven(key(256, 1), until(100), 7, 0).used, 7);
    assert_eq!(table.proven(key(256, 1), until(200), 50, 0).used, 7);
    assert!(!table.saw_used(&key(256, 1), 7), "not since it was made");
    assert!(table.saw_used(&key(256, 1), 60));
    assert!(!table.saw_used(&key(256, 1), 60), "not since");
    assert!(!table.saw_used(&key(256, 1), 40) && !table.saw_used(&key(999, 1), 40));
    assert_eq!(table.proven(key(256, 1), until(300), 70, 0).used, 60);
    assert_eq!(
        table.proven(key(256, 1), until(900), 300, 0).used,
        300,
        "the one before had ended"
    );
}

#[test]
fn renewals_come_around_half_of_what_is_left_and_once() {
    for random in [0, u64::MAX] {
        let mut table = table();
        table.request(key(256, 1), 0, 0);
        let _ = table.succeeded(key(256, 1), until(3600 * SECOND), 0, random);
        assert!(table.renewals(1439 * SECOND).is_empty());
        assert_eq!(table.renewals(2161 * SECOND), vec![key(256, 1)]);
        assert!(table.renewals(2161 * SECOND).is_empty(), "in flight");
        table.failed(key(256, 1), "gone".to_owned(), 2161 * SECOND, 0);
        assert_eq!(
            table.request(key(256, 1), 0, 2162 * SECOND),
            Decision::Proven,
            "the old proof still holds"
        );
        assert_eq!(table.renewals(2200 * SECOND), vec![key(256, 1)], "tried again");
    }
}

#[test]
fn renewals_do_not_crowd_towards_the_end() {
    let mut table = table();
    table.request(key(256, 1), 0, 0);
    let _ = table.succeeded(key(256, 1), until(SECOND), 0, 0);
    assert!(table.renewals(SECOND / 2).is_empty());
}

#[test]
fn sweeping_finds_the_expired_and_the_impossible_every_time() {
    let mut table = table();
    for round in 1..4 {
        let now = round * 100;
        let _ = table.proven(key(256, 1), until(now + 50), now, 0);
        let _ = table.proven(key(257, 1), until(now + 500), now, 0);
        assert!(table.sweep(now, |_| true).is_empty());
        assert_eq!(table.sweep(now + 50, |_| true), vec![key(256, 1)]);
        assert_eq!(table.sweep(now + 51, |key| key.local.0 != 257), vec![key(257, 1)]);
        assert!(table.sweep(now + 52, |_| true).is_empty());
    }
}

#[test]
fn failures_are_forgotten_in_time() {
    let mut table = table();
    table.request(key(256, 1), 0, 0);
    table.failed(key(256, 1), "no".to_owned(), 0, 0);
    assert!(table.sweep(MEMORY - 1, |_| true).is_empty());
    assert!(table.get(&key(256, 1)).is_some());
    table.sweep(MEMORY, |_| true);
    assert!(table.get(&key(256, 1)).is_none());
}

#[test]
fn adopted_proofs_keep_their_epoch_and_end() {
    let mut table = table();
    table.adopt(
        key(256, 1),
        AuthValue {
            not_after: 1000,
            epoch: 41,
            made: 0,
            used: 0,
        },
        0,
        0,
    );
    assert_eq!(table.request(key(256, 1), 0, 0), Decision::Proven);
    assert_eq!(table.proven(key(256, 1), until(2000), 10, 0).epoch, 42);
}

#[test]
fn a_proof_that_could_not_be_written_is_none() {
    let mut table = table();
    table.request(key(256, 1), 0, 0);
    let _ = table.succeeded(key(256, 1), until(1000), 0, 0);
    table.unwritten(key(256, 1), "full".to_owned(), 0, u64::MAX);
    assert_eq!(table.proofs().count(), 0);
    assert_eq!(
        table.request(key(256, 1), 1, 1),
        Decision::Refused(Refusal::Backoff)
    );
}

#[test]
fn what_nobody_asked_for_leaves_room_and_holds_back_nobody() {
    let mut table = Table::new(Bounds {
        in_flight: 8,
        per_node: 4,
        pairs: 100,
    });
    for number in 256..259 {
        assert_eq!(table.ahead(key(number, 1), 0), Decision::Start);
    }
    assert_eq!(table.ahead(key(259, 1), 0), Decision::Refused(Refusal::Busy));
    assert_eq!(table.contacts(), 0);
    assert_eq!(
        table.request(key(259, 1), 0, 0),
        Decision::Start,
        "for a packet there is"
    );
    table.failed(key(256, 1), "no".to_owned(), 1, u64::MAX);
    assert_eq!(table.request(key(256, 1), 2, 2), Decision::Start, "no pause");
    assert_eq!(table.contacts(), 2);
}

#[test]
fn who_waits_for_a_pair_that_has_failed_takes_no_room_until_it_is_tried_again() {
    let mut table = table();
    let (failing, other) = (key(256, 1), key(257, 1));
    assert!(!table.has_contacts([], 0));
    assert!(table.has_contacts([&failing], 0), "its turn may come at once");
    assert_eq!(table.request(failing, 0, 0), Decision::Start);
    assert!(table.has_contacts([], 1), "somebody waits for it");
    table.failed(failing, "no".to_owned(), 1, 0);
    assert!(!table.has_contacts([&failing], 1));
    assert!(table.has_contacts([&failing, &other], 1));
    let retry = table.get(&failing).expect("known").retry_at;
    assert!(!table.has_contacts([&failing], retry - 1));
    assert!(table.has_contacts([&failing], retry));
    // Begun ahead, and met by a packet.
    assert_eq!(table.ahead(failing, 2), Decision::Start);
    assert!(table.has_contacts([&failing], 2));
    assert!(!table.has_contacts([], 2));
}

#[test]
fn a_packet_that_meets_a_handshake_that_was_begun_ahead_makes_it_its_own() {
    let mut table = table();
    assert_eq!(table.ahead(key(256, 1), 0), Decision::Start);
    assert_eq!(table.request(key(256, 1), 7, 7), Decision::Joined);
    assert_eq!(table.request(key(256, 1), 8, 8), Decision::Joined);
    assert_eq!(
        (table.contacts(), table.kind(&key(256, 1))),
        (1, Some(Kind::Contact))
    );
    let _ = table.succeeded(key(256, 1), until(1000), 10, 0);
    assert_eq!((table.contacts(), table.kind(&key(256, 1))), (0, None));
    assert_eq!(
        table.get(&key(256, 1)).expect("known").latency,
        3,
        "since the packet asked"
    );
    // A renewal is nobody's who waits: the old proof lets packets pass.
    assert_eq!(table.renewals(600).len(), 0);
}

#[test]
fn a_renewal_is_due_before_the_end_with_time_for_another_try_and_not_for_all_at_once() {
    for life in [11, 60, 3_600, 86_400] {
        let due = |random| {
            let mut table = table();
            let _ = table.proven(key(256, 1), until(life * SECOND), 0, random);
            (0..life).find(|second| !table.renewals(second * SECOND).is_empty())
        };
        let (first, last) = (due(0).expect("due"), due(u64::MAX).expect("due"));
        assert!(first <= last && last < life, "{first} to {last} of {life}");
        assert!(
            life < 60 || (first < last && last <= life * 3 / 5 + 1),
            "spread: {first} to {last}"
        );
        // Again and again, until a newer SVID makes it longer.
        let left = life - last;
        assert!(left <= 10 || due_again(left) < left);
    }
}

/// When a proof with so many seconds left is renewed again.
fn due_again(left: u64) -> u64 {
    let mut table = table();
    let _ = table.proven(key(256, 1), until(left * SECOND), 0, u64::MAX);
    let due = (0..left).find(|second| !table.renewals(second * SECOND).is_empty());
    due.unwrap_or(left)
}

#[test]
fn of_more_renewals_than_can_be_begun_those_that_end_first_are_first_and_packets_have_room() {
    let mut table = Table::new(Bounds {
        in_flight: 4,
        per_node: 100,
        pairs: 100,
    });
    for number in 0..20_u32 {
        // The last one ends first.
        let end = u64::from(200 - number) * SECOND;
        let _ = table.proven(key(256 + number, 1), until(end), 0, 0);
    }
    let first = table.renewals(150 * SECOND);
    assert_eq!(first, [key(275, 1), key(274, 1), key(273, 1)]);
    let now = 150 * SECOND;
    assert_eq!(table.request(key(900, 2), now, now), Decision::Start);
}
