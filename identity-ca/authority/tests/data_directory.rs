//! The key on disk: who may read it, and what a restart finds.

#![expect(clippy::unwrap_used, reason = "a test that cannot make its files has failed")]

use rcgen::{CertificateParams, KeyPair};
use signet_authority::{DataDirectory, DirectoryError};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

const AUTHORITY: &str = "authority.pem";

/// What an earlier version wrote: a key, then its certificate.
fn authority() -> String {
    let key = KeyPair::generate().unwrap();
    let root = CertificateParams::default().self_signed(&key).unwrap();
    key.serialize_pem() + &root.pem()
}

fn store(directory: &DataDirectory) -> Result<(), DirectoryError> {
    directory.write_secret(AUTHORITY, authority().as_bytes())
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_secret_survives_a_restart_and_only_its_owner_can_read_it() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("ca");
    let directory = DataDirectory::open(&path).unwrap();
    assert!(directory.earlier_authority().unwrap().is_none());
    directory.write_secret("x.key", b"secret").unwrap();
    drop(directory);
    let directory = DataDirectory::open(&path).unwrap();
    assert_eq!(*directory.read_secret("x.key").unwrap().unwrap(), b"secret");
    assert_eq!(mode(&path), 0o700);
    for file in fs::read_dir(&path).unwrap() {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }
}

#[test]
fn a_directory_or_key_file_open_to_others_is_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("ca");
    store(&DataDirectory::open(&path).unwrap()).unwrap();
    for loose in [0o750, 0o701, 0o777] {
        chmod(&path, loose);
        let error = DataDirectory::open(&path).unwrap_err();
        assert!(
            matches!(error, DirectoryError::Mode { mode, .. } if mode == loose),
            "{error}"
        );
        assert!(error.to_string().contains("chmod"), "{error}");
    }
    chmod(&path, 0o700);
    let directory = DataDirectory::open(&path).unwrap();
    chmod(&path.join("authority.pem"), 0o640);
    assert!(matches!(
        directory.earlier_authority(),
        Err(DirectoryError::Mode { mode: 0o640, .. })
    ));
}

#[test]
fn links_in_place_of_files_are_not_followed() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("ca");
    let directory = DataDirectory::open(&path).unwrap();
    let elsewhere = temporary.path().join("elsewhere");
    symlink(&elsewhere, path.join("authority.pem.new")).unwrap();
    symlink(&elsewhere, path.join("registry.db")).unwrap();
    assert!(matches!(store(&directory), Err(DirectoryError::Io { .. })));
    assert!(matches!(
        directory.private_file("registry.db"),
        Err(DirectoryError::Io { .. })
    ));
    assert!(!elsewhere.exists());
}

#[test]
fn two_authorities_never_share_a_directory() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("ca");
    let first = DataDirectory::open(&path).unwrap();
    assert!(matches!(
        DataDirectory::open(&path),
        Err(DirectoryError::Locked { .. })
    ));
    drop(first);
    assert!(DataDirectory::open(&path).is_ok());
}

#[test]
fn what_an_earlier_version_kept_is_found_and_damage_is_not_passed_over() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("ca");
    let directory = DataDirectory::open(&path).unwrap();
    store(&directory).unwrap();
    let found = directory.earlier_authority().unwrap().unwrap();
    assert!(!found.pkcs8.is_empty() && format!("{found:?}") == "EarlierAuthority(..)");
    let file = path.join(AUTHORITY);
    let whole = fs::read_to_string(&file).unwrap();
    for damaged in [
        "",
        &whole[..whole.len() / 2],
        &whole.replace("CERTIFICATE", "CERT"),
    ] {
        fs::write(&file, damaged).unwrap();
        assert!(matches!(
            directory.earlier_authority(),
            Err(DirectoryError::Damaged { .. })
        ));
    }
}

#[test]
fn so_is_its_jwt_key() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("ca");
    let directory = DataDirectory::open(&path).unwrap();
    assert!(directory.earlier_jwt_key().unwrap().is_none());
    let key = KeyPair::generate().unwrap();
    directory
        .write_secret("jwt-key.pem", key.serialize_pem().as_bytes())
        .unwrap();
    assert_eq!(
        *directory.earlier_jwt_key().unwrap().unwrap(),
        key.serialize_der()
    );
    let file = path.join("jwt-key.pem");
    chmod(&file, 0o640);
    assert!(matches!(
        directory.earlier_jwt_key(),
        Err(DirectoryError::Mode { mode: 0o640, .. })
    ));
    chmod(&file, 0o600);
    fs::write(&file, "").unwrap();
    assert!(matches!(
        directory.earlier_jwt_key(),
        Err(DirectoryError::DamagedKey { .. })
    ));
}
