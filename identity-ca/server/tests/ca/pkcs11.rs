//! A CA whose keys are in a token: the real daemon, and `SoftHSM`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use signet_proto::ca::v1::authority_service_client::AuthorityServiceClient;
use signet_proto::ca::v1::{
    ActivateAuthorityRequest, Authority, IssueX509SvidRequest, ListAuthoritiesRequest,
    PrepareAuthorityRequest,
};
use signet_spiffe::{UnixTime, verify_x509_svid};
use tonic::transport::Channel;

use crate::daemon::{Daemon, prepare};
use crate::running::{chain, dial, request};

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const PIN: &str = "49731846";

/// A token below the directory; false, loudly, where there is no `SoftHSM`.
fn token(home: &Path, test: &str) -> bool {
    if !Path::new(MODULE).exists() {
        signet_skip::skip(
            &format!("pkcs11::{test}"),
            "there is no SoftHSM (Debian: softhsm2)",
        );
        return false;
    }
    let tokens = home.join("tokens");
    fs::create_dir(&tokens).unwrap();
    let conf = format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display());
    fs::write(home.join("softhsm2.conf"), conf).unwrap();
    let made = Command::new("softhsm2-util")
        .args([
            "--init-token",
            "--free",
            "--label",
            "signet",
            "--pin",
            PIN,
            "--so-pin",
            "84736251",
        ])
        .env("SOFTHSM2_CONF", home.join("softhsm2.conf"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let pin = home.join("pin");
    fs::write(&pin, format!("{PIN}\n")).unwrap();
    fs::set_permissions(&pin, fs::Permissions::from_mode(0o600)).unwrap();
    true
}

fn with_token(home: &Path, manager: &str) -> Daemon {
    Daemon::start_with(home, |command| {
        command
            .env("SOFTHSM2_CONF", home.join("softhsm2.conf"))
            .args([
                "--key-manager",
                manager,
                "--publish-interval",
                "0s",
                "--manual-rotation",
            ])
            .args([
                "--pkcs11-module",
                MODULE,
                "--pkcs11-token",
                "signet",
                "--pkcs11-pin-file",
            ])
            .arg(home.join("pin"));
    })
}

fn authorities(home: &Path) -> AuthorityServiceClient<Channel> {
    AuthorityServiceClient::new(signet_uds::connect(&home.join("ca.sock")).unwrap())
}

async fn list(home: &Path) -> Vec<Authority> {
    let call = authorities(home)
        .list_authorities(ListAuthoritiesRequest {})
        .await;
    call.unwrap().into_inner().authorities
}

async fn issues(ca: &Daemon) {
    let (identity, registration) = prepare(ca).await;
    let bundles = ca.bundles().await;
    let mut node = dial(ca.address, Some(&identity), bundles.clone()).await.unwrap();
    let csr = request().1;
    let svid = node
        .issue_x509_svid(IssueX509SvidRequest { registration, csr })
        .await;
    let svid = chain(&svid.unwrap().into_inner());
    let verified = verify_x509_svid(&svid, &bundles, UnixTime::now()).unwrap();
    assert_eq!(verified.id().as_str(), "spiffe://td/web");
}

#[tokio::test]
async fn a_ca_signs_with_keys_in_a_token_across_restarts_and_says_where_they_are() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    if !token(
        home,
        "a_ca_signs_with_keys_in_a_token_across_restarts_and_says_where_they_are",
    ) {
        return;
    }
    let mut ca = with_token(home, "pkcs11");
    issues(&ca).await;
    let before = list(home).await;
    assert!(before.iter().all(|one| one.key_manager == "pkcs11"), "{before:?}");
    assert!(!ca.said.concat().contains(PIN));
    ca.kill();
    // Without the token nothing begins anew: it says what is missing.
    let without = Command::new(env!("CARGO_BIN_EXE_signet-ca"))
        .args([
            "run",
            "--trust-domain",
            "td",
            "--listen",
            "127.0.0.1:0",
            "--data-dir",
        ])
        .arg(home.join("data"))
        .arg("--socket")
        .arg(home.join("other.sock"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&without.stderr);
    assert!(
        !without.status.success() && said.contains("--pkcs11-module"),
        "{said}"
    );
    let ca = with_token(home, "pkcs11");
    assert_eq!(list(home).await.len(), before.len());
    assert_eq!(list(home).await[0].id, before[0].id);
    drop(ca);
}

#[tokio::test]
async fn keys_move_from_the_registry_into_a_token_by_rotation() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    if !token(home, "keys_move_from_the_registry_into_a_token_by_rotation") {
        return;
    }
    let mut ca = with_token(home, "sealed");
    issues(&ca).await;
    ca.kill();
    let ca = with_token(home, "pkcs11");
    for kind in ["x509", "jwt"] {
        let kind = kind.to_owned();
        let mut client = authorities(home);
        let prepared = client.prepare_authority(PrepareAuthorityRequest { kind: kind.clone() });
        let prepared = prepared.await.unwrap().into_inner().authority.unwrap();
        assert_eq!(prepared.key_manager, "pkcs11");
        let order = ActivateAuthorityRequest {
            kind,
            ..ActivateAuthorityRequest::default()
        };
        client.activate_authority(order).await.unwrap();
    }
    let active = list(home).await.into_iter().filter(|one| one.state == "active");
    assert!(active.into_iter().all(|one| one.key_manager == "pkcs11"));
    let old = list(home)
        .await
        .into_iter()
        .filter(|one| one.key_manager == "sealed");
    assert_eq!(old.count(), 2, "what they signed still counts");
    drop(ca);
}
