//! A backup of a PostgreSQL database, as docs/disaster.md has it.

use std::fs;

use signet_ca::Database;
use signet_test_postgres::shared;

use crate::log::checkpoint;
use crate::replicas::{database, with_keys_of};
use crate::running::{Running, TestNode};

/// A program of PostgreSQL's, on a database.
fn run(program: &str, arguments: &[&str]) {
    let done = shared()
        .unwrap()
        .client(program)
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{program}: {said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_of_a_running_ca_s_database_is_a_ca_elsewhere_for_the_nodes_that_it_knows() {
    let Some(before) = database("a_dump_of_a_running_ca_s_database_is_a_ca_elsewhere") else {
        return;
    };
    let Database::Postgres(url) = &before else {
        panic!("not PostgreSQL");
    };
    let ca = Running::on_database(tempfile::tempdir().unwrap(), before.clone()).await;
    let node = ca.node("n1", &[]).await;
    let web = ca.register("spiffe://td/web", "n1", "unix:uid:1").await.unwrap();
    checkpoint(&ca).await.unwrap();
    // Head, database, keys, while it runs.
    let elsewhere = with_keys_of(ca.directory.path());
    let (from, to) = (ca.directory.path().join("data"), elsewhere.path().join("data"));
    fs::copy(from.join("log.head"), to.join("log.head")).unwrap();
    let dump = elsewhere.path().join("dump.sql");
    let dump = dump.to_str().unwrap();
    run("pg_dump", &["--no-owner", "--file", dump, url]);
    // What came after the backup is lost with the host.
    ca.register("spiffe://td/late", "n1", "unix:uid:2").await.unwrap();
    drop(ca.stop().await);

    let after = shared().unwrap().database().unwrap();
    run("psql", &["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", dump, &after]);
    let ca = Running::on_database(elsewhere, Database::Postgres(after)).await;
    let client = ca.client(Some(&node.identity)).await.unwrap();
    let node = TestNode { client, ..node };
    assert_eq!(node.follow(0).await.next().await.registrations, [web]);
    checkpoint(&ca).await.unwrap();
    ca.register("spiffe://td/new", "n1", "unix:uid:3").await.unwrap();
}
