//! What readers are told after the database was put back to an earlier state.

use std::fs;

use signet_registry::{Position, Registry};

use crate::desk::{Desk, id, node, now};

async fn position(desk: &Desk) -> Position {
    let latest = *desk.registry.watch().borrow();
    desk.position(latest).await
}

#[tokio::test]
async fn a_reader_of_a_history_that_was_undone_starts_anew_however_far_the_new_one_has_come() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("registry.db");
    fs::write(&path, "").unwrap();
    let open = async || Desk {
        registry: Registry::open(&path).await.unwrap(),
    };
    let desk = open().await;
    desk.attest(1, "n1", &[]).await.unwrap();
    let before = position(&desk).await;
    desk.registry.close().await;
    let backup = fs::read(&path).unwrap();

    let desk = open().await;
    let web = desk.register(1, "web", "n1").await.unwrap();
    let undone = position(&desk).await;
    desk.registry.close().await;
    fs::write(&path, backup).unwrap();

    let desk = open().await;
    // Further back than the reader, as far, and further on: it never gets a delta.
    for number in 2..6 {
        let snapshot = desk
            .registry
            .changes_since(&node("n1"), undone)
            .await
            .unwrap()
            .unwrap();
        assert!(snapshot.snapshot && snapshot.reset, "at {}", snapshot.revision);
        let other = desk
            .register(number, &format!("other-{number}"), "n1")
            .await
            .unwrap();
        if number == 2 {
            assert_eq!(
                other.identity, web.identity,
                "the number stands for somebody else now"
            );
            assert_ne!(other.spiffe_id, id("web"));
        }
    }
    assert!(position(&desk).await.revision > undone.revision);
    // Who had not seen what was undone just goes on.
    let delta = desk
        .registry
        .changes_since(&node("n1"), before)
        .await
        .unwrap()
        .unwrap();
    assert!(!delta.snapshot && !delta.reset && delta.identities.len() == 4);
    desk.registry.deregister(web.id, now()).await.unwrap_err();
}

#[tokio::test]
async fn a_reader_that_lost_its_view_but_not_its_place_gets_a_snapshot_without_a_reset() {
    let desk = Desk::with_two_nodes().await;
    let known = desk
        .registry
        .snapshot(&node("n1"), position(&desk).await)
        .await
        .unwrap();
    assert!(known.snapshot && !known.reset);
    let unknown = desk
        .registry
        .snapshot(&node("n1"), Position::default())
        .await
        .unwrap();
    assert!(unknown.snapshot && unknown.reset);
    assert_eq!(known.nodes, unknown.nodes);
}
