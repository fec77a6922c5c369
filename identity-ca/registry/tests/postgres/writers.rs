//! Several CAs on one database.

use std::collections::BTreeSet;
use std::time::Duration;

use signet_registry::{
    AnnounceError, Announcement, Encryption, FIRST_IDENTITY, NewRegistration, NodeFate, Position,
    RegistrationId, Registry, Revision, SvidTerms,
};
use signet_spiffe::NodeName;
use sqlx::{Connection as _, PgConnection};
use tokio::time::timeout;

use crate::backend::database;
use crate::desk::{Desk, id, node, now};

/// For what should be there at once, on a machine that is busy.
const SOON: Duration = Duration::from_secs(30);

async fn replicas(count: usize) -> (String, Vec<Desk>) {
    let url = database();
    let opening = (0..count).map(|_| {
        let url = url.clone();
        tokio::spawn(async move { Registry::connect(&url).await.unwrap() })
    });
    let mut desks = Vec::new();
    for opened in opening.collect::<Vec<_>>() {
        desks.push(Desk {
            registry: opened.await.unwrap(),
        });
    }
    desks[0].attest(1, "n1", &[]).await.unwrap();
    (url, desks)
}

fn registration(number: u32) -> NewRegistration {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    NewRegistration {
        id: RegistrationId::from_random(bytes),
        spiffe_id: id(&format!("w{number}")),
        node: node("n1"),
        selectors: vec!["unix:uid:1000".parse().unwrap()],
        ttl: 0,
        federates_with: Vec::new(),
        terms: SvidTerms::default(),
        role: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn replicas_that_start_at_once_agree_on_one_history() {
    let (_, desks) = replicas(4).await;
    let mut marks = Vec::new();
    for desk in &desks {
        marks.push(desk.registry.mark(Revision(1)).await.unwrap());
    }
    assert!(marks[0].is_some() && marks.iter().all(|mark| *mark == marks[0]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn numbers_are_unique_whoever_hands_them_out() {
    let (_, desks) = replicas(3).await;
    let mut running = Vec::new();
    for number in 0..60_u32 {
        let registry = desks[usize::try_from(number % 3).unwrap()].registry.clone();
        running.push(tokio::spawn(async move {
            registry
                .register(&registration(number), now())
                .await
                .unwrap()
                .identity
        }));
    }
    let mut numbers = BTreeSet::new();
    for done in running {
        assert!(numbers.insert(done.await.unwrap()), "a number was given twice");
    }
    assert_eq!(numbers, (FIRST_IDENTITY..FIRST_IDENTITY + 60).collect());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_misses_nothing_that_commits_while_it_reads() {
    let (_, desks) = replicas(3).await;
    let name: NodeName = node("n1");
    let mut writers = Vec::new();
    for (part, desk) in (0..).zip(&desks[..2]) {
        let registry = desk.registry.clone();
        writers.push(tokio::spawn(async move {
            for number in 0..40_u32 {
                registry
                    .register(&registration(number * 2 + part), now())
                    .await
                    .unwrap();
            }
        }));
    }
    // Resumes again and again from where it is, as a stream does, and never gets a second chance to see a revision.
    let reader = &desks[2].registry;
    let mut watch = reader.watch();
    let mut at = Position::default();
    let mut seen = BTreeSet::new();
    let following = async {
        while seen.len() < 80 {
            if let Some(changes) = reader.changes_since(&name, at).await.unwrap() {
                assert_eq!(changes.snapshot, at == Position::default());
                assert!(changes.revision > at.revision);
                seen.extend(
                    changes
                        .registrations
                        .iter()
                        .map(|registration| registration.id.to_string()),
                );
                at = Position {
                    revision: changes.revision,
                    mark: changes.mark,
                };
            } else {
                watch.changed().await.unwrap();
            }
        }
    };
    timeout(SOON, following).await.unwrap();
    for writer in writers {
        writer.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_through_one_wakes_those_who_watch_another() {
    let (_, desks) = replicas(2).await;
    let mut watch = desks[1].registry.watch();
    let revision = desks[0]
        .registry
        .set_encryption(Encryption::WireGuard)
        .await
        .unwrap();
    timeout(SOON, watch.wait_for(|latest| *latest >= revision))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        desks[1].registry.encryption().await.unwrap(),
        Encryption::WireGuard
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_announced_while_the_connection_was_lost_is_caught_up_on() {
    let (url, desks) = replicas(2).await;
    let mut watch = desks[1].registry.watch();
    let mut admin = PgConnection::connect(&url).await.unwrap();
    // A change that nobody announces, and all connections lost: as if the announcement had been on its way in one of them.
    sqlx::query("INSERT INTO changes (kind, key, mark) VALUES ('cluster', '', '0123456789abcdef')")
        .execute(&mut admin)
        .await
        .unwrap();
    let (revision,): (i64,) = sqlx::query_as("SELECT MAX(revision) FROM changes")
        .fetch_one(&mut admin)
        .await
        .unwrap();
    let revision = Revision(u64::try_from(revision).unwrap());
    assert!(*watch.borrow() < revision);
    sqlx::query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    .execute(&mut admin)
    .await
    .unwrap();
    timeout(SOON, watch.wait_for(|latest| *latest == revision))
        .await
        .unwrap()
        .unwrap();
    // And it listens again.
    let next = desks[0].registry.set_encryption(Encryption::WireGuard).await;
    let next = match next {
        Ok(next) => next,
        // The pool had not noticed yet.
        Err(error) => {
            assert!(error.is_unavailable(), "{error}");
            desks[0]
                .registry
                .set_encryption(Encryption::WireGuard)
                .await
                .unwrap()
        }
    };
    timeout(SOON, watch.wait_for(|latest| *latest >= next))
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_hangs_stops_nobody_for_long_and_one_that_dies_nobody_at_all() {
    let (url, desks) = replicas(1).await;
    let mut dead = PgConnection::connect(&url).await.unwrap();
    sqlx::query("BEGIN").execute(&mut dead).await.unwrap();
    sqlx::query("SELECT pg_advisory_xact_lock(x'5369676e6574'::bigint)")
        .execute(&mut dead)
        .await
        .unwrap();
    let waiting = {
        let registry = desks[0].registry.clone();
        tokio::spawn(async move { registry.set_encryption(Encryption::WireGuard).await })
    };
    let refused = timeout(SOON, waiting).await.unwrap().unwrap().unwrap_err();
    assert!(refused.is_unavailable(), "{refused}");
    dead.close_hard().await.unwrap();
    timeout(SOON, desks[0].registry.set_encryption(Encryption::WireGuard))
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_node_has_at_one_replica_no_other_node_gets_at_another() {
    let (_, desks) = replicas(2).await;
    let [here, there] = &desks[..] else {
        panic!("two replicas");
    };
    let announce = async |desk: &Desk, name: &str, connected: &[&str]| {
        let seen = "192.0.2.1".parse().unwrap();
        let announcement = Announcement {
            seen,
            addresses: vec![seen],
            session_port: 4250,
        };
        let connected: BTreeSet<_> = connected.iter().map(|name| node(name)).collect();
        let name = node(name);
        desk.registry.announce(&name, &announcement, &connected).await
    };
    // Both have looked at all nodes before the first one changes.
    there.attest(2, "n2", &["10.2.0.0/16"]).await.unwrap();
    here.attest(3, "n3", &["10.3.0.0/16"]).await.unwrap();
    announce(here, "n3", &[]).await.unwrap();
    let overlap = there.attest(4, "n4", &["10.3.7.0/24"]).await.unwrap_err();
    assert!(overlap.to_string().contains("10.3.0.0/16"), "{overlap}");
    let taken = announce(there, "n2", &["n3"]).await.unwrap_err();
    assert!(matches!(taken, AnnounceError::Taken { .. }), "{taken}");
    here.fate("n3", NodeFate::Evicted).await.unwrap();
    // Gone there, free here.
    there.attest(4, "n4", &["10.3.7.0/24"]).await.unwrap();
    announce(there, "n2", &["n3"]).await.unwrap();
    let known = here.registry.node(&node("n2")).await.unwrap().unwrap();
    assert_eq!(known.session_port, 4250);
}
