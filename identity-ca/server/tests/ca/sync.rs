//! The view as a push stream.

use signet_proto::ca::v1::{DeregisterRequest, ListNodesRequest, SetEncryptionRequest, SyncRequest};
use signet_proto::view::v1::{EncryptionMode, Update};
use tonic::Code;

use crate::running::{Running, Seen};

const WEB: &str = "spiffe://td/ns/shop/sa/web";

#[tokio::test]
async fn the_first_message_is_a_snapshot_for_whom_it_is_meant() {
    let ca = Running::in_memory().await;
    let (one, _two) = (ca.node("n1", &["10.244.1.0/24"]).await, ca.node("n2", &[]).await);
    let web = ca.register(WEB, "n1", "unix:uid:1000").await.unwrap();
    ca.register("spiffe://td/ns/shop/sa/api", "n2", "unix:uid:1001")
        .await
        .unwrap();
    let snapshot = one.follow(0).await.next().await;
    assert!(snapshot.snapshot);
    assert_eq!(snapshot.self_node, "n1");
    let nodes: Vec<_> = snapshot
        .nodes
        .iter()
        .map(|node| (node.name.as_str(), node.id))
        .collect();
    assert_eq!(nodes, [("n1", 1), ("n2", 2)]);
    assert_eq!(snapshot.nodes[0].pod_cidrs, ["10.244.1.0/24"]);
    assert_eq!(
        (
            snapshot.nodes[0].addresses.as_slice(),
            snapshot.nodes[0].session_port
        ),
        (["192.0.2.1".to_owned()].as_slice(), 4250)
    );
    let numbers: Vec<_> = snapshot
        .identities
        .iter()
        .map(|identity| identity.number)
        .collect();
    assert_eq!(numbers, [256, 257]);
    assert_eq!(snapshot.registrations, [web]);
    assert_eq!(snapshot.cluster.unwrap().encryption(), EncryptionMode::Off);
    assert_eq!(snapshot.bundle.unwrap().x509_authorities.len(), 1);
}

#[tokio::test]
async fn registration_and_deregistration_are_pushed_to_the_node_and_the_identity_to_all() {
    let ca = Running::in_memory().await;
    let (one, two) = (ca.node("n1", &[]).await, ca.node("n2", &[]).await);
    let mut two = two.announce(0, &["192.0.2.2"]).await.unwrap();
    two.next().await;
    let mut one = one.follow(0).await;
    one.next().await;
    assert_eq!(
        two.next().await.nodes[0].addresses,
        ["192.0.2.1"],
        "an announced address is pushed"
    );

    let web = ca.register(WEB, "n1", "unix:uid:1000").await.unwrap();
    let (at_one, at_two) = (one.next().await, two.next().await);
    assert_eq!(at_one.registrations, std::slice::from_ref(&web));
    assert!(at_two.registrations.is_empty());
    for update in [&at_one, &at_two] {
        assert_eq!(update.identities[0].spiffe_id, WEB);
        assert!(
            !update.snapshot
                && update.bundle.is_none()
                && update.cluster.is_none()
                && update.nodes.is_empty()
        );
    }

    ca.operator
        .clone()
        .deregister(DeregisterRequest { id: web.id.clone() })
        .await
        .unwrap();
    let (at_one, at_two) = (one.next().await, two.next().await);
    assert_eq!(at_one.removed_registrations, [web.id]);
    assert!(at_two.removed_registrations.is_empty());
    for update in [at_one, at_two] {
        assert_eq!(update.removed_identities, [WEB]);
    }
}

#[tokio::test]
async fn resuming_gives_only_what_came_since() {
    let ca = Running::in_memory().await;
    let node = ca.node("n1", &[]).await;
    let mut first = node.follow(0).await;
    let seen = first.next().await;
    drop(first);
    let web = ca.register(WEB, "n1", "unix:uid:1000").await.unwrap();
    let mut resumed = node.follow(&seen).await;
    let delta = resumed.next().await;
    let expected = Update {
        revision: delta.revision,
        mark: delta.mark.clone(),
        identities: vec![signet_proto::view::v1::Identity {
            spiffe_id: WEB.to_owned(),
            number: 256,
            nodes: vec!["n1".to_owned()],
        }],
        registrations: vec![web],
        ..Update::default()
    };
    assert!(delta.revision > seen.revision && delta.mark != seen.mark);
    assert_eq!(delta, expected);
    // Nothing came since: the next message is the next change.
    let mut again = node.follow(&delta).await;
    set(&ca, EncryptionMode::Wireguard).await;
    let change = again.next().await;
    assert!(change.registrations.is_empty() && !change.snapshot);
    assert_eq!(change.cluster.unwrap().encryption(), EncryptionMode::Wireguard);
}

async fn set(ca: &Running, mode: EncryptionMode) {
    ca.operator
        .clone()
        .set_encryption(SetEncryptionRequest { mode: mode.into() })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_revision_from_another_life_of_the_ca_gets_a_snapshot() {
    let ca = Running::in_memory().await;
    let node = ca.node("n1", &[]).await;
    let seen = node.follow(0).await.next().await;
    assert!(
        seen.snapshot && seen.reset,
        "who knows nothing may hold what was made before"
    );
    assert_eq!(seen.mark.len(), 16);
    let mut other = seen.mark.clone();
    other[0] ^= 1;
    for (revision, mark) in [
        (u64::MAX, &seen.mark),
        (seen.revision, &other),
        (seen.revision, &vec![]),
    ] {
        let mark = mark.clone();
        let snapshot = node.follow(Seen { revision, mark }).await.next().await;
        assert!(snapshot.snapshot && snapshot.reset, "{revision}");
    }
}

#[tokio::test]
async fn a_node_that_lost_its_view_alone_gets_all_of_it_and_keeps_its_proofs() {
    let ca = Running::in_memory().await;
    let node = ca.node("n1", &[]).await;
    let seen = node.follow(0).await.next().await;
    let request = SyncRequest {
        resume_revision: seen.revision,
        resume_mark: seen.mark.clone(),
        view_lost: true,
        session_port: 4250,
        ..SyncRequest::default()
    };
    let mut client = node.client.clone();
    let mut stream = client.sync(request).await.unwrap().into_inner();
    let again = stream.message().await.unwrap().unwrap();
    assert!(again.snapshot && !again.reset);
    set(&ca, EncryptionMode::Wireguard).await;
    let change = stream.message().await.unwrap().unwrap();
    assert!(!change.snapshot && !change.reset);
}

#[tokio::test]
async fn a_new_stream_of_a_node_ends_its_old_one() {
    let ca = Running::in_memory().await;
    let node = ca.node("n1", &[]).await;
    let mut old = node.follow(0).await;
    old.next().await;
    let mut new = node.follow(0).await;
    new.next().await;
    assert_eq!(old.end().await.code(), Code::Aborted);
    set(&ca, EncryptionMode::Wireguard).await;
    assert!(new.next().await.cluster.is_some());
}

#[tokio::test]
async fn the_operator_sees_who_follows_and_how_far() {
    let ca = Running::in_memory().await;
    let (one, _two) = (ca.node("n1", &[]).await, ca.node("n2", &[]).await);
    let mut stream = one.follow(0).await;
    let revision = stream.next().await.revision;
    let nodes = ca
        .operator
        .clone()
        .list_nodes(ListNodesRequest {})
        .await
        .unwrap()
        .into_inner()
        .nodes;
    let seen: Vec<_> = nodes
        .iter()
        .map(|node| (node.connected, node.revision, node.svid_not_after > 0))
        .collect();
    assert_eq!(seen, [(true, revision, true), (false, 0, true)]);
}

#[tokio::test]
async fn announcements_are_checked() {
    let ca = Running::in_memory().await;
    let (one, two) = (ca.node("n1", &["10.244.1.0/24"]).await, ca.node("n2", &[]).await);
    let refused = async |addresses: &[&str]| match two.announce(0, addresses).await {
        Ok(_) => panic!("{addresses:?} was let through"),
        Err(status) => status.code(),
    };
    assert_eq!(refused(&["example.org"]).await, Code::InvalidArgument);
    assert_eq!(refused(&["0.0.0.0"]).await, Code::InvalidArgument);
    assert_eq!(refused(&["10.244.1.9"]).await, Code::PermissionDenied);
    assert_eq!(refused(&["192.0.2.1"; 9]).await, Code::InvalidArgument);
    assert_eq!(refused(&["169.254.0.1"]).await, Code::InvalidArgument);
    assert_eq!(refused(&["198.51.100.7"]).await, Code::PermissionDenied);
    let _held = one.follow(0).await;
    assert_eq!(refused(&["192.0.2.1"]).await, Code::FailedPrecondition);
}

#[tokio::test]
async fn a_node_on_the_ca_s_own_host_that_names_no_address_has_none() {
    let ca = Running::in_memory().await;
    let node = ca.node("n1", &[]).await;
    let snapshot = node.announce(0, &[]).await.unwrap().next().await;
    assert!(
        snapshot.nodes[0].addresses.is_empty(),
        "peers would dial themselves"
    );
}

#[tokio::test]
async fn a_shutdown_ends_streams_and_says_so() {
    let ca = Running::in_memory().await;
    let node = ca.node("n1", &[]).await;
    let mut stream = node.follow(0).await;
    stream.next().await;
    let ended = tokio::spawn(async move { stream.end().await });
    ca.stop().await;
    assert_eq!(ended.await.unwrap().code(), Code::Unavailable);
}
