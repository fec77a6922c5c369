//! Agents over loopback prove pairs before anybody asks.

mod support;

use std::sync::Arc;

use signet_abi::SecurityIdentity;
use signet_agent::auth::MemoryAuth;
use signet_agent::mesh::Endpoints;
use signet_agent::svids::WorkloadSvid;
use signet_preauth::Bounds;
use support::{Authority, Setup, TestNode, World, eventually, key, workload};

fn ahead() -> Setup {
    Setup {
        ahead: Some(Bounds::default()),
        ..Setup::default()
    }
}

async fn proven(one: &TestNode, two: &TestNode, pair: (u32, u32)) {
    eventually("proven at both", || {
        one.auth.get(&key(pair.0, pair.1, two.number)).is_some()
            && two.auth.get(&key(pair.1, pair.0, one.number)).is_some()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_worth_a_proof_is_proven_without_a_signal_and_nothing_else() {
    let world = World::new(vec![ahead(), ahead()], &[(1, 300), (1, 301), (2, 400), (2, 401)]).await;
    let (one, two) = (world.node(1), world.node(2));
    one.want(&[(300, 400, 2), (300, 301, 1)]);
    proven(one, two, (300, 400)).await;
    eventually("and the pair on one node, in both directions", || {
        one.auth.get(&key(300, 301, 1)).is_some() && one.auth.get(&key(301, 300, 1)).is_some()
    })
    .await;
    // Somebody comes later.
    one.want(&[(300, 400, 2), (300, 301, 1), (301, 401, 2)]);
    proven(one, two, (301, 401)).await;
    assert_eq!(one.pairs.report().await.len(), 4);
    assert_eq!(one.auth.get(&key(300, 401, 2)), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_themselves_are_proven_ahead_and_known_as_such_to_the_other_side() {
    let world = World::new(vec![ahead(), ahead()], &[(1, 300), (2, 400)]).await;
    let (one, two) = (world.node(1), world.node(2));
    let (host, remote) = (SecurityIdentity::HOST.0, SecurityIdentity::REMOTE_NODE.0);
    one.want(&[(300, host, 1), (300, remote, 2)]);
    eventually("proven with its own node and the other one", || {
        one.auth.get(&key(300, host, 1)).is_some()
            && one.auth.get(&key(300, remote, 2)).is_some()
            && two.auth.get(&key(host, 300, 1)).is_some()
    })
    .await;
    assert_eq!(one.ahead_failed(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_nodes_that_want_one_pair_end_with_a_proof_on_each() {
    let world = World::new(vec![ahead(), ahead()], &[(1, 300), (2, 400)]).await;
    let (one, two) = (world.node(1), world.node(2));
    one.want(&[(300, 400, 2)]);
    two.want(&[(400, 300, 1)]);
    proven(one, two, (300, 400)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_failed_ahead_holds_back_no_packet() {
    let world = World::new(vec![ahead(), ahead()], &[(1, 300), (2, 400)]).await;
    let (one, two) = (world.node(1), world.node(2));
    let endpoints = two.endpoints.send_replace(Some(Arc::new(Endpoints::default())));
    one.want(&[(300, 400, 2)]);
    eventually("it has failed", || one.ahead_failed() == 1).await;
    two.endpoints.send_replace(endpoints);
    // At once, though the next attempt ahead is a while off.
    let report = one.prove(300, 400, 2).await;
    assert_eq!(report.pair.failure, None);
    assert!(report.pair.proof.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_that_the_kernel_does_not_take_is_a_failure_and_tried_again_by_itself() {
    let auth = MemoryAuth::new(1000);
    auth.refuse(u32::MAX);
    let refusing = Setup { auth, ..ahead() };
    let world = World::new(vec![refusing, ahead()], &[(1, 300), (1, 301), (2, 400)]).await;
    let one = world.node(1);
    // With another node, and on one.
    for pair in [(300, 400, 2), (300, 301, 1)] {
        let before = one.ahead_failed();
        one.want(&[pair]);
        eventually("it has failed more than once", || {
            one.ahead_failed() >= before + 2
        })
        .await;
    }
    assert_eq!(one.ahead_proven(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_refused_for_what_it_was_is_tried_again_when_the_view_has_changed() {
    let mut world = World::new(vec![ahead(), ahead()], &[(1, 300), (2, 400)]).await;
    let (other, id) = (Authority::new("t.example"), workload(400));
    let svid = WorkloadSvid::new(other.issue(&id), &id, &other.bundles()).expect("an SVID");
    world.node(2).hold(400, svid);
    world.node(1).want(&[(300, 400, 2)]);
    eventually("it has failed", || world.node(1).ahead_failed() > 0).await;
    // Now with an SVID that counts.
    world.push();
    proven(world.node(1), world.node(2), (300, 400)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deregistered_identity_s_pairs_are_not_asked_for_and_a_new_one_s_are() {
    let mut world = World::new(vec![ahead(), ahead()], &[(1, 300), (2, 400)]).await;
    let wanted = [(300, 400, 2), (300, 401, 2)];
    world.node(1).want(&wanted);
    proven(world.node(1), world.node(2), (300, 400)).await;
    assert_eq!(world.node(1).ahead_failed(), 0, "what cannot be is not tried");
    world.cluster.workloads = vec![(1, 300), (2, 401)];
    world.push();
    proven(world.node(1), world.node(2), (300, 401)).await;
    eventually("the other is gone", || {
        world.node(1).auth.get(&key(300, 400, 2)).is_none()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_not_there_delays_no_other_pair() {
    let setups = vec![ahead(), ahead(), ahead()];
    let mut world = World::new(setups, &[(1, 300), (2, 400), (3, 500), (3, 501), (3, 502)]).await;
    // Nobody listens there.
    world.cluster.nodes[2] = ([127, 0, 0, 1], 1).into();
    world.push();
    let one = world.node(1);
    one.want(&[(300, 500, 3), (300, 501, 3), (300, 502, 3), (300, 400, 2)]);
    proven(one, world.node(2), (300, 400)).await;
}
