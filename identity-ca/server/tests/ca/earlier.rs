//! A data directory of a version that kept its signing keys in files.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose, PublicKeyData as _, SanType,
};
use signet_spiffe::{JwtKey, X509Bundle};

use crate::rotation::{X509, next_bundle};
use crate::running::{Running, domain};

/// What that version wrote: `authority.pem` and `jwt-key.pem`. The bundle, and the JWT key's ID.
fn write(data: &Path) -> (X509Bundle, String) {
    fs::DirBuilder::new().mode(0o700).create(data).unwrap();
    let keep = |name: &str, text: &str| {
        fs::write(data.join(name), text).unwrap();
        fs::set_permissions(data.join(name), fs::Permissions::from_mode(0o600)).unwrap();
    };
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.subject_alt_names = vec![SanType::URI("spiffe://td".try_into().unwrap())];
    let root = params.self_signed(&key).unwrap();
    keep("authority.pem", &(key.serialize_pem() + &root.pem()));
    let jwt = KeyPair::generate().unwrap();
    keep("jwt-key.pem", &jwt.serialize_pem());
    let bundle = X509Bundle::new(domain(), vec![root.der().clone()]).unwrap();
    (bundle, JwtKey::p256(jwt.der_bytes()).unwrap().id().to_owned())
}

#[tokio::test]
async fn the_keys_of_an_earlier_version_are_taken_over_and_its_files_are_needed_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let (bundle, jwt) = write(&data);
    let mut directory = directory;
    for is_first in [true, false] {
        let ca = Running::on_disk(directory).await;
        assert_eq!(ca.server.bundle(), bundle);
        let authorities = ca.authorities_of(X509).await;
        assert_eq!((authorities.len(), authorities[0].state.as_str()), (1, "active"));
        // As it was by the certificate, not since the update.
        assert!(
            authorities[0].activated < authorities[0].not_after && authorities[0].key_manager == "sealed"
        );
        assert_eq!(ca.authorities_of("jwt").await[0].id, jwt);
        let node = ca.node(if is_first { "n1" } else { "n2" }, &[]).await;
        assert_eq!(next_bundle(&mut node.follow(0).await).await.sequence, 1);
        directory = ca.stop().await;
        for file in ["authority.pem", "jwt-key.pem"] {
            if is_first {
                // They are the operator's to delete.
                fs::remove_file(data.join(file)).unwrap();
            }
        }
    }
}

#[tokio::test]
async fn files_of_other_keys_change_nothing_where_the_registry_has_its_own() {
    let directory = Running::on_disk(tempfile::tempdir().unwrap()).await.stop().await;
    let data = directory.path().join("data");
    let elsewhere = directory.path().join("elsewhere");
    write(&elsewhere);
    let ca = Running::on_disk(directory).await;
    let bundle = ca.server.bundle();
    let directory = ca.stop().await;
    fs::rename(elsewhere.join("authority.pem"), data.join("authority.pem")).unwrap();
    let ca = Running::on_disk(directory).await;
    assert_eq!(ca.server.bundle(), bundle);
}
