//! Keys that are sealed anew while CAs run.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use signet_ca::{Clock, KekSource, Rewrap, Storage};
use signet_keys::SecretFile;

use crate::replicas::database;
use crate::rotation::X509;
use crate::running::Running;

fn key(directory: &Path, name: &str, digit: &str) -> KekSource {
    let path = directory.join(name);
    fs::write(&path, digit.repeat(64)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    KekSource::KeyFile(SecretFile::new(path))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_sealed_anew_beside_a_running_ca_which_makes_none_that_does_not_open() {
    let Some(database) = database("keys_are_sealed_anew_beside_a_running_ca") else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let ours = key(home.path(), "ours", "a");
    let start = async || {
        let directory = tempfile::tempdir().unwrap();
        let storage = Storage::Database {
            directory: directory.path().join("data"),
            database: database.clone(),
        };
        let running = Running::configured(storage, directory, |config| {
            config.keys.kek = ours.clone();
            config.rotation.publish_interval = Duration::ZERO;
            config.rotation.automatic = false;
        });
        running.await
    };
    let ca = start().await.unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let rewrap = Rewrap {
        directory: elsewhere.path().join("data"),
        database: Some(database.clone()),
        from: key(home.path(), "old", "a"),
        to: key(home.path(), "new", "b"),
        clock: Clock::system(),
    };
    rewrap.run().await.unwrap();
    // It would be sealed under what nobody has any more.
    let refused = ca.prepare(X509).await.unwrap_err();
    assert!(refused.message().contains("sealed anew"), "{refused}");
    assert_eq!(ca.states(X509).await, ["active"]);
    // What is open stays open.
    ca.node("n1", &[]).await;
    // Given the new key, it goes on as it is.
    key(home.path(), "ours", "b");
    let prepared = ca.prepare(X509).await.unwrap();
    ca.activate(X509, false).await.unwrap();
    let another = start().await.unwrap();
    assert_eq!(another.authorities_of(X509).await[1].id, prepared.id);
    another.node("n2", &[]).await;
}
