use std::collections::BTreeSet;

use signet_registry::{AnnounceError, Announcement, Revision};

use crate::desk::{Desk, NOW, at, node};

fn announcement(addresses: &[&str]) -> Announcement {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    Announcement {
        addresses,
        session_port: 4250,
    }
}

async fn announce(desk: &Desk, name: &str, addresses: &[&str]) -> Result<(), AnnounceError> {
    announce_beside(desk, name, addresses, &[]).await
}

async fn announce_beside(
    desk: &Desk,
    name: &str,
    addresses: &[&str],
    connected: &[&str],
) -> Result<(), AnnounceError> {
    let connected: BTreeSet<_> = connected.iter().map(|name| node(name)).collect();
    desk.registry
        .announce(&node(name), &announcement(addresses), &connected)
        .await
}

async fn addresses(desk: &Desk, name: &str) -> Vec<String> {
    let found = desk.registry.node(&node(name)).await.unwrap().unwrap();
    found.addresses.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn an_announcement_is_kept_in_its_order_and_news_only_once() {
    let desk = Desk::with_two_nodes().await;
    let revision = |desk: &Desk| *desk.registry.watch().borrow();
    announce(&desk, "n1", &["fd00::1", "192.0.2.1"]).await.unwrap();
    assert_eq!(addresses(&desk, "n1").await, ["fd00::1", "192.0.2.1"]);
    let before: Revision = revision(&desk);
    announce(&desk, "n1", &["fd00::1", "192.0.2.1"]).await.unwrap();
    assert_eq!(revision(&desk), before, "the same announcement made news");
    announce(&desk, "n1", &["192.0.2.1"]).await.unwrap();
    assert!(revision(&desk) > before);
}

#[tokio::test]
async fn an_address_that_cannot_be_a_node_s_is_refused() {
    let desk = Desk::with_two_nodes().await;
    for bad in [
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
        "::ffff:192.0.2.1",
    ] {
        let error = announce(&desk, "n1", &[bad]).await.unwrap_err();
        assert!(matches!(error, AnnounceError::NotDialable(_)), "{bad}: {error}");
    }
    let count = announce(&desk, "n1", &[]).await.unwrap_err();
    assert!(matches!(count, AnnounceError::Count { count: 0 }));
    let twice = announce(&desk, "n1", &["192.0.2.1", "192.0.2.1"])
        .await
        .unwrap_err();
    assert!(matches!(twice, AnnounceError::Twice(_)));
    let stranger = announce(&desk, "n9", &["192.0.2.1"]).await.unwrap_err();
    assert!(matches!(stranger, AnnounceError::UnknownNode(_)));
    assert!(addresses(&desk, "n1").await.is_empty());
}

#[tokio::test]
async fn a_node_cannot_pass_a_workload_s_address_off_as_its_own() {
    let desk = Desk::with_two_nodes().await;
    for bad in ["10.244.1.7", "10.244.2.7"] {
        let error = announce(&desk, "n1", &["192.0.2.1", bad]).await.unwrap_err();
        assert!(matches!(error, AnnounceError::Pod { .. }), "{bad}: {error}");
    }
}

#[tokio::test]
async fn an_address_moves_only_from_a_node_that_is_not_there() {
    let desk = Desk::with_two_nodes().await;
    announce(&desk, "n1", &["192.0.2.1", "192.0.2.2"]).await.unwrap();
    let taken = announce_beside(&desk, "n2", &["192.0.2.2"], &["n1"])
        .await
        .unwrap_err();
    assert_eq!(
        taken.to_string(),
        "192.0.2.2 is the address of n1, which is connected"
    );
    announce_beside(&desk, "n2", &["192.0.2.2"], &["n2"])
        .await
        .unwrap();
    assert_eq!(addresses(&desk, "n1").await, ["192.0.2.1"]);
    assert_eq!(addresses(&desk, "n2").await, ["192.0.2.2"]);
}

#[tokio::test]
async fn a_new_svid_of_a_node_is_kept_but_no_news() {
    let desk = Desk::with_two_nodes().await;
    let before = *desk.registry.watch().borrow();
    desk.registry
        .record_node_svid(&node("n1"), at(NOW + 3600))
        .await
        .unwrap();
    assert_eq!(*desk.registry.watch().borrow(), before);
    assert_eq!(
        desk.registry
            .node(&node("n1"))
            .await
            .unwrap()
            .unwrap()
            .svid_not_after,
        at(NOW + 3600)
    );
}
