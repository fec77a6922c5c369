//! A pair on one node is proven by the same verifier as one on two: nothing is believed because it is near.

#![expect(clippy::expect_used, reason = "helpers of tests: what fails here is the test")]

mod support;

use signet_agent::clock::unix_now;
use signet_agent::svids::WorkloadSvid;
use signet_proto::view::v1::revocation::Subject;
use signet_proto::view::v1::{Revocation, Update};
use support::{Authority, World, key, workload};

/// The other workload's node: 1 is where the one that asks is.
const PLACES: [u32; 2] = [1, 2];

/// No proof of the pair is written anywhere, whoever of the two asks; what the one side says of it.
async fn refused(world: &World, place: u32) -> String {
    let report = world.node(1).prove(300, 400, place).await;
    assert!(report.pair.proof.is_none(), "node {place}: {report:?}");
    let back = world.node(place).prove(400, 300, 1).await;
    assert!(back.pair.proof.is_none(), "node {place}: {back:?}");
    assert_eq!(world.node(1).auth.get(&key(300, 400, place)), None);
    assert_eq!(world.node(place).auth.get(&key(400, 300, 1)), None);
    report.pair.failure.expect("failed")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_svid_that_another_authority_signed_proves_nothing_on_one_node_as_on_two() {
    for place in PLACES {
        let world = World::two(&[(1, 300), (place, 400)]).await;
        let other = Authority::new("t.example");
        let id = workload(400);
        let svid = WorkloadSvid::new(other.issue(&id), &id, &other.bundles()).expect("an SVID");
        world.node(place).hold(400, svid);
        refused(&world, place).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_svid_of_another_workload_proves_nothing_on_one_node_as_on_two() {
    for place in PLACES {
        let world = World::two(&[(1, 300), (place, 400), (place, 401)]).await;
        let id = workload(401);
        let svid = WorkloadSvid::new(world.ca.issue(&id), &id, &world.ca.bundles()).expect("an SVID");
        world.node(place).hold(400, svid);
        refused(&world, place).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_svid_proves_nothing_on_one_node_as_on_two() {
    for place in PLACES {
        let world = World::two(&[(1, 300), (place, 400)]).await;
        let serial = world.node(place).svid(400).verified.serial().to_vec();
        for node in &world.nodes {
            let revocation = Revocation {
                id: "serial".to_owned(),
                subject: Some(Subject::Serial(serial.clone())),
                not_before: unix_now(),
                at: unix_now(),
                until: unix_now() + 3600,
                reason: "the key leaked".to_owned(),
                version: 1,
                ..Revocation::default()
            };
            let update = Update {
                revision: world.cluster.revision + 1,
                revocations: vec![revocation],
                ..Update::default()
            };
            node.view.apply(update).expect("applies");
        }
        let reason = refused(&world, place).await;
        assert!(reason.contains("revoked"), "{reason}");
    }
}
