//! Several SPIFFE IDs behind one address: nothing is proven for it, whoever came first, until one has gone.

#![expect(clippy::expect_used, reason = "helpers of tests: what fails here is the test")]

mod support;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use signet_abi::{Address, LeaseKey};
use signet_agent::mesh::Endpoints;
use signet_proto::mesh::v1 as mesh;
use signet_proto::view::v1::{Identity, Registration, Update};
use support::{PATIENCE, World, address, eventually, key, workload};

const OTHER: &str = "spiffe://t.example/ns/a/sa/other";

/// What signet-meshd says of a workload of node 1.
fn endpoint(number: u32, netns: u64) -> mesh::LocalEndpoint {
    mesh::LocalEndpoint {
        namespace: "a".to_owned(),
        name: format!("w{number}"),
        spiffe_id: workload(number).to_string(),
        addresses: vec![address(1, number).to_string()],
        netns_inode: netns,
        ..mesh::LocalEndpoint::default()
    }
}

fn publish(world: &World, told: &mesh::Endpoints) {
    let endpoints = Endpoints::parse(told);
    world.node(1).endpoints.send_replace(Some(Arc::new(endpoints)));
}

fn live(world: &World, endpoints: &[mesh::LocalEndpoint]) {
    publish(
        world,
        &mesh::Endpoints {
            endpoints: endpoints.to_vec(),
            ..mesh::Endpoints::default()
        },
    );
}

/// A second registration on node 1. The first of each workload there asks for `unix:uid:0`.
fn register(world: &mut World, selectors: &[&str]) {
    world.cluster.revision += 1;
    let update = Update {
        revision: world.cluster.revision,
        identities: vec![Identity {
            spiffe_id: OTHER.to_owned(),
            number: 900,
            nodes: vec!["n1".to_owned()],
        }],
        registrations: vec![Registration {
            id: "second".to_owned(),
            spiffe_id: OTHER.to_owned(),
            node: "n1".to_owned(),
            selectors: selectors.iter().map(ToString::to_string).collect(),
            identity: 900,
            ordinal: 9,
            ..Registration::default()
        }],
        ..Update::default()
    };
    world.node(1).view.apply(update).expect("applies");
}

fn deregister(world: &mut World) {
    world.cluster.revision += 1;
    let update = Update {
        revision: world.cluster.revision,
        removed_registrations: vec!["second".to_owned()],
        ..Update::default()
    };
    world.node(1).view.apply(update).expect("applies");
}

fn is_leased(world: &World, address: IpAddr) -> bool {
    let lease = world.node(2).leases.get(&LeaseKey(Address::from(address)));
    lease.is_some()
}

/// It is, as soon as the change has come to whoever decides; long before what has failed would be tried again by itself.
async fn proven(world: &World) {
    let asking = async {
        while world.node(1).prove(300, 400, 2).await.pair.failure.is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let asked = tokio::time::timeout(PATIENCE, asking).await;
    asked.expect("proven in time");
    eventually("leased", || is_leased(world, address(1, 300))).await;
}

/// Nothing is proven for it, no other node is told that the address is its, and the words name the address, both SPIFFE IDs, and what to do.
async fn refused(world: &World, who: &str) -> String {
    eventually("the proof and the lease have gone", || {
        let proof = world.node(1).auth.get(&key(300, 400, 2));
        proof.is_none() && !is_leased(world, address(1, 300))
    })
    .await;
    let failure = world
        .node(1)
        .prove(300, 400, 2)
        .await
        .pair
        .failure
        .expect("failed");
    for words in [
        &address(1, 300).to_string(),
        workload(300).as_str(),
        who,
        "several SPIFFE IDs",
    ] {
        assert!(failure.contains(words), "{words} is not in {failure}");
    }
    failure
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_spiffe_id_behind_an_address_ends_its_proofs_and_leases_until_it_goes() {
    let mut world = World::two(&[(1, 300), (2, 400)]).await;
    live(&world, &[endpoint(300, 7)]);
    proven(&world).await;
    register(&mut world, &["endpoint:a/w300", "unix:uid:5"]);
    let failure = refused(&world, OTHER).await;
    assert!(failure.contains("signet ca deregister second"), "{failure}");
    deregister(&mut world);
    proven(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_registered_first_does_not_decide() {
    let mut world = World::two(&[(1, 300), (2, 400)]).await;
    register(&mut world, &["endpoint:a/w300"]);
    live(&world, &[endpoint(300, 7)]);
    refused(&world, OTHER).await;
    // The same by an endpoint that comes and goes.
    live(&world, &[]);
    live(&world, &[endpoint(300, 7)]);
    refused(&world, OTHER).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workload_with_several_spiffe_ids_is_itself() {
    let mut world = World::two(&[(1, 300), (2, 400)]).await;
    live(&world, &[endpoint(300, 7)]);
    // Whoever satisfies it is the endpoint's own workload, and something else besides.
    register(&mut world, &["endpoint:a/w300", "unix:uid:0"]);
    proven(&world).await;
    // Another endpoint's is nothing to this one, and one of two endpoints is nobody's.
    for selectors in [
        ["endpoint:a/w301", "unix:uid:5"],
        ["endpoint:a/w300", "endpoint:a/w301"],
    ] {
        register(&mut world, &selectors);
        proven(&world).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_identities_in_one_network_namespace_are_neither() {
    let world = World::two(&[(1, 300), (1, 301), (2, 400)]).await;
    live(&world, &[endpoint(300, 7), endpoint(301, 8)]);
    proven(&world).await;
    live(&world, &[endpoint(300, 7), endpoint(301, 7)]);
    refused(&world, workload(301).as_str()).await;
    let local = world.node(1).prove(301, 300, 1).await;
    assert!(
        local
            .pair
            .failure
            .is_some_and(|why| why.contains("one network namespace"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_identity_whose_address_others_claim_too_is_told_in_signet_meshds_words() {
    let world = World::two(&[(1, 300), (2, 400)]).await;
    publish(
        &world,
        &mesh::Endpoints {
            contested: vec![mesh::ContestedIdentity {
                spiffe_id: workload(300).to_string(),
                why: "address 10.244.1.51 is claimed by a/w300 and a/twin".to_owned(),
            }],
            ..mesh::Endpoints::default()
        },
    );
    let report = world.node(1).prove(300, 400, 2).await;
    let failure = report.pair.failure.expect("failed");
    assert!(failure.contains("is claimed by a/w300 and a/twin"), "{failure}");
    live(&world, &[endpoint(300, 7)]);
    eventually("proven", || {
        world.node(1).auth.get(&key(300, 400, 2)).is_some() || {
            world.node(1).signal(300, 400, 2);
            false
        }
    })
    .await;
}
