//! A kernel's map that is too small for all pairs: who gives way, who is turned away, and who is told of it before.

mod support;

use std::sync::atomic::Ordering::Relaxed;

use signet_abi::AuthKey;
use signet_agent::auth::{Change, MemoryAuth};
use support::{Setup, TestNode, World, eventually, key};

const SECOND: u64 = 1_000_000_000;

fn small(slots: usize) -> Setup {
    Setup {
        auth: MemoryAuth::new(slots),
        ..Setup::default()
    }
}

/// Node 1 has 300 and room for so many proofs; all others are on node 2.
async fn world(slots: usize, remotes: &[u32]) -> World {
    let workloads: Vec<(u32, u32)> = remotes.iter().map(|remote| (2, *remote)).collect();
    let workloads = [vec![(1, 300)], workloads].concat();
    let world = World::new(vec![small(slots), Setup::default()], &workloads).await;
    let room = &world.node(1).status.room;
    eventually("the agent knows how much room there is", || {
        room.slots.load(Relaxed) == slots as u64
    })
    .await;
    world
}

fn pair(remote: u32) -> AuthKey {
    key(300, remote, 2)
}

fn has(node: &TestNode, remote: u32) -> bool {
    node.auth.get(&pair(remote)).is_some()
}

async fn prove(node: &TestNode, remotes: &[u32]) {
    for remote in remotes {
        assert_eq!(node.prove(300, *remote, 2).await.pair.failure, None, "{remote}");
    }
}

/// Packets of a pair ask for its proof until there is one.
async fn asked_for(node: &TestNode, remote: u32) {
    eventually("it is proven for its packets", || {
        node.signal(300, remote, 2);
        has(node, remote)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_proof_that_no_packet_has_passed_for_longest_is_gone_before_the_newcomer_is_there() {
    let world = world(3, &[400, 401, 402, 403]).await;
    let node = world.node(1);
    prove(node, &[400, 401, 402]).await;
    for (remote, ago) in [(400, 60), (401, 90), (402, 0)] {
        node.auth.pass(&pair(remote), ago * SECOND);
    }
    prove(node, &[403]).await;
    assert!(has(node, 400) && !has(node, 401) && has(node, 402) && has(node, 403));
    let end = [Change::Removed(pair(401)), Change::Written(pair(403))];
    assert!(node.auth.history().ends_with(&end), "{:?}", node.auth.history());
    assert_eq!(node.status.room.gave_way.load(Relaxed), 1, "one for one");
    // Neither the kernel nor the agent's books have it any more.
    let reports = node.pairs.report().await;
    assert!(reports.iter().all(|report| report.key != pair(401)));
    assert_eq!(reports.len(), 3);
    // Its next packet is a first contact, and takes the room of who is the oldest now.
    asked_for(node, 401).await;
    assert!(!has(node, 400) && has(node, 402) && has(node, 403));
    // The other side has all that it was asked for.
    for remote in [400, 401, 402, 403] {
        assert!(world.node(2).auth.get(&key(remote, 300, 1)).is_some());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proofs_at_work_give_way_to_nobody_and_newcomers_are_told_so() {
    let world = world(2, &[400, 401, 402, 403]).await;
    let node = world.node(1);
    prove(node, &[400, 401]).await;
    for _ in 0..2 {
        let report = node.prove(300, 402, 2).await.pair;
        let failure = report.failure.expect("there is no room");
        assert!(failure.starts_with("AUTH is full at 2 entries"), "{failure}");
        assert!(failure.contains("--map-auth"), "says what to do: {failure}");
        assert!(report.proof.is_none() && !has(node, 402));
    }
    eventually("each attempt is counted", || {
        node.signal(300, 402, 2);
        node.signal(300, 403, 2);
        node.status.room.turned_away.load(Relaxed) >= 3
    })
    .await;
    assert!(node.status.last_error().contains("AUTH is full at 2 entries"));
    assert!(has(node, 400) && has(node, 401));
    let history = node.auth.history();
    assert!(
        !history.iter().any(|change| matches!(change, Change::Removed(_))),
        "{history:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_found_no_room_has_some_as_soon_as_another_one_has_not_been_used_for_the_grace() {
    let world = world(2, &[400, 401, 402]).await;
    let node = world.node(1);
    prove(node, &[400, 401]).await;
    // At work, but not for long.
    node.auth.pass(&pair(401), 28 * SECOND);
    asked_for(node, 402).await;
    assert!(has(node, 400) && !has(node, 401));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_that_is_made_anew_takes_its_own_place_in_a_full_map() {
    let world = world(2, &[400, 401]).await;
    let (node, other) = (world.node(1), world.node(2));
    prove(node, &[400, 401]).await;
    eventually("written there", || other.auth.get(&key(400, 300, 1)).is_some()).await;
    node.auth.pass(&pair(400), 0);
    node.auth.pass(&pair(401), 90 * SECOND);
    let used = |remote| node.auth.get(&pair(remote)).expect("there").used;
    let (before, old) = (used(400), used(401));
    other.pairs.flush(signet_agent::pairs::Which::All).await;
    for remote in [400, 401] {
        assert_eq!(other.prove(remote, 300, 1).await.pair.failure, None);
        eventually("made anew here", || {
            node.auth.get(&pair(remote)).is_some_and(|proof| proof.epoch == 2)
        })
        .await;
    }
    assert_eq!(
        (used(400), used(401)),
        (before, old),
        "to be renewed is not to be used"
    );
    assert_eq!(node.status.room.gave_way.load(Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_side_that_has_no_room_says_so_and_has_no_proof() {
    let setups = vec![Setup::default(), small(1)];
    let world = World::new(setups, &[(1, 300), (1, 301), (2, 400)]).await;
    let (one, two) = (world.node(1), world.node(2));
    eventually("it knows its room", || two.status.room.slots.load(Relaxed) == 1).await;
    assert_eq!(one.prove(300, 400, 2).await.pair.failure, None);
    eventually("proven there", || two.auth.get(&key(400, 300, 1)).is_some()).await;
    let _ = one.prove(301, 400, 2).await;
    let mut said = String::new();
    for _ in 0..600 {
        let reports = two.pairs.report().await;
        let refused = reports.iter().find(|report| report.key == key(400, 301, 1));
        said = refused
            .and_then(|report| report.pair.failure.clone())
            .unwrap_or_default();
        if !said.is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(said.contains("AUTH is full at 1 entries"), "{said}");
    assert_eq!(two.auth.get(&key(400, 301, 1)), None);
    assert!(two.auth.get(&key(400, 300, 1)).is_some(), "who was there stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pressure_is_said_before_the_map_is_full_and_nothing_is_proven_ahead_from_then_on() {
    let setup = Setup {
        ahead: Some(signet_preauth::Bounds::default()),
        ..small(5)
    };
    let remotes = [400, 401, 402, 403, 404, 405];
    let workloads: Vec<(u32, u32)> = remotes.iter().map(|remote| (2, *remote)).collect();
    let workloads = [vec![(1, 300)], workloads].concat();
    let world = World::new(vec![setup, Setup::default()], &workloads).await;
    let node = world.node(1);
    let pressure = || node.status.room.pressure.load(Relaxed);
    prove(node, &[400, 401, 402]).await;
    node.want(&[(300, 403, 2)]);
    eventually("there is room to prove ahead", || has(node, 403)).await;
    eventually("four of five are taken", || pressure() == 80).await;
    node.want(&[(300, 404, 2)]);
    // Who asks gets the last of the room, and an old one's after that.
    prove(node, &[405]).await;
    eventually("all are taken", || pressure() == 95).await;
    assert!(!has(node, 404), "nobody has asked for it");
    assert_eq!((node.ahead_proven(), node.ahead_failed()), (1, 0));
    node.pairs.flush(signet_agent::pairs::Which::All).await;
    eventually("there is room again", || has(node, 404)).await;
    assert_eq!(pressure(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_proven_ahead_takes_nobodys_room() {
    let setup = Setup {
        ahead: Some(signet_preauth::Bounds::default()),
        ..small(1)
    };
    let world = World::new(vec![setup, Setup::default()], &[(1, 300), (2, 400), (2, 401)]).await;
    let node = world.node(1);
    // Long unused, and the agent does not know yet how full the map is.
    prove(node, &[400]).await;
    node.auth.pass(&pair(400), 90 * SECOND);
    node.want(&[(300, 401, 2)]);
    eventually("the pressure is known", || {
        node.status.room.pressure.load(Relaxed) == 95
    })
    .await;
    assert!(has(node, 400) && !has(node, 401));
    // A packet does.
    asked_for(node, 401).await;
    assert!(!has(node, 400));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_whose_proof_cannot_be_taken_from_the_kernel_makes_no_room() {
    let world = world(1, &[400, 401]).await;
    let node = world.node(1);
    prove(node, &[400]).await;
    node.auth.pass(&pair(400), 90 * SECOND);
    node.auth.fail(u32::MAX);
    let report = node.prove(300, 401, 2).await;
    assert!(report.pair.proof.is_none(), "the map could not be searched");
    assert!(has(node, 400) && !has(node, 401));
    node.auth.fail(0);
    asked_for(node, 401).await;
    assert!(!has(node, 400));
}
