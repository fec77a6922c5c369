//! What the CA's keys are sealed under, and how that is changed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use signet_ca::{KekSource, Storage};
use signet_keys::SecretFile;
use signet_log::{LogKey, VerifierKey};

use crate::daemon::Daemon;
use crate::log::checkpoint;
use crate::running::Running;

fn secret(directory: &Path, name: &str, content: &str) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn key_file(directory: &Path, name: &str, digit: &str) -> KekSource {
    KekSource::KeyFile(SecretFile::new(secret(directory, name, &digit.repeat(64))))
}

/// With its data below `home`.
async fn start(home: &Path, kek: KekSource) -> Result<Running, String> {
    let storage = Storage::Directory(home.join("data"));
    Running::configured(storage, tempfile::tempdir().unwrap(), |config| {
        config.keys.kek = kek;
    })
    .await
    .map_err(|error| format!("{error:#}"))
}

async fn refusal(home: &Path, kek: KekSource) -> String {
    start(home, kek).await.map(drop).unwrap_err()
}

/// Whose signature the log's head has.
async fn log_key(ca: &Running) -> VerifierKey {
    checkpoint(ca).await.unwrap().1
}

fn rewrap(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_signet-ca"));
    command
        .arg("rewrap-keys")
        .arg("--data-dir")
        .arg(directory.join("data"))
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn the_log_s_key_is_in_the_registry_sealed_and_no_file_has_it() {
    let home = tempfile::tempdir().unwrap();
    let ca = start(home.path(), KekSource::DataDirectory).await.unwrap();
    let key = log_key(&ca).await;
    ca.stop().await;
    let data = home.path().join("data");
    assert!(!data.join("log.key").exists());
    let kek = data.join("key-encryption.key");
    assert_eq!(fs::metadata(&kek).unwrap().permissions().mode() & 0o7777, 0o600);
    let ca = start(home.path(), KekSource::DataDirectory).await.unwrap();
    assert_eq!(log_key(&ca).await, key);
    ca.stop().await;
}

#[tokio::test]
async fn the_log_s_key_of_an_earlier_version_is_taken_over_and_its_file_is_left_to_the_operator() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
    let text = LogKey::secret_text("td/signet/log", &[7; 32]).unwrap();
    secret(&data, "log.key", &text);
    let old = LogKey::from_secret_text(&text).unwrap();
    let ca = start(home.path(), KekSource::DataDirectory).await.unwrap();
    assert_eq!(log_key(&ca).await, *old.verifier());
    ca.stop().await;
    assert_eq!(fs::read_to_string(data.join("log.key")).unwrap(), *text);
    fs::remove_file(data.join("log.key")).unwrap();
    let ca = start(home.path(), KekSource::DataDirectory).await.unwrap();
    assert_eq!(log_key(&ca).await, *old.verifier());
    ca.stop().await;
    // One of another CA is not passed over.
    let other = LogKey::secret_text("td/signet/log", &[8; 32]).unwrap();
    secret(&data, "log.key", &other);
    let refused = refusal(home.path(), KekSource::DataDirectory).await;
    assert!(refused.contains("log.key"), "{refused}");
}

#[tokio::test]
async fn another_key_is_refused_by_name_and_changes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let (right, wrong) = (key_file(home.path(), "a", "a"), key_file(home.path(), "b", "b"));
    let words = secret(home.path(), "words", "correct horse battery staple\n");
    let words = KekSource::PassphraseFile(SecretFile::new(words));
    let missing = KekSource::KeyFile(SecretFile::new("/nonexistent/kek"));
    let ca = start(home.path(), right.clone()).await.unwrap();
    let key = log_key(&ca).await;
    ca.stop().await;
    for (kek, told) in [
        (wrong, "not the one"),
        (words, "under a key, not a passphrase"),
        (KekSource::DataDirectory, "--key-encryption-key-file"),
        (missing, "/nonexistent/kek"),
    ] {
        let refused = refusal(home.path(), kek).await;
        assert!(refused.contains(told), "{refused}");
    }
    assert!(!home.path().join("data/key-encryption.key").exists());
    let ca = start(home.path(), right).await.unwrap();
    assert_eq!(log_key(&ca).await, key);
    ca.stop().await;
}

#[tokio::test]
async fn what_keys_are_sealed_under_is_changed_and_the_old_opens_nothing_any_more() {
    let home = tempfile::tempdir().unwrap();
    let words = secret(home.path(), "words", "correct horse battery staple\n");
    let file = secret(home.path(), "kek", &"c".repeat(64));
    let (words_path, file_path) = (words.to_str().unwrap(), file.to_str().unwrap());
    let words = KekSource::PassphraseFile(SecretFile::new(&words));
    let file = KekSource::KeyFile(SecretFile::new(&file));
    let ca = start(home.path(), KekSource::DataDirectory).await.unwrap();
    let key = log_key(&ca).await;
    // While a CA runs on the directory it is not touched.
    let held = rewrap(home.path(), &["--new-key-in-data-dir"]).output().unwrap();
    assert!(
        !held.status.success() && said(&held).contains("another signet-ca"),
        "{}",
        said(&held)
    );
    ca.stop().await;
    let mut used = KekSource::DataDirectory;
    for (arguments, now) in [
        (vec!["--new-key-passphrase-file", words_path], words.clone()),
        (
            vec![
                "--key-passphrase-file",
                words_path,
                "--new-key-encryption-key-file",
                file_path,
            ],
            file.clone(),
        ),
        (
            vec!["--key-encryption-key-file", file_path, "--new-key-in-data-dir"],
            KekSource::DataDirectory,
        ),
    ] {
        let done = rewrap(home.path(), &arguments).output().unwrap();
        assert!(done.status.success(), "{}", said(&done));
        assert!(!said(&done).contains(&"c".repeat(64)) && !said(&done).contains("horse"));
        if used != now {
            refusal(home.path(), used).await;
        }
        let ca = start(home.path(), now.clone()).await.unwrap();
        assert_eq!(log_key(&ca).await, key);
        ca.stop().await;
        used = now;
    }
    let wrong = [
        "--key-encryption-key-file",
        file_path,
        "--new-key-passphrase-file",
        words_path,
    ];
    let wrong = rewrap(home.path(), &wrong).output().unwrap();
    assert!(
        !wrong.status.success() && said(&wrong).contains("nothing was changed"),
        "{}",
        said(&wrong)
    );
}

#[tokio::test]
async fn a_change_of_the_key_that_is_killed_anywhere_leaves_keys_that_open() {
    let home = tempfile::tempdir().unwrap();
    let ca = start(home.path(), KekSource::DataDirectory).await.unwrap();
    let key = log_key(&ca).await;
    ca.stop().await;
    let data = home.path().join("data");
    let kek = || fs::read(data.join("key-encryption.key")).unwrap();
    let (mut changed, mut cut) = (0, 0);
    for round in 0.. {
        let before = kek();
        let mut process = rewrap(home.path(), &["--new-key-in-data-dir"]).spawn().unwrap();
        // Later and later, until it gets through.
        tokio::time::sleep(Duration::from_millis(2 * round)).await;
        process.kill().unwrap();
        let ended = process.wait().unwrap();
        let ca = start(home.path(), KekSource::DataDirectory).await;
        let ca = ca.unwrap_or_else(|error| panic!("after {} ms: {error}", 2 * round));
        assert_eq!(log_key(&ca).await, key);
        ca.stop().await;
        changed += usize::from(kek() != before);
        cut += usize::from(!ended.success());
        if ended.success() {
            break;
        }
    }
    assert!(changed > 0 && cut > 0, "{changed} changed, {cut} killed");
}

#[tokio::test]
async fn between_the_registry_and_the_new_name_of_the_key_both_open_it() {
    let home = tempfile::tempdir().unwrap();
    let mut ca = Daemon::start(home.path());
    ca.kill();
    let data = home.path().join("data");
    let before = fs::read(data.join("key-encryption.key")).unwrap();
    assert!(
        rewrap(home.path(), &["--new-key-in-data-dir"])
            .output()
            .unwrap()
            .status
            .success()
    );
    // As if it had been killed before the last step.
    fs::rename(
        data.join("key-encryption.key"),
        data.join("key-encryption.key.next"),
    )
    .unwrap();
    secret(&data, "key-encryption.key", &String::from_utf8(before).unwrap());
    let ca = Daemon::start(home.path());
    assert!(!data.join("key-encryption.key.next").exists());
    drop(ca);
    // And one that was never used is no harm.
    secret(&data, "key-encryption.key.next", &"d".repeat(64));
    drop(Daemon::start(home.path()));
}
