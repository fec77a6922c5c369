use std::collections::BTreeSet;
use std::net::IpAddr;

use signet_registry::{AnnounceError, Announcement, Revision};

use crate::desk::{Desk, node, now, shown, token};

/// By a node that calls from the last of the addresses.
fn announcement(addresses: &[&str]) -> Announcement {
    let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
    Announcement {
        seen: addresses.last().copied().unwrap_or([192, 0, 2, 99].into()),
        addresses,
        session_port: 4250,
    }
}

/// A desk with nodes n1 and n2 that may have some addresses.
async fn desk() -> Desk {
    let desk = Desk::new().await;
    for (number, name, cidr) in [(1, "n1", "10.244.1.0/24"), (2, "n2", "10.244.2.0/24")] {
        let mut token = token(number, name, &[cidr]);
        let allowed = ["fd00::1", "192.0.2.1", "192.0.2.2"];
        token.addresses = allowed.map(|address| address.parse().unwrap()).to_vec();
        desk.registry.create_token(&token, now()).await.unwrap();
        desk.registry.consume_token(&shown(number), now()).await.unwrap();
    }
    desk
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
    let desk = desk().await;
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
    let desk = desk().await;
    for bad in [
        "0.0.0.0",
        "0.1.2.3",
        "::",
        "127.0.0.1",
        "::1",
        "169.254.1.1",
        "fe80::1",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
        "::ffff:192.0.2.1",
    ] {
        let error = announce(&desk, "n1", &[bad]).await.unwrap_err();
        assert!(matches!(error, AnnounceError::NotDialable(_)), "{bad}: {error}");
    }
    let count = announce(&desk, "n1", &["192.0.2.1"; 9]).await.unwrap_err();
    assert!(matches!(count, AnnounceError::Count { count: 9 }));
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
    let desk = desk().await;
    for bad in ["10.244.1.7", "10.244.2.7"] {
        let error = announce(&desk, "n1", &["192.0.2.1", bad]).await.unwrap_err();
        assert!(matches!(error, AnnounceError::Pod { .. }), "{bad}: {error}");
    }
}

#[tokio::test]
async fn an_address_moves_only_from_a_node_that_is_not_there() {
    let desk = desk().await;
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
async fn an_address_that_neither_the_ca_sees_nor_the_operator_named_is_refused() {
    let desk = Desk::with_two_nodes().await;
    let announce = async |seen: &str, addresses: &[&str]| {
        let announcement = Announcement {
            seen: seen.parse().unwrap(),
            ..announcement(addresses)
        };
        desk.registry
            .announce(&node("n1"), &announcement, &BTreeSet::new())
            .await
    };
    announce("192.0.2.1", &["192.0.2.1"]).await.unwrap();
    // The address of a machine that has nothing to do with Signet: peers would send it their packets.
    let foreign = announce("192.0.2.1", &["192.0.2.1", "198.51.100.7"])
        .await
        .unwrap_err();
    assert!(
        matches!(foreign, AnnounceError::Foreign { address, .. } if address.to_string() == "198.51.100.7"),
        "{foreign}"
    );
    // What was good once is not good for ever: the node calls from elsewhere now.
    let moved = announce("192.0.2.9", &["192.0.2.1"]).await.unwrap_err();
    assert!(matches!(moved, AnnounceError::Foreign { .. }), "{moved}");
    let mut named = token(3, "n1", &[]);
    named.addresses = vec!["198.51.100.7".parse().unwrap()];
    desk.registry.create_token(&named, now()).await.unwrap();
    desk.registry.consume_token(&shown(3), now()).await.unwrap();
    announce("192.0.2.1", &["192.0.2.1", "198.51.100.7"])
        .await
        .unwrap();
    // A token that names none leaves what the node may.
    desk.attest(4, "n1", &[]).await.unwrap();
    announce("192.0.2.9", &["198.51.100.7"]).await.unwrap();
}

#[tokio::test]
async fn a_node_that_names_no_address_has_the_one_that_is_seen_unless_nobody_could_dial_it() {
    let desk = Desk::with_two_nodes().await;
    for (seen, kept) in [("192.0.2.7", vec!["192.0.2.7"]), ("127.0.0.1", vec![])] {
        let announcement = Announcement {
            seen: seen.parse().unwrap(),
            ..announcement(&[])
        };
        desk.registry
            .announce(&node("n1"), &announcement, &BTreeSet::new())
            .await
            .unwrap();
        assert_eq!(addresses(&desk, "n1").await, kept);
    }
}
