//! A node that comes back in another life of its kernel, or in the same one.

mod support;

use signet_abi::{Address, LeaseEndKey, LeaseKey, NodeId};
use signet_session::{Boot, Instance};
use support::liar::Liar;
use support::{World, address, eventually, key};

/// As [`support`] starts the agent of node 2.
const SECOND: [u8; 8] = [2; 8];

async fn proven() -> World {
    let world = World::two(&[(1, 300), (2, 400)]).await;
    assert_eq!(world.node(1).prove(300, 400, 2).await.pair.failure, None);
    let one = world.node(1);
    eventually("leased", || {
        one.leases
            .get(&LeaseKey(Address::from(address(2, 400))))
            .is_some()
            && one.leases.end(&LeaseEndKey(NodeId(2))) > 0
    })
    .await;
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proofs_and_leases_of_a_node_that_was_rebooted_are_void_at_its_first_word() {
    let world = proven().await;
    let one = world.node(1);
    let _back = Liar::started(&world, 2, 1, Instance::new(Boot([7; 8]), [1; 8])).await;
    eventually("the proof is void", || one.auth.get(&key(300, 400, 2)).is_none()).await;
    // No word has come of the new life, and the one before counts no more.
    let report = one.pairs.report().await;
    let pair = report.iter().find(|report| report.key == key(300, 400, 2));
    let reason = pair.and_then(|report| report.pair.failure.clone());
    assert_eq!(reason.as_deref(), Some("the other node was rebooted"));
    // Whoever is there then is proven anew.
    while one.prove(300, 400, 2).await.pair.proof.is_none() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_was_restarted_on_a_node_that_was_not_voids_nothing() {
    let world = proven().await;
    let one = world.node(1);
    let before = one.auth.get(&key(300, 400, 2));
    let _back = Liar::started(&world, 2, 1, Instance::new(Boot(SECOND), [9; 8])).await;
    assert_eq!(one.auth.get(&key(300, 400, 2)), before);
    assert!(
        one.leases
            .get(&LeaseKey(Address::from(address(2, 400))))
            .is_some()
    );
    assert!(one.leases.end(&LeaseEndKey(NodeId(2))) > 0);
    assert_eq!(one.prove(300, 400, 2).await.pair.handshakes, 1);
}
