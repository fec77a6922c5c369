use std::collections::BTreeSet;

use signet_registry::{Announcement, Changes, Encryption, MAX_CHANGES, Mark, Revision};

use crate::desk::{Desk, id, node, now};

/// Of a reader on this very history. Without the mark, which is random.
async fn changes(desk: &Desk, name: &str, since: Revision) -> Changes {
    let changes = desk
        .registry
        .changes_since(&node(name), desk.position(since).await)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        desk.registry.mark(changes.revision).await.unwrap(),
        Some(changes.mark)
    );
    Changes {
        mark: Mark::default(),
        ..changes
    }
}

fn latest(desk: &Desk) -> Revision {
    *desk.registry.watch().borrow()
}

#[tokio::test]
async fn a_newcomer_gets_a_snapshot_with_its_own_registrations_alone() {
    let desk = Desk::with_two_nodes().await;
    let web = desk.register(1, "web", "n1").await.unwrap();
    desk.register(2, "api", "n2").await.unwrap();
    let snapshot = changes(&desk, "n1", Revision(0)).await;
    assert!(snapshot.snapshot && snapshot.bundle);
    assert_eq!(snapshot.revision, latest(&desk));
    assert_eq!(snapshot.nodes.len(), 2);
    assert_eq!(snapshot.identities.len(), 2);
    assert_eq!(snapshot.registrations, [web]);
    assert_eq!(snapshot.encryption, Some(Encryption::Off));
}

#[tokio::test]
async fn a_delta_has_only_what_changed_since() {
    let desk = Desk::with_two_nodes().await;
    let web = desk.register(1, "web", "n1").await.unwrap();
    let seen = latest(&desk);
    assert_eq!(
        desk.registry
            .changes_since(&node("n1"), desk.position(seen).await)
            .await
            .unwrap(),
        None
    );
    let api = desk.register(2, "api", "n1").await.unwrap();
    let delta = changes(&desk, "n1", seen).await;
    let expected = Changes {
        revision: latest(&desk),
        identities: vec![signet_registry::Identity {
            spiffe_id: id("api"),
            number: api.identity,
            nodes: vec![node("n1")],
        }],
        registrations: vec![api],
        ..Changes::default()
    };
    assert_eq!(delta, expected);

    let seen = latest(&desk);
    desk.registry.deregister(web.id, now()).await.unwrap();
    let delta = changes(&desk, "n1", seen).await;
    let expected = Changes {
        revision: latest(&desk),
        removed_identities: vec![id("web")],
        removed_registrations: vec![web.id],
        ..Changes::default()
    };
    assert_eq!(delta, expected);
}

#[tokio::test]
async fn another_node_s_registrations_are_nobody_else_s_business() {
    let desk = Desk::with_two_nodes().await;
    let web = desk.register(1, "web", "n1").await.unwrap();
    let seen = latest(&desk);
    let two = desk.register(2, "web", "n1").await;
    assert!(two.is_err(), "the same registration twice");
    let other = desk.register(3, "web", "n2").await.unwrap();
    desk.registry.deregister(other.id, now()).await.unwrap();
    let delta = changes(&desk, "n1", seen).await;
    // That it changed where the identity is, and no more: not by which selectors, nor under which id.
    let expected = Changes {
        revision: latest(&desk),
        identities: vec![signet_registry::Identity {
            spiffe_id: id("web"),
            number: web.identity,
            nodes: vec![node("n1")],
        }],
        ..Changes::default()
    };
    assert_eq!(delta, expected);
}

#[tokio::test]
async fn a_delta_tells_of_the_present_and_of_each_thing_once() {
    let desk = Desk::with_two_nodes().await;
    let seen = latest(&desk);
    for mode in [Encryption::WireGuard, Encryption::Off, Encryption::WireGuard] {
        desk.registry.set_encryption(mode).await.unwrap();
    }
    let web = desk.register(1, "web", "n1").await.unwrap();
    desk.registry.deregister(web.id, now()).await.unwrap();
    for address in ["192.0.2.1", "192.0.2.2"] {
        let announcement = Announcement {
            seen: address.parse().unwrap(),
            addresses: vec![address.parse().unwrap()],
            session_port: 4250,
        };
        desk.registry
            .announce(&node("n2"), &announcement, &BTreeSet::new())
            .await
            .unwrap();
    }
    let delta = changes(&desk, "n1", seen).await;
    assert_eq!(delta.encryption, Some(Encryption::WireGuard));
    assert_eq!(
        (
            delta.nodes.len(),
            delta.nodes[0].addresses[0].to_string().as_str()
        ),
        (1, "192.0.2.2")
    );
    assert_eq!(
        (delta.removed_registrations, delta.registrations),
        (vec![web.id], vec![])
    );
    assert_eq!(
        (delta.removed_identities, delta.identities),
        (vec![id("web")], vec![])
    );
}

#[tokio::test]
async fn setting_what_is_set_is_no_news() {
    let desk = Desk::new().await;
    let first = desk.registry.set_encryption(Encryption::WireGuard).await.unwrap();
    assert_eq!(
        desk.registry.set_encryption(Encryption::WireGuard).await.unwrap(),
        first
    );
    assert_eq!(desk.registry.encryption().await.unwrap(), Encryption::WireGuard);
}

#[tokio::test]
async fn whoever_is_behind_the_log_or_ahead_of_it_gets_a_snapshot() {
    let desk = Desk::with_two_nodes().await;
    let seen = latest(&desk);
    for _ in 0..=MAX_CHANGES / 2 {
        desk.registry.set_encryption(Encryption::WireGuard).await.unwrap();
        desk.registry.set_encryption(Encryption::Off).await.unwrap();
    }
    assert!(changes(&desk, "n1", seen).await.snapshot);
    let kept = Revision(latest(&desk).0 - u64::from(MAX_CHANGES) + 1);
    assert!(!changes(&desk, "n1", kept).await.snapshot);
    assert!(changes(&desk, "n1", Revision(kept.0 - 1)).await.snapshot);
    let ahead = Revision(latest(&desk).0 + 1);
    assert!(changes(&desk, "n1", ahead).await.snapshot);
    assert!(changes(&desk, "n1", Revision(u64::MAX)).await.snapshot);
}

#[tokio::test]
async fn watchers_wake_after_the_commit() {
    let desk = Desk::with_two_nodes().await;
    let mut watch = desk.registry.watch();
    let seen = *watch.borrow_and_update();
    desk.register(1, "web", "n1").await.unwrap();
    watch.changed().await.unwrap();
    assert!(*watch.borrow_and_update() > seen);
    assert!(!watch.has_changed().unwrap());
}

#[tokio::test]
async fn everybody_learns_on_which_nodes_an_identity_is_registered() {
    let desk = Desk::with_two_nodes().await;
    let places = async |seen| {
        let delta = changes(&desk, "n1", seen).await;
        let identity = delta.identities.into_iter().next();
        identity.map(|identity| identity.nodes)
    };
    let one = desk.register(1, "web", "n1").await.unwrap();
    let seen = latest(&desk);
    let two = desk.register(2, "web", "n2").await.unwrap();
    assert_eq!(places(seen).await, Some(vec![node("n1"), node("n2")]));
    assert_eq!(
        desk.registry.identities().await.unwrap()[0].nodes,
        [node("n1"), node("n2")]
    );
    let seen = latest(&desk);
    desk.registry.deregister(two.id, now()).await.unwrap();
    assert_eq!(places(seen).await, Some(vec![node("n1")]));
    desk.registry.deregister(one.id, now()).await.unwrap();
    assert_eq!(places(seen).await, None);
}
