//! What a restart finds.

use std::os::unix::fs::PermissionsExt;

use signet_ca::{Config, Server, Storage};
use signet_proto::ca::v1::SetEncryptionRequest;
use signet_proto::view::v1::EncryptionMode;
use signet_spiffe::TrustDomain;

use crate::running::{Running, domain};

#[tokio::test]
async fn a_restarted_ca_goes_on_where_it_was() {
    let ca = Running::on_disk(tempfile::tempdir().unwrap()).await;
    let bundle = ca.server.bundle();
    let node = ca.node("n1", &["10.244.1.0/24"]).await;
    let used = ca.token("n2", &[]).await.unwrap();
    ca.attest_with(&used).await.unwrap();
    let web = ca
        .register("spiffe://td/ns/shop/sa/web", "n1", "unix:uid:1000")
        .await
        .unwrap();
    let wireguard = SetEncryptionRequest {
        mode: EncryptionMode::Wireguard.into(),
    };
    ca.operator.clone().set_encryption(wireguard).await.unwrap();
    let seen = node.follow(0).await.next().await;
    let directory = ca.stop().await;

    let ca = Running::on_disk(directory).await;
    assert_eq!(ca.server.bundle(), bundle);
    assert!(
        ca.attest_with(&used).await.is_err(),
        "a used token works after a restart"
    );
    let client = ca.client(Some(&node.identity)).await.unwrap();
    let node = crate::running::TestNode { client, ..node };
    let mut resumed = node.follow(&seen).await;
    ca.register("spiffe://td/ns/shop/sa/api", "n1", "unix:uid:1001")
        .await
        .unwrap();
    let delta = resumed.next().await;
    assert!(!delta.snapshot, "the node had to start over");
    assert_eq!(delta.identities[0].number, 257);
    let snapshot = node.follow(0).await.next().await;
    assert!(snapshot.registrations.contains(&web));
    assert_eq!(snapshot.cluster.unwrap().encryption(), EncryptionMode::Wireguard);
}

#[tokio::test]
async fn a_directory_that_cannot_be_trusted_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let storage = Storage::Directory(data.clone());
    let start = |name: &str, trust_domain| {
        Server::start(Config::new(
            trust_domain,
            storage.clone(),
            directory.path().join(name),
        ))
    };
    let first = start("a.sock", domain()).await.unwrap();
    let locked = start("b.sock", domain()).await.unwrap_err();
    assert!(locked.to_string().contains("another signet-ca"), "{locked}");
    first.shutdown().await;
    let other = start("a.sock", TrustDomain::parse("other").unwrap())
        .await
        .unwrap_err();
    assert!(other.to_string().contains("td"), "{other}");
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o755)).unwrap();
    let loose = start("a.sock", domain()).await.unwrap_err();
    assert!(loose.to_string().contains("chmod"), "{loose}");
}

#[tokio::test]
async fn a_ca_that_could_not_serve_makes_no_keys() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let config = |socket| Config::new(domain(), Storage::Directory(data.clone()), socket);
    let mut no_port = config(directory.path().join("ca.sock"));
    no_port.listen = taken.local_addr().unwrap();
    let no_socket = config(file.join("ca.sock"));
    for (config, told) in [
        (no_port, "failed to listen"),
        (no_socket, "failed to make the directory"),
    ] {
        let why = Server::start(config).await.unwrap_err();
        assert!(why.to_string().contains(told), "{why:#}");
        assert!(!data.exists(), "it has made keys for nothing");
    }
}
