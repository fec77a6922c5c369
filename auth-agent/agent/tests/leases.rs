//! Agents over loopback tell each other of their addresses, and believe what may be believed.

mod support;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use signet_abi::{Address, AuthValue, Lease, LeaseEndKey, LeaseKey, NodeId, SecurityIdentity};
use signet_agent::auth::{AuthStore as _, MemoryAuth};
use signet_agent::leases::{LeaseStore as _, MemoryLeases};
use signet_agent::mesh::Endpoints;
use signet_lease::Write;
use signet_maps::boottime_now;
use signet_session::{ADDRESSES, Group, LeaseDelta, LeaseGrant, LeasePart, Message, encode};
use support::{PATIENCE, Setup, TestNode, World, address, eventually, hello, key, send, workload};
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

fn leased(node: &TestNode, address: IpAddr) -> Option<Lease> {
    node.leases.get(&LeaseKey(Address::from(address)))
}

fn lease(workload: u32, node: u32) -> Lease {
    Lease {
        identity: SecurityIdentity(workload),
        node: NodeId(node),
    }
}

fn end(node: &TestNode, of: u32) -> u64 {
    node.leases.end(&LeaseEndKey(NodeId(of)))
}

#[expect(clippy::unnecessary_wraps, reason = "as it is published")]
fn endpoints(addresses: &[(IpAddr, u32)]) -> Option<Arc<Endpoints>> {
    let addresses = addresses
        .iter()
        .map(|(address, number)| (*address, workload(*number)));
    Some(Arc::new(Endpoints::with_addresses(addresses)))
}

fn group(number: u32, addresses: impl IntoIterator<Item = IpAddr>) -> Group {
    Group {
        id: workload(number),
        addresses: addresses.into_iter().collect(),
    }
}

fn table(groups: Vec<Group>) -> Message {
    Message::LeasePart(LeasePart {
        revision: 1,
        begin: true,
        end: true,
        groups,
    })
}

fn grant(nonce: u64, revision: u64) -> Message {
    Message::LeaseGrant(LeaseGrant {
        nonce,
        revision,
        lasting: Duration::from_secs(10),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_comes_with_the_leases_of_both_sides() {
    let world = World::two(&[(1, 300), (2, 400)]).await;
    let report = world.node(1).prove(300, 400, 2).await;
    assert_eq!(report.pair.failure, None);
    let before = boottime_now();
    // The proof was not given to the kernel before.
    assert_eq!(leased(world.node(1), address(2, 400)), Some(lease(400, 2)));
    let until = end(world.node(1), 2);
    assert!(
        until > before && until <= before + 10_000_000_000,
        "at most ten seconds"
    );
    eventually("leased at the other", || {
        leased(world.node(2), address(1, 300)) == Some(lease(300, 1)) && end(world.node(2), 1) > before
    })
    .await;
    assert_eq!(
        leased(world.node(1), address(1, 300)),
        None,
        "its own are no leases"
    );
    let held = world.node(1).sessions.leases().report().held;
    assert_eq!((held.len(), held[0].state.as_str()), (1, "held"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_cannot_be_written_delays_the_proof_and_does_not_keep_it() {
    let full = Setup {
        leases: MemoryLeases::new(0),
        ..Setup::default()
    };
    let world = World::new(vec![full, Setup::default()], &[(1, 300), (2, 400)]).await;
    let report = world.node(1).prove(300, 400, 2).await;
    assert_eq!(report.pair.failure, None);
    assert!(world.node(1).auth.get(&key(300, 400, 2)).is_some());
    assert_eq!(leased(world.node(1), address(2, 400)), None);
    assert!(world.node(1).status.last_error().contains("LEASES is full"));
    let held = world.node(1).sessions.leases().report().held;
    assert_eq!(held[0].state, "no room");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_goes_or_changes_its_identity_is_told_at_once() {
    let world = World::two(&[(1, 300), (1, 301), (2, 400)]).await;
    let (one, two) = (world.node(1), world.node(2));
    let (first, second) = (address(1, 300), address(1, 301));
    two.prove(400, 300, 1).await;
    assert_eq!(leased(two, first), Some(lease(300, 1)));
    one.endpoints
        .send_replace(endpoints(&[(first, 301), (second, 301)]));
    eventually("the new identity", || leased(two, first) == Some(lease(301, 1))).await;
    one.endpoints.send_replace(endpoints(&[(second, 301)]));
    eventually("withdrawn", || leased(two, first).is_none()).await;
    assert_eq!(leased(two, second), Some(lease(301, 1)));
    one.endpoints
        .send_replace(endpoints(&[(first, 300), (second, 301)]));
    eventually("back", || leased(two, first) == Some(lease(300, 1))).await;
    // What is not registered here this node claims nothing of.
    one.endpoints
        .send_replace(endpoints(&[(first, 400), (second, 301)]));
    eventually("not claimed", || leased(two, first).is_none()).await;
    assert_eq!(two.sessions.leases().report().held.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_leaves_the_view_loses_its_leases_and_its_word_at_once() {
    let mut world = World::two(&[(1, 300), (2, 400)]).await;
    world.node(1).prove(300, 400, 2).await;
    assert!(end(world.node(1), 2) > 0);
    world.cluster.nodes.pop();
    world.cluster.workloads.retain(|(node, _)| *node == 1);
    world.push_to(1);
    eventually("gone", || {
        leased(world.node(1), address(2, 400)).is_none() && end(world.node(1), 2) == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_agent_keeps_the_leases_and_has_them_renewed_without_a_handshake() {
    let mut auth = MemoryAuth::new(1000);
    let proof = AuthValue {
        not_after: boottime_now() + 3_600_000_000_000,
        epoch: 7,
        made: 0,
        used: 0,
    };
    auth.insert(&key(300, 400, 2), &proof).expect("room");
    let mut leases = MemoryLeases::new(1000);
    let soon = boottime_now() + 5_000_000_000;
    let left = [
        Write::Put(LeaseKey(Address::from(address(2, 400))), lease(400, 2)),
        Write::Put(LeaseKey(Address::from(address(3, 400))), lease(400, 2)),
        Write::Extend(LeaseEndKey(NodeId(2)), soon),
        Write::Extend(LeaseEndKey(NodeId(9)), soon),
    ];
    for write in &left {
        leases.write(write).expect("room");
    }
    let restarted = Setup {
        auth,
        leases,
        ..Setup::default()
    };
    let world = World::new(vec![restarted, Setup::default()], &[(1, 300), (2, 400)]).await;
    let one = world.node(1);
    eventually("renewed", || end(one, 2) > soon).await;
    assert_eq!(leased(one, address(2, 400)), Some(lease(400, 2)));
    assert_eq!(leased(one, address(3, 400)), None, "another node's address");
    assert_eq!(end(one, 9), 0, "no such node");
    assert_eq!(one.prove(300, 400, 2).await.pair.handshakes, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_claim_one_address_are_neither_believed_until_one_withdraws() {
    let setups = vec![Setup::default(), Setup::default(), Setup::default()];
    let world = World::new(setups, &[(1, 300), (2, 400), (3, 500)]).await;
    // They were given the same block, which no CA does.
    for number in 1..=3 {
        let mut update = world.cluster.snapshot(&world.ca, number);
        update.revision += 1;
        for node in &mut update.nodes {
            node.pod_cidrs.push("10.250.0.0/16".to_owned());
        }
        world.node(number).view.apply(update).expect("applies");
    }
    let contested = IpAddr::from([10, 250, 0, 7]);
    let (own_two, own_three) = (address(2, 400), address(3, 500));
    world
        .node(2)
        .endpoints
        .send_replace(endpoints(&[(own_two, 400), (contested, 400)]));
    let one = world.node(1);
    one.prove(300, 400, 2).await;
    eventually("believed of one", || {
        leased(one, contested) == Some(lease(400, 2))
    })
    .await;
    one.prove(300, 500, 3).await;
    world
        .node(3)
        .endpoints
        .send_replace(endpoints(&[(own_three, 500), (contested, 500)]));
    eventually("believed of neither", || leased(one, contested).is_none()).await;
    assert_eq!(leased(one, own_two), Some(lease(400, 2)), "its others stay");
    assert_eq!(leased(one, own_three), Some(lease(500, 3)));
    let status = one.sessions.leases().status_report();
    assert_eq!((status.conflicts, status.refused), (1, 2));
    let held = one.sessions.leases().report().held;
    let reasons: Vec<_> = held.iter().filter(|lease| lease.state == "conflict").collect();
    assert_eq!(reasons.len(), 2);
    assert!(reasons[0].reason.contains("claimed by n3"), "{reasons:?}");
    world.node(2).endpoints.send_replace(endpoints(&[(own_two, 400)]));
    eventually("believed of the other", || {
        leased(one, contested) == Some(lease(500, 3))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_node_speaks_for_its_own_addresses_and_identities_alone() {
    let world = World::new(
        vec![Setup::default(), Setup::default(), Setup::default()],
        &[(1, 300), (2, 400), (3, 500)],
    )
    .await;
    let one = world.node(1);
    one.prove(300, 500, 3).await;
    let mut stream = world.connect_as(2, 1).await;
    send(&mut stream, &encode(&hello(2)).expect("encodes")).await;
    // Node 3's address with its own identity, its own address with node 3's, and one that is right.
    let claims = vec![
        group(400, [address(3, 500), address(2, 400)]),
        group(500, [address(2, 401)]),
    ];
    for message in [table(claims), grant(1, 1)] {
        send(&mut stream, &encode(&message).expect("encodes")).await;
    }
    eventually("heard", || end(one, 2) > 0).await;
    assert_eq!(leased(one, address(2, 400)), Some(lease(400, 2)));
    assert_eq!(leased(one, address(2, 401)), None);
    assert_eq!(leased(one, address(3, 500)), Some(lease(500, 3)), "undisturbed");
    let status = one.sessions.leases().status_report();
    assert_eq!((status.refused, status.conflicts), (2, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_messages_that_cannot_be_end_the_session_with_their_name_and_change_nothing() {
    let most = u32::try_from(ADDRESSES).expect("small");
    let many = group(
        400,
        (0..=most).map(|number| IpAddr::from((0x0af4_0200 + number).to_be_bytes())),
    );
    let right = || table(vec![group(400, [address(2, 400)])]);
    let not_there = Message::LeaseDelta(LeaseDelta {
        revision: 2,
        withdrawn: vec![address(2, 9)],
        added: Vec::new(),
    });
    let rows = [
        (vec![grant(1, 0)], "speaks of lease update 0"),
        (vec![right(), grant(1, 1), grant(1, 1)], "was not asked for"),
        (vec![right(), right()], "speaks of lease update 1, 2 is due"),
        (vec![table(vec![many])], "says too much of its addresses"),
        (vec![right(), not_there], "which it has not claimed"),
    ];
    for (messages, named) in rows {
        let world = World::two(&[(1, 300), (2, 400)]).await;
        let mut stream = world.connect_as(2, 1).await;
        send(&mut stream, &encode(&hello(2)).expect("encodes")).await;
        for message in &messages {
            // It may be closed before the last one.
            let _ =
                tokio::io::AsyncWriteExt::write_all(&mut stream, &encode(message).expect("encodes")).await;
        }
        let mut said = Vec::new();
        let read = timeout(PATIENCE, stream.read_to_end(&mut said)).await;
        // A reset is a way of closing.
        drop(read.expect("is closed"));
        let error = || world.node(1).sessions.report()[0].last_error.clone();
        eventually("noted", || !error().is_empty()).await;
        assert!(error().contains(named), "{named}: {}", error());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_table_and_then_death_leaves_what_was_there() {
    let world = World::two(&[(1, 300), (2, 400)]).await;
    let one = world.node(1);
    let mut stream = world.connect_as(2, 1).await;
    let half = Message::LeasePart(LeasePart {
        revision: 1,
        begin: true,
        end: false,
        groups: vec![group(400, [address(2, 400)])],
    });
    for message in [hello(2), half] {
        send(&mut stream, &encode(&message).expect("encodes")).await;
    }
    eventually("up", || one.sessions.count() == 1).await;
    drop(stream);
    eventually("down", || one.sessions.count() == 0).await;
    assert_eq!((leased(one, address(2, 400)), end(one, 2)), (None, 0));
    // The real node says it whole.
    one.prove(300, 400, 2).await;
    assert_eq!(leased(one, address(2, 400)), Some(lease(400, 2)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_does_not_see_its_endpoints_grants_nothing() {
    let world = World::two(&[(1, 300), (2, 400)]).await;
    let (one, two) = (world.node(1), world.node(2));
    two.status.sight.forget();
    one.prove(300, 400, 2).await;
    assert_eq!(end(one, 2), 0, "no word of it counts");
    assert!(
        one.auth.get(&key(300, 400, 2)).is_some(),
        "it is proven all the same"
    );
    two.status.sight.open();
    eventually("granted, without anybody asking for it", || end(one, 2) > 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_is_not_given_to_the_kernel_before_the_lease_so_that_what_waits_for_it_passes() {
    let world = World::two(&[(1, 300), (2, 400)]).await;
    let (one, two) = (world.node(1), world.node(2));
    two.status.sight.forget();
    one.signal(300, 400, 2);
    eventually("proven at the other, which has its lease", || {
        two.auth.get(&key(400, 300, 1)).is_some()
    })
    .await;
    assert!(end(two, 1) > 0);
    // Both know at the same time: by now this side has the proof, too, and keeps it back.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!((one.auth.get(&key(300, 400, 2)), end(one, 2)), (None, 0));
    two.status.sight.open();
    eventually("given with the lease", || {
        one.auth.get(&key(300, 400, 2)).is_some()
    })
    .await;
}
