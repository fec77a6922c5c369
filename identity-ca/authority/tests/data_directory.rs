//! The key on disk: who may read it, and what a restart finds.

#![expect(clippy::unwrap_used, reason = "a test that cannot make its files has failed")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use signet_authority::{
    Authority, DataDirectory, DirectoryError, JwtAuthority, JwtSigningKey, Serial, SigningKey,
};
use signet_spiffe::{TrustDomain, UnixTime};

fn domain() -> TrustDomain {
    TrustDomain::parse("td").unwrap()
}

fn authority() -> Authority {
    let now = UnixTime::since_unix_epoch(Duration::from_hours(500_000));
    let key = SigningKey::generate().unwrap();
    Authority::create(
        domain(),
        key,
        Serial::from_random([7; 16]),
        now,
        Duration::from_hours(24),
    )
    .unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn an_authority_survives_a_restart_and_only_its_owner_can_read_it() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("ca");
    let stored = authority();
    let directory = DataDirectory::open(&path).unwrap();
    assert!(directory.load(&domain()).unwrap().is_none());
    directory.store(&stored).unwrap();
    drop(directory);
    let directory = DataDirectory::open(&path).unwrap();
    let loaded = directory.load(&domain()).unwrap().unwrap();
    assert_eq!(loaded.bundle(), stored.bundle());
    assert_eq!(mode(&path), 0o700);
    for file in fs::read_dir(&path).unwrap() {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }
}

#[test]
fn a_directory_or_key_file_open_to_others_is_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("ca");
    DataDirectory::open(&path).unwrap().store(&authority()).unwrap();
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
        directory.load(&domain()),
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
    assert!(matches!(
        directory.store(&authority()),
        Err(DirectoryError::Io { .. })
    ));
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
fn a_damaged_or_foreign_authority_is_refused_rather_than_replaced() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("ca");
    let directory = DataDirectory::open(&path).unwrap();
    directory.store(&authority()).unwrap();
    let file = path.join("authority.pem");
    let whole = fs::read_to_string(&file).unwrap();
    let other = TrustDomain::parse("other").unwrap();
    assert!(matches!(
        directory.load(&other),
        Err(DirectoryError::Authority(_))
    ));
    for damaged in [
        "",
        &whole[..whole.len() / 2],
        &whole.replace("CERTIFICATE", "CERT"),
    ] {
        fs::write(&file, damaged).unwrap();
        assert!(directory.load(&domain()).is_err());
    }
}

#[test]
fn the_jwt_key_is_kept_as_the_root_is() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("ca");
    let directory = DataDirectory::open(&path).unwrap();
    assert!(directory.load_jwt_key().unwrap().is_none());
    let stored = JwtAuthority::new(domain(), JwtSigningKey::generate().unwrap(), []).unwrap();
    directory.store_jwt_key(&stored).unwrap();
    let loaded = directory.load_jwt_key().unwrap().unwrap();
    assert_eq!(loaded.public(), &stored.bundle().keys()[0]);
    let file = path.join("jwt-key.pem");
    assert_eq!(mode(&file), 0o600);
    chmod(&file, 0o640);
    assert!(matches!(
        directory.load_jwt_key(),
        Err(DirectoryError::Mode { mode: 0o640, .. })
    ));
    chmod(&file, 0o600);
    fs::write(&file, "").unwrap();
    assert!(matches!(
        directory.load_jwt_key(),
        Err(DirectoryError::DamagedKey { .. })
    ));
}
