//! Agents over loopback prove pairs to each other.

mod support;

use signet_abi::AuthValue;
use signet_agent::auth::{AuthStore as _, MemoryAuth};
use signet_agent::mesh::Endpoints;
use signet_maps::boottime_now;
use std::sync::Arc;
use support::{Setup, World, eventually, key};

const FAR: u64 = 3_600_000_000_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_on_one_node_writes_the_proof_on_both() {
    let world = World::two(&[(1, 300), (2, 400)]).await;
    world.node(1).signal(300, 400, 2);
    eventually("written at the opener", || {
        world.node(1).auth.get(&key(300, 400, 2)).is_some()
    })
    .await;
    eventually("written at the other", || {
        world.node(2).auth.get(&key(400, 300, 1)).is_some()
    })
    .await;
    let proof = world.node(1).auth.get(&key(300, 400, 2)).expect("written");
    assert!(proof.not_after > boottime_now());
    assert_eq!(proof.epoch, 1);
    assert_eq!(world.node(1).sessions.count(), 1);
    assert_eq!(world.node(2).sessions.count(), 1);
    assert_eq!(world.node(1).sessions.report()[0].key_exchange, "X25519MLKEM768");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_signals_of_a_pair_make_one_handshake() {
    let world = World::two(&[(1, 300), (2, 400)]).await;
    for _ in 0..200 {
        world.node(1).signal(300, 400, 2);
    }
    let report = world.node(1).prove(300, 400, 2).await;
    assert_eq!((report.pair.handshakes, report.pair.failures), (1, 0));
    assert!(report.pair.latency > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_nodes_asking_at_once_end_with_one_session_and_a_proof_on_each() {
    for _ in 0..8 {
        let world = World::two(&[(1, 300), (2, 400)]).await;
        let (one, two) = (world.node(1), world.node(2));
        let (at_one, at_two) = tokio::join!(one.prove(300, 400, 2), two.prove(400, 300, 1));
        assert_eq!((at_one.pair.failure, at_two.pair.failure), (None, None));
        eventually("proven at both", || {
            one.auth.get(&key(300, 400, 2)).is_some() && two.auth.get(&key(400, 300, 1)).is_some()
        })
        .await;
        let dialed = |node: &support::TestNode| node.sessions.report()[0].dialed;
        eventually("one session", || {
            one.sessions.count() == 1 && two.sessions.count() == 1 && dialed(one) != dialed(two)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_pairs_share_one_session() {
    let workloads: Vec<(u32, u32)> = (0..20).map(|n| (1 + n % 2, 300 + n)).collect();
    let world = World::two(&workloads).await;
    let one = world.node(1);
    let asked = (0..10).map(|n| one.prove(300 + 2 * n, 301 + 2 * n, 2));
    for report in futures::future::join_all(asked).await {
        assert_eq!(report.pair.failure, None);
        assert!(report.pair.proof.is_some());
    }
    assert_eq!(one.sessions.report()[0].state, "up");
    assert_eq!(one.sessions.count(), 1);
}

#[tokio::test]
async fn a_pair_on_one_node_is_proven_in_both_directions_without_a_session() {
    let world = World::two(&[(1, 300), (1, 301)]).await;
    let one = world.node(1);
    let report = one.prove(300, 301, 1).await;
    assert_eq!(report.pair.failure, None);
    assert!(one.auth.get(&key(300, 301, 1)).is_some());
    assert!(one.auth.get(&key(301, 300, 1)).is_some());
    assert_eq!(one.sessions.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_answers_only_for_identities_with_a_live_endpoint() {
    let world = World::two(&[(1, 300), (2, 400)]).await;
    world
        .node(2)
        .endpoints
        .send_replace(Some(Arc::new(Endpoints::default())));
    let report = world.node(1).prove(300, 400, 2).await;
    assert!(report.pair.failure.expect("failed").contains("no endpoint"));
    assert_eq!(world.node(1).auth.get(&key(300, 400, 2)), None);
    assert_eq!(world.node(2).auth.get(&key(400, 300, 1)), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workload_is_not_proven_on_a_node_where_it_is_not_registered() {
    let world = World::new(
        vec![Setup::default(), Setup::default(), Setup::default()],
        &[(1, 300), (2, 400)],
    )
    .await;
    let report = world.node(1).prove(300, 400, 3).await;
    assert!(report.pair.proof.is_none());
    let reason = report.pair.failure.expect("failed");
    assert!(reason.contains("w400 is not registered on node n3"), "{reason}");
    assert_eq!(world.node(1).auth.get(&key(300, 400, 3)), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_svid_that_was_carried_off_to_another_node_proves_nothing_there() {
    let setups = || vec![Setup::default(), Setup::default(), Setup::default()];
    let world = World::new(setups(), &[(1, 300), (2, 400)]).await;
    // Node 3 has the key and a valid certificate of node 2's workload, and believes itself entitled to them.
    let mut lie = world.cluster.clone();
    lie.workloads = vec![(1, 300), (3, 400)];
    lie.revision += 1;
    world.node(3).take(&world.ca, &lie);
    let report = world.node(3).prove(400, 300, 1).await;
    assert!(report.pair.proof.is_none());
    let reason = report.pair.failure.expect("failed");
    assert!(
        reason.contains("the other node refused") && reason.contains("w400 is not registered on node n3"),
        "{reason}"
    );
    for node in [2, 3] {
        assert_eq!(world.node(1).auth.get(&key(300, 400, node)), None);
    }
    // Where it lives, it is proven.
    assert_eq!(world.node(2).prove(400, 300, 1).await.pair.failure, None);
}

#[tokio::test]
async fn unknown_identities_and_nodes_have_a_reason() {
    let world = World::two(&[(1, 300), (2, 400)]).await;
    let one = world.node(1);
    let reason =
        async |local, remote, node| one.prove(local, remote, node).await.pair.failure.expect("failed");
    assert!(
        reason(999, 400, 2)
            .await
            .contains("identity 999 is not in the view")
    );
    assert!(
        reason(300, 999, 2)
            .await
            .contains("identity 999 is not in the view")
    );
    assert!(reason(300, 400, 77).await.contains("node 77 is not in the view"));
    assert!(reason(400, 300, 2).await.contains("no endpoint of this node"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_map_is_a_reason_and_nothing_is_half_written() {
    let full = Setup {
        auth: MemoryAuth::new(0),
        ..Setup::default()
    };
    let world = World::new(vec![full, Setup::default()], &[(1, 300), (2, 400)]).await;
    let report = world.node(1).prove(300, 400, 2).await;
    assert!(report.pair.proof.is_none());
    assert!(report.pair.failure.expect("failed").contains("AUTH is full"));
    assert!(world.node(1).status.last_error().contains("AUTH is full"));
    assert_eq!(world.node(1).auth.get(&key(300, 400, 2)), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deregistered_workload_loses_its_proofs_at_once_on_both_nodes() {
    let mut world = World::two(&[(1, 300), (1, 301), (2, 400)]).await;
    world.node(1).prove(300, 400, 2).await;
    world.node(1).prove(301, 400, 2).await;
    eventually("written at the other", || {
        world.node(2).auth.get(&key(400, 300, 1)).is_some()
    })
    .await;
    world.cluster.workloads.retain(|(_, workload)| *workload != 300);
    world.push();
    eventually("deleted here", || {
        world.node(1).auth.get(&key(300, 400, 2)).is_none()
    })
    .await;
    eventually("deleted there", || {
        world.node(2).auth.get(&key(400, 300, 1)).is_none()
    })
    .await;
    assert!(world.node(1).auth.get(&key(301, 400, 2)).is_some(), "others stay");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_several_registrations_takes_the_proofs_of_its_node_with_it() {
    let setups = vec![Setup::default(), Setup::default(), Setup::default()];
    let mut world = World::new(setups, &[(1, 300), (3, 300), (2, 400)]).await;
    for node in [1, 3] {
        assert_eq!(world.node(2).prove(400, 300, node).await.pair.failure, None);
    }
    world.cluster.workloads.retain(|place| *place != (1, 300));
    world.push();
    eventually("deleted where it was checked", || {
        world.node(2).auth.get(&key(400, 300, 1)).is_none()
    })
    .await;
    eventually("deleted where it ran", || {
        world.node(1).auth.get(&key(300, 400, 2)).is_none()
    })
    .await;
    assert!(
        world.node(2).auth.get(&key(400, 300, 3)).is_some(),
        "the other node's stays"
    );
    let again = world.node(2).prove(400, 300, 1).await;
    assert!(again.pair.proof.is_none(), "{again:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_goes_takes_its_proofs_with_it() {
    let world = World::two(&[(1, 300), (2, 400)]).await;
    let one = world.node(1);
    one.prove(300, 400, 2).await;
    one.endpoints.send_replace(Some(Arc::new(Endpoints::default())));
    eventually("deleted", || one.auth.get(&key(300, 400, 2)).is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_leaves_takes_its_proofs_and_its_session_with_it() {
    let mut world = World::two(&[(1, 300), (2, 400)]).await;
    world.node(1).prove(300, 400, 2).await;
    world.cluster.nodes.truncate(1);
    let update = world.cluster.snapshot(&world.ca, 1);
    world.cluster.revision += 1;
    world.node(1).view.apply(update).expect("applies");
    eventually("deleted", || world.node(1).auth.get(&key(300, 400, 2)).is_none()).await;
    eventually("closed", || world.node(1).sessions.count() == 0).await;
}

#[tokio::test]
async fn a_restarted_agent_keeps_what_still_may_be_and_deletes_the_rest() {
    let mut auth = MemoryAuth::new(1000);
    let value = |not_after| AuthValue {
        not_after,
        epoch: 7,
        made: 0,
        used: 0,
    };
    let later = boottime_now() + FAR;
    for (kept, not_after) in [
        (key(300, 400, 2), later),
        (key(300, 999, 2), later), // no such identity
        (key(300, 400, 9), later), // no such node
        (key(400, 300, 1), later), // not registered here
        (key(300, 301, 1), later), // no such workload on this node any more
        (key(300, 402, 2), 1),     // expired
    ] {
        auth.insert(&kept, &value(not_after)).expect("room");
    }
    let restarted = Setup {
        auth: auth.clone(),
        ..Setup::default()
    };
    let world = World::new(
        vec![restarted, Setup::default()],
        &[(1, 300), (2, 400), (2, 301), (2, 402)],
    )
    .await;
    eventually("reconciled", || auth.entries().expect("reads").len() == 1).await;
    assert_eq!(auth.get(&key(300, 400, 2)), Some(value(later)), "as it was");
    let report = world.node(1).prove(300, 400, 2).await;
    assert_eq!(report.pair.handshakes, 0, "no handshake was needed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_peers_restart_the_next_proof_finds_a_new_session() {
    let world = World::two(&[(1, 300), (1, 301), (2, 400)]).await;
    let report = world.node(1).prove(300, 400, 2).await;
    assert_eq!(report.pair.failure, None);
    let before = world.node(1).sessions.report()[0].clone();
    // As when the connection breaks: the view without the node closes it, the view with it lets it come back.
    let mut without = world.cluster.clone();
    without.nodes.truncate(1);
    without.revision += 1;
    world
        .node(1)
        .view
        .apply(without.snapshot(&world.ca, 1))
        .expect("applies");
    eventually("closed", || world.node(1).sessions.count() == 0).await;
    eventually("closed there", || world.node(2).sessions.count() == 0).await;
    let mut with = world.cluster.clone();
    with.revision += 2;
    world
        .node(1)
        .view
        .apply(with.snapshot(&world.ca, 1))
        .expect("applies");
    let report = world.node(1).prove(301, 400, 2).await;
    assert_eq!(report.pair.failure, None);
    let after = world.node(1).sessions.report()[0].clone();
    assert_eq!((before.state.as_str(), after.state.as_str()), ("up", "up"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_numbers_may_mean_others_every_proof_is_thrown_away() {
    let mut world = World::two(&[(1, 300), (2, 400)]).await;
    assert_eq!(world.node(1).prove(300, 400, 2).await.pair.failure, None);
    let proof = key(300, 400, 2);
    assert!(world.node(1).auth.get(&proof).is_some());
    // The CA's registry was put back: both identities are still there, but nobody can say that they always were.
    world.cluster.revision += 1;
    let update = signet_proto::view::v1::Update {
        reset: true,
        ..world.cluster.snapshot(&world.ca, 1)
    };
    world.node(1).view.apply(update).expect("fits");
    eventually("thrown away", || world.node(1).auth.get(&proof).is_none()).await;
    let again = world.node(1).prove(300, 400, 2).await;
    assert_eq!((again.pair.failure, again.pair.handshakes), (None, 1));
    // A snapshot without a reset leaves everything.
    world.push();
    assert_eq!(world.node(1).prove(300, 400, 2).await.pair.handshakes, 1);
    assert!(world.node(1).auth.get(&proof).is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_earlier_life_left_is_not_taken_over_on_another_history() {
    let auth = MemoryAuth::new(1000);
    let left = AuthValue {
        not_after: boottime_now() + FAR,
        epoch: 7,
        made: 0,
        used: 0,
    };
    auth.clone().insert(&key(300, 400, 2), &left).expect("room");
    let setup = Setup {
        auth: auth.clone(),
        reset: true,
        ..Setup::default()
    };
    let world = World::new(vec![setup, Setup::default()], &[(1, 300), (2, 400)]).await;
    eventually("thrown away", || auth.get(&key(300, 400, 2)).is_none()).await;
    eventually("noted", || *world.node(1).cleared.borrow() == 1).await;
}
