//! A database of an earlier version, with rows in it, under this one.

use std::fs;
use std::path::Path;

use signet_registry::{Position, Registry};
use sqlx::migrate::Migrator;
use sqlx::postgres::PgPool;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use tempfile::TempDir;

use crate::replicas::database;

/// The last migration of that version.
const LAST: u32 = 3;

/// One of each, as that version wrote them.
const ROWS: [&str; 9] = [
    "INSERT INTO settings (key, value) VALUES ('trust_domain', 'td')",
    "INSERT INTO nodes (number, name, pod_cidrs, addresses, session_port, attested_at, svid_not_after)
         VALUES (1, 'n1', '10.244.1.0/24', '192.0.2.1', 4250, 1700000000, 4000000000)",
    "INSERT INTO identities (number, spiffe_id) VALUES (256, 'spiffe://td/web')",
    "INSERT INTO registrations (id, spiffe_id, node, selectors, ttl, created_at)
         VALUES ('01010101-0101-0101-0101-010101010101', 'spiffe://td/web', 'n1', 'unix:uid:1', 60, 1700000000)",
    "INSERT INTO changes (kind, key) VALUES ('bundle', '')",
    "INSERT INTO changes (kind, key) VALUES ('node', 'n1')",
    "INSERT INTO changes (kind, key) VALUES ('identity', 'spiffe://td/web')",
    "INSERT INTO changes (kind, key, node)
         VALUES ('registration', '01010101-0101-0101-0101-010101010101', 'n1')",
    "INSERT INTO revocations (kind, subject, owner, cause, cut, reason, asker, at, until, closed, banned, version)
         VALUES ('spiffe-id', 'spiffe://td/old', '', '', 1700000000, 'stolen', 'uid:0', 1700000000, 4000000000, 1, 0, 1)",
];

/// The migrations of that version alone.
async fn migrations(under: &str) -> (TempDir, Migrator) {
    let all = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../registry")
        .join(under);
    let early = tempfile::tempdir().unwrap();
    for file in fs::read_dir(all).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let number = name
            .split_once('_')
            .and_then(|(number, _)| number.parse::<u32>().ok());
        if number.is_some_and(|number| number <= LAST) {
            fs::copy(&path, early.path().join(name)).unwrap();
        }
    }
    let migrator = Migrator::new(early.path()).await.unwrap();
    assert_eq!(migrator.iter().count(), 3);
    (early, migrator)
}

async fn check(registry: &Registry) {
    let changes = registry
        .all_changes_since(Position::default())
        .await
        .unwrap()
        .unwrap();
    let [node] = &changes.nodes[..] else {
        panic!("not one node");
    };
    assert_eq!((node.name.as_str(), node.number.0), ("n1", 1));
    let [registration] = &changes.registrations[..] else {
        panic!("not one registration");
    };
    assert_eq!(registration.spiffe_id.as_str(), "spiffe://td/web");
    assert_eq!((registration.ttl, registration.role), (60, None));
    assert_eq!(changes.revocations.len(), 1);
    assert!(changes.revision.0 >= 4, "revisions never go down");
    registry.close().await;
}

#[tokio::test]
async fn a_sqlite_database_of_an_earlier_version_keeps_what_is_in_it() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("registry.db");
    let options = SqliteConnectOptions::new()
        .filename(&file)
        .create_if_missing(true);
    let pool = SqlitePool::connect_with(options).await.unwrap();
    migrations("migrations").await.1.run(&pool).await.unwrap();
    for row in ROWS {
        sqlx::query(row).execute(&pool).await.unwrap();
    }
    pool.close().await;
    check(&Registry::open(&file).await.unwrap()).await;
}

#[tokio::test]
async fn a_postgresql_database_of_an_earlier_version_keeps_what_is_in_it() {
    let Some(signet_ca::Database::Postgres(url)) =
        database("a_postgresql_database_of_an_earlier_version_keeps_what_is_in_it")
    else {
        return;
    };
    let pool = PgPool::connect(&url).await.unwrap();
    migrations("migrations/postgres")
        .await
        .1
        .run(&pool)
        .await
        .unwrap();
    for row in ROWS {
        sqlx::query(row).execute(&pool).await.unwrap();
    }
    pool.close().await;
    check(&Registry::connect(&url).await.unwrap()).await;
}
