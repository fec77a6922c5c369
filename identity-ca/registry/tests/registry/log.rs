//! What the issuance log has of changes.

use std::collections::BTreeSet;

use signet_log::{
    Audit, Caller, ChangeKind, Entry, Hash, Plan, Record, verify_consistency, verify_inclusion,
};
use signet_registry::{Announcement, Encryption, RegistrationId, Registry, StoredLeaf};

use crate::desk::{Desk, node, now, shown, token};

async fn leaves(registry: &Registry) -> Vec<StoredLeaf> {
    registry.log_leaves(0, 10_000).await.unwrap()
}

/// The changes in the log, and who made them.
async fn changes(registry: &Registry) -> Vec<(ChangeKind, String, Option<Hash>, Option<Hash>, Caller)> {
    let parse = |leaf: &StoredLeaf| {
        let entry = Entry::decode(&leaf.leaf).unwrap();
        let Record::Change(change) = entry.record else {
            return None;
        };
        Some((
            change.kind,
            change.subject,
            change.before,
            change.after,
            entry.caller,
        ))
    };
    leaves(registry).await.iter().filter_map(parse).collect()
}

#[tokio::test]
async fn each_change_is_one_entry_with_what_was_and_what_is() {
    let desk = Desk::new().await;
    let registry = &desk.registry;
    let operator = Caller::Operator { uid: 1000 };
    let by_operator = Desk {
        registry: registry.acting(operator.clone(), now()),
    };
    by_operator
        .registry
        .create_token(&token(1, "n1", &["10.244.1.0/24"]), now())
        .await
        .unwrap();
    let admitted = registry
        .acting(Caller::JoinToken([1; 8]), now())
        .consume_token(&shown(1), now())
        .await
        .unwrap();
    let by_node = registry.acting(Caller::Node(node("n1")), now());
    let announcement = Announcement {
        seen: "192.0.2.1".parse().unwrap(),
        addresses: vec!["192.0.2.1".parse().unwrap()],
        session_port: 4250,
    };
    for _ in 0..2 {
        // The second time there is nothing new, so nothing to log.
        by_node
            .announce(&node("n1"), &announcement, &BTreeSet::new())
            .await
            .unwrap();
    }
    let announced = registry.node(&node("n1")).await.unwrap().unwrap();
    let web = by_operator.register(7, "web", "n1").await.unwrap();
    assert!(
        by_operator.register(8, "web", "n1").await.is_err(),
        "a second time"
    );
    by_operator.registry.deregister(web.id, now()).await.unwrap();
    for _ in 0..2 {
        by_operator
            .registry
            .set_encryption(Encryption::WireGuard)
            .await
            .unwrap();
    }

    let log = changes(registry).await;
    let kinds: Vec<_> = log
        .iter()
        .map(|(kind, subject, ..)| (*kind, subject.as_str()))
        .collect();
    let (token, web_id) = ("0101010101010101", format!("{} {}", web.id, web.spiffe_id));
    assert_eq!(
        kinds,
        [
            (ChangeKind::JoinToken, token),
            (ChangeKind::JoinToken, token),
            (ChangeKind::Node, "n1"),
            (ChangeKind::Node, "n1"),
            (ChangeKind::Registration, &web_id),
            (ChangeKind::Registration, &web_id),
            (ChangeKind::Setting, "encryption"),
        ]
    );
    let digests: Vec<_> = log
        .iter()
        .map(|(_, _, before, after, _)| (*before, *after))
        .collect();
    assert_eq!(digests[0].0, None);
    assert_eq!(
        digests[1].0, digests[0].1,
        "the token that was used is not the one that was made"
    );
    assert_ne!(
        digests[1].1, digests[0].1,
        "a used token is another thing than a new one"
    );
    assert_eq!(digests[2], (None, Some(admitted.digest())));
    assert_eq!(digests[3], (Some(admitted.digest()), Some(announced.digest())));
    assert_eq!(digests[4], (None, Some(web.digest())));
    assert_eq!(digests[5], (Some(web.digest()), None));
    let callers: Vec<_> = log.into_iter().map(|(.., caller)| caller).collect();
    assert_eq!(callers[0], operator);
    assert_eq!(callers[1], Caller::JoinToken([1; 8]));
    assert_eq!(callers[3], Caller::Node(node("n1")));
    assert_eq!(callers[6], operator);
}

#[tokio::test]
async fn what_is_refused_leaves_no_entry() {
    let desk = Desk::with_two_nodes().await;
    let before = leaves(&desk.registry).await;
    assert!(desk.register(1, "web", "unknown").await.is_err());
    let unknown = RegistrationId::from_random([5; 16]);
    assert!(desk.registry.deregister(unknown, now()).await.is_err());
    assert!(desk.registry.consume_token(&shown(9), now()).await.is_err());
    assert_eq!(leaves(&desk.registry).await, before);
}

#[tokio::test]
async fn proofs_hold_for_what_is_stored() {
    let desk = Desk::with_two_nodes().await;
    for number in 0..40 {
        desk.register(number, &format!("sa-{number}"), "n1")
            .await
            .unwrap();
    }
    let registry = &desk.registry;
    let leaves = leaves(registry).await;
    let size = registry.log_size().await.unwrap();
    assert_eq!(u64::try_from(leaves.len()), Ok(size));
    let root = registry.log_root(size).await.unwrap();
    let mut audit = Audit::new([], []).unwrap();
    for leaf in &leaves {
        audit.entry(leaf.position, &leaf.leaf, &leaf.hashes).unwrap();
        let plan = Plan::inclusion(leaf.position, size).unwrap();
        let proof = registry.log_proof(&plan).await.unwrap();
        let hash = Hash::leaf(&leaf.leaf);
        assert_eq!(verify_inclusion(hash, leaf.position, size, &proof, &root), Ok(()));
        let old = leaf.position + 1;
        let proof = registry
            .log_proof(&Plan::consistency(old, size).unwrap())
            .await
            .unwrap();
        let old_root = registry.log_root(old).await.unwrap();
        assert_eq!(
            verify_consistency((old, &old_root), (size, &root), &proof),
            Ok(())
        );
    }
    assert_eq!(audit.finish().unwrap().root, root);
    assert!(
        registry.log_root(size + 1).await.is_err(),
        "a root of what is not there"
    );
}

#[tokio::test]
async fn a_restart_goes_on_at_the_end_of_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("registry.db");
    std::fs::write(&path, "").unwrap();
    let mut sizes = Vec::new();
    for restart in 0..5 {
        let desk = Desk {
            registry: Registry::open(&path).await.unwrap(),
        };
        desk.attest(restart, &format!("n{restart}"), &[]).await.unwrap();
        sizes.push(desk.registry.log_size().await.unwrap());
        desk.registry.close().await;
    }
    assert_eq!(sizes, [3, 6, 9, 12, 15]);
    let registry = Registry::open(&path).await.unwrap();
    // Two processes on one database, as replicas will be: each sees what the other appended.
    let other = Registry::open(&path).await.unwrap();
    for mode in [Encryption::WireGuard, Encryption::Off] {
        registry.set_encryption(mode).await.unwrap();
        let mode = match mode {
            Encryption::WireGuard => Encryption::Off,
            Encryption::Off => Encryption::WireGuard,
        };
        other.set_encryption(mode).await.unwrap();
    }
    let mut audit = Audit::new([], []).unwrap();
    for leaf in leaves(&registry).await {
        audit.entry(leaf.position, &leaf.leaf, &leaf.hashes).unwrap();
    }
    assert_eq!(audit.finish().unwrap().size, 18);
}
