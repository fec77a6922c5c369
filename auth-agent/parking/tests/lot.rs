//! What waits, for how long, and who gives way.

use std::time::Duration;

use proptest::prelude::*;
use signet_abi::{AuthKey, NodeId, SecurityIdentity};
use signet_parking::{Bounds, Fill, Full, Lot, Parked};

const SECOND: u64 = 1_000_000_000;

fn pair(local: u32, remote: u32) -> AuthKey {
    AuthKey {
        local: SecurityIdentity(local),
        remote: SecurityIdentity(remote),
        node: NodeId(2),
    }
}

fn source(number: u32) -> SecurityIdentity {
    SecurityIdentity(number)
}

fn small() -> Lot {
    Lot::new(Bounds {
        pair_packets: 4,
        pair_bytes: 400,
        packets: 8,
        bytes: 2000,
        wait: Duration::from_secs(5),
    })
}

#[test]
fn packets_of_a_proven_pair_come_back_in_their_order_and_once() {
    let mut lot = small();
    assert_eq!(lot.park(pair(1, 2), source(2), vec![1], 0), Ok(Parked::First));
    assert_eq!(lot.park(pair(1, 3), source(3), vec![9], 1), Ok(Parked::First));
    assert_eq!(lot.park(pair(1, 2), source(2), vec![2], 2), Ok(Parked::Behind));
    assert_eq!(lot.release(&pair(1, 2)), [vec![1], vec![2]]);
    assert_eq!(lot.release(&pair(1, 2)), Vec::<Vec<u8>>::new());
    assert!(lot.holds(&pair(1, 3)) && !lot.holds(&pair(1, 2)));
    assert_eq!((lot.counts().parked, lot.counts().released), (3, 2));
}

#[test]
fn a_pair_has_room_for_so_many_packets_and_bytes() {
    let mut lot = small();
    for _ in 0..4 {
        lot.park(pair(1, 2), source(2), vec![0], 0).expect("room");
    }
    assert_eq!(lot.park(pair(1, 2), source(2), vec![0], 0), Err(Full::Pair));
    assert_eq!(lot.park(pair(1, 3), source(3), vec![0; 401], 0), Err(Full::Pair));
    assert_eq!(lot.counts().overflowed, 2);
}

#[test]
fn what_has_waited_for_too_long_goes_and_the_rest_stays() {
    let mut lot = small();
    lot.park(pair(1, 2), source(2), vec![1], 0).expect("room");
    lot.park(pair(1, 2), source(2), vec![2], 3 * SECOND)
        .expect("room");
    lot.park(pair(1, 3), source(3), vec![3], 0).expect("room");
    assert!(lot.expire(5 * SECOND - 1).is_empty());
    assert_eq!(lot.expire(5 * SECOND), [vec![1], vec![3]]);
    assert_eq!(lot.waiting(), [pair(1, 2)]);
    assert_eq!(lot.release(&pair(1, 2)), [vec![2]]);
    assert_eq!(lot.fill(), Fill::default());
    assert_eq!(lot.counts().expired, 2);
}

#[test]
fn a_sender_who_takes_all_room_gives_way_to_those_who_have_less() {
    let mut lot = small();
    for remote in 10..18 {
        lot.park(pair(1, remote), source(1), vec![0; 10], 0)
            .expect("room");
    }
    // The one with the most gets no more...
    assert_eq!(lot.park(pair(1, 30), source(1), vec![0; 10], 0), Err(Full::Lot));
    // ...and others do, up to an equal share.
    for number in 0..4 {
        let taken = lot.park(pair(1, 40 + number), source(40), vec![0; 10], 0);
        assert_eq!(taken, Ok(Parked::First), "{number}");
    }
    assert_eq!(lot.evicted().len(), 4);
    assert_eq!(lot.park(pair(1, 50), source(40), vec![0; 10], 0), Err(Full::Lot));
    assert_eq!(lot.fill().packets, 8);
    assert_eq!(
        lot.park(pair(1, 60), source(60), vec![0; 10], 0),
        Ok(Parked::First)
    );
}

#[test]
fn those_that_wait_longest_come_first_and_refused_ones_not_at_all() {
    let mut lot = small();
    for (remote, at) in [(2, 7), (3, 5), (4, 6)] {
        lot.park(pair(1, remote), source(remote), vec![0], at)
            .expect("room");
    }
    assert_eq!(lot.waiting(), [pair(1, 3), pair(1, 4), pair(1, 2)]);
    assert_eq!(lot.refuse(&pair(1, 4)), [vec![0]]);
    assert!(lot.refuse(&pair(1, 4)).is_empty());
    assert_eq!(lot.waiting(), [pair(1, 3), pair(1, 2)]);
    assert_eq!(lot.refuse_all().len(), 2);
    assert_eq!((lot.fill(), lot.counts().refused), (Fill::default(), 3));
}

#[test]
fn a_burst_of_a_thousand_packets_of_two_hundred_pairs_finds_room() {
    let mut lot = Lot::new(Bounds::default());
    for packet in 0..1000_u32 {
        let remote = packet % 200;
        lot.park(pair(1, remote), source(remote), vec![0; 1500], 0)
            .expect("room");
    }
    for remote in 0..200 {
        assert_eq!(lot.release(&pair(1, remote)).len(), 5);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Park(u32, u32, usize),
    Release(u32),
    Refuse(u32),
    Expire(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..6_u32, 0..4_u32, 0..300_usize).prop_map(|(pair, source, bytes)| Step::Park(pair, source, bytes)),
        1 => (0..6_u32).prop_map(Step::Release),
        1 => (0..6_u32).prop_map(Step::Refuse),
        1 => (0..4_u64).prop_map(Step::Expire),
    ]
}

proptest! {
    /// Whatever happens: bounds hold, and each packet that was taken in has exactly one end.
    #[test]
    fn bounds_hold_and_nothing_is_lost_uncounted(steps in proptest::collection::vec(step(), 0..200)) {
        let mut lot = small();
        let mut now = 10 * SECOND;
        let (mut parked, mut refused_at_once, mut came_out) = (0, 0, 0);
        for step in steps {
            match step {
                Step::Park(remote, from, bytes) => match lot.park(pair(1, remote), source(from), vec![0; bytes], now) {
                    Ok(_) => parked += 1,
                    Err(_) => refused_at_once += 1,
                },
                Step::Release(remote) => drop(lot.release(&pair(1, remote))),
                Step::Refuse(remote) => drop(lot.refuse(&pair(1, remote))),
                Step::Expire(seconds) => {
                    now += seconds * SECOND;
                    drop(lot.expire(now));
                }
            }
            let (fill, counts) = (lot.fill(), lot.counts());
            prop_assert!(fill.packets <= 8 && fill.bytes <= 2000);
            prop_assert_eq!(fill.pairs, lot.waiting().len());
            prop_assert_eq!(counts.parked, parked);
            let evicted = counts.overflowed - refused_at_once;
            came_out += lot.evicted().len() as u64;
            prop_assert_eq!(evicted, came_out);
            let ended = counts.released + counts.refused + counts.expired + evicted;
            prop_assert_eq!(counts.parked, ended + fill.packets as u64);
        }
    }
}
