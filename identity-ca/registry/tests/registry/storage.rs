use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use signet_registry::{Registry, Standing, StorageError, TrustDomainError};
use signet_spiffe::TrustDomain;

use crate::desk::{Desk, NOW, at, node, now, shown};

fn database(directory: &Path) -> PathBuf {
    let path = directory.join("registry.db");
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

#[tokio::test]
async fn what_was_committed_survives_a_restart_and_no_file_is_open_to_others() {
    let directory = tempfile::tempdir().unwrap();
    let path = database(directory.path());
    let desk = Desk {
        registry: Registry::open(&path).await.unwrap(),
    };
    desk.attest(1, "n1", &["10.244.1.0/24"]).await.unwrap();
    let web = desk.register(1, "web", "n1").await.unwrap();
    let revision = *desk.registry.watch().borrow();
    for file in fs::read_dir(directory.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(
            file.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "{:?}",
            file.path()
        );
    }
    desk.registry.close().await;

    let registry = Registry::open(&path).await.unwrap();
    assert_eq!(*registry.watch().borrow(), revision);
    assert_eq!(registry.registrations().await.unwrap(), [web]);
    assert!(registry.node(&node("n1")).await.unwrap().is_some());
    assert!(
        registry.consume_token(&shown(1), now()).await.is_err(),
        "a used token works after a restart"
    );
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("registry.db");
    assert!(Registry::open(&path).await.is_err(), "a missing file was made");
    fs::write(&path, "this is not a database, and long enough to be looked at").unwrap();
    assert!(matches!(
        Registry::open(&path).await,
        Err(StorageError::Database(_) | StorageError::Migrate(_))
    ));
}

#[tokio::test]
async fn a_registry_belongs_to_one_trust_domain() {
    let desk = Desk::new().await;
    let (ours, other) = (
        TrustDomain::parse("td").unwrap(),
        TrustDomain::parse("other").unwrap(),
    );
    desk.registry.bind_trust_domain(&ours).await.unwrap();
    desk.registry.bind_trust_domain(&ours).await.unwrap();
    let error = desk.registry.bind_trust_domain(&other).await.unwrap_err();
    assert!(matches!(error, TrustDomainError::Other { .. }), "{error}");
}

#[tokio::test]
async fn a_node_s_svid_is_looked_up_once_until_something_is_written() {
    let desk = Desk::with_two_nodes().await;
    let (name, until) = (node("n1"), at(NOW + 60));
    let registry = &desk.registry;
    let begun = registry.record_first_svid(&name, &[1], until).await.unwrap();
    assert_eq!(begun, Standing::Good);
    let recognize = async |serial: &[u8]| registry.recognize(&name, serial).await;
    assert_eq!(recognize(&[1]).await.unwrap(), Standing::Good);
    // Another one takes its place: what was looked up before says nothing any more.
    let begun = registry.record_first_svid(&name, &[2], until).await.unwrap();
    assert_eq!(begun, Standing::Good);
    assert_eq!(recognize(&[1]).await.unwrap(), Standing::Replaced);
    assert_eq!(recognize(&[2]).await.unwrap(), Standing::Good);
    registry.close().await;
    assert_eq!(recognize(&[2]).await.unwrap(), Standing::Good, "from memory");
    recognize(&[1]).await.expect_err("what is not there is looked up");
}
