//! A registry of an earlier day in place of the one that the CA has signed.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

use signet_ca::{Config, Server, Storage};
use signet_log::Record;
use signet_proto::ca::v1::SignLogCheckpointRequest;
use sqlx::ConnectOptions as _;
use tempfile::TempDir;

use crate::daemon::Daemon;
use crate::log::{checkpoint, records};
use crate::running::{Running, domain};

/// Starts a CA on the directory, and ends it where it starts.
async fn start(directory: &Path, accept: bool) -> anyhow::Result<()> {
    let storage = Storage::Directory(directory.join("data"));
    let config = Config {
        accept_restored_registry: accept,
        ..Config::new(domain(), storage, directory.join("other.sock"))
    };
    Server::start(config).await?.shutdown().await;
    Ok(())
}

async fn refusal(directory: &Path) -> String {
    let started = start(directory, false).await;
    format!("{:#}", started.unwrap_err())
}

/// A CA that went on for a while after its registry was copied, and has that copy now.
async fn put_back() -> TempDir {
    let ca = Running::on_disk(tempfile::tempdir().unwrap()).await;
    ca.node("n1", &[]).await;
    let directory = ca.stop().await;
    let registry = directory.path().join("data/registry.db");
    let copy = directory.path().join("copy");
    fs::copy(&registry, &copy).unwrap();
    let ca = Running::on_disk(directory).await;
    ca.node("n2", &[]).await;
    // No checkpoint is asked for: the CA holds itself to what it knew when it ended.
    let directory = ca.stop().await;
    for beside in ["data/registry.db-wal", "data/registry.db-shm"] {
        let _ = fs::remove_file(directory.path().join(beside));
    }
    fs::copy(&copy, &registry).unwrap();
    directory
}

#[tokio::test]
async fn an_older_registry_is_refused_until_it_is_accepted_and_the_log_says_so() {
    let directory = put_back().await;
    for _ in 0..2 {
        let refused = refusal(directory.path()).await;
        assert!(refused.contains("--accept-restored-registry"), "{refused}");
        assert!(refused.contains("is not its continuation"), "{refused}");
    }
    start(directory.path(), true).await.unwrap();
    // Once is enough.
    let ca = Running::on_disk(directory).await;
    checkpoint(&ca).await.unwrap();
    let restored = records(&ca).await.into_iter().filter(|record| match record {
        Record::Change(change) => change.subject == "registry-restored" && change.before.is_some(),
        Record::Issuance(_) => false,
    });
    assert_eq!(restored.count(), 1);
    ca.stop().await;
}

#[tokio::test]
async fn a_registry_that_goes_on_from_what_was_signed_is_good_with_and_without_an_older_head() {
    let ca = Running::on_disk(tempfile::tempdir().unwrap()).await;
    let directory = ca.stop().await;
    let head = directory.path().join("data/log.head");
    let older = fs::read(&head).unwrap();
    let ca = Running::on_disk(directory).await;
    ca.node("n1", &[]).await;
    let directory = ca.stop().await;
    assert_ne!(fs::read(&head).unwrap(), older);
    // As after a crash between the two, and as with the first start of this version.
    fs::write(&head, older).unwrap();
    start(directory.path(), false).await.unwrap();
    fs::remove_file(&head).unwrap();
    start(directory.path(), true).await.unwrap();
    assert!(head.exists());
    let ca = Running::on_disk(directory).await;
    let accepted = records(&ca).await.into_iter().filter(|record| match record {
        Record::Change(change) => change.subject == "registry-restored",
        Record::Issuance(_) => false,
    });
    assert_eq!(accepted.count(), 0, "there was nothing to accept");
    ca.stop().await;
}

#[tokio::test]
async fn a_head_that_cannot_be_read_is_not_passed_over() {
    let ca = Running::on_disk(tempfile::tempdir().unwrap()).await;
    let directory = ca.stop().await;
    fs::write(directory.path().join("data/log.head"), "damaged").unwrap();
    let refused = refusal(directory.path()).await;
    assert!(
        refused.contains("log.head") && refused.contains("--accept-restored-registry"),
        "{refused}"
    );
    start(directory.path(), true).await.unwrap();
    start(directory.path(), false).await.unwrap();
}

#[tokio::test]
async fn a_head_that_is_gone_is_told_of() {
    let directory = tempfile::tempdir().unwrap();
    let warnings = |ca: &Daemon| {
        let of_head = ca.said.iter().filter(|line| line.contains("log.head"));
        of_head.filter(|line| line.contains("WARN")).count()
    };
    let mut first = Daemon::start(directory.path());
    first
        .operator
        .sign_log_checkpoint(SignLogCheckpointRequest {})
        .await
        .unwrap();
    assert_eq!(warnings(&first), 0, "a new CA has none yet");
    first.kill();
    let mut again = Daemon::start(directory.path());
    assert_eq!(warnings(&again), 0, "it is there");
    again.kill();
    fs::remove_file(directory.path().join("data/log.head")).unwrap();
    let without = Daemon::start(directory.path());
    assert_eq!(warnings(&without), 1, "{:?}", without.said);
}

#[tokio::test]
async fn a_backup_of_a_running_ca_is_a_ca_elsewhere_for_the_nodes_that_it_knows() {
    let ca = Running::on_disk(tempfile::tempdir().unwrap()).await;
    let node = ca.node("n1", &[]).await;
    let web = ca.register("spiffe://td/web", "n1", "unix:uid:1").await.unwrap();
    checkpoint(&ca).await.unwrap();
    // As docs/disaster.md has it: head, database, keys, while it runs.
    let elsewhere = tempfile::tempdir().unwrap();
    let (from, to) = (ca.directory.path().join("data"), elsewhere.path().join("data"));
    fs::DirBuilder::new().mode(0o700).create(&to).unwrap();
    fs::copy(from.join("log.head"), to.join("log.head")).unwrap();
    let mut database = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(from.join("registry.db"))
        .connect()
        .await
        .unwrap();
    let copy = to.join("registry.db");
    sqlx::query("VACUUM INTO ?")
        .bind(copy.to_str().unwrap())
        .execute(&mut database)
        .await
        .unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o600)).unwrap();
    for file in fs::read_dir(&from).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|end| end == "key") {
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
    // The host is lost.
    drop(ca.stop().await);

    let ca = Running::on_disk(elsewhere).await;
    let client = ca.client(Some(&node.identity)).await.unwrap();
    let node = crate::running::TestNode { client, ..node };
    assert_eq!(node.follow(0).await.next().await.registrations, [web]);
    checkpoint(&ca).await.unwrap();
}
