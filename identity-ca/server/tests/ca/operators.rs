//! The operator's calls.

use signet_proto::ca::v1::{
    CreateJoinTokenRequest, DeregisterRequest, ListIdentitiesRequest, ListRegistrationsRequest,
    RegisterRequest, SetEncryptionRequest, StatusRequest,
};
use signet_proto::view::v1::EncryptionMode;
use signet_spiffe::X509Bundle;
use tonic::{Code, Status};

use crate::running::{Running, domain};

const WEB: &str = "spiffe://td/ns/shop/sa/web";

#[track_caller]
fn assert_refusal<T>(result: Result<T, Status>, code: Code, text: &str) {
    let Err(status) = result else {
        panic!("was let through, expected {code:?}: {text}")
    };
    assert_eq!(status.code(), code, "{status}");
    assert!(status.message().contains(text), "{status}");
}

#[tokio::test]
async fn bad_tokens_to_be_are_refused_with_the_reason() {
    let ca = Running::in_memory().await;
    ca.node("n1", &["10.244.1.0/24"]).await;
    assert_refusal(ca.token("N1", &[]).await, Code::InvalidArgument, "DNS label");
    assert_refusal(
        ca.token("n2", &["10.244.1.9/24"]).await,
        Code::InvalidArgument,
        "write it as 10.244.1.0/24",
    );
    assert_refusal(
        ca.token("n2", &["10.244.1.128/25"]).await,
        Code::FailedPrecondition,
        "belongs to the node n1",
    );
    assert_refusal(
        ca.token("n2", &["10.1.0.0/16"; 17]).await,
        Code::InvalidArgument,
        "17 are too many",
    );
    let long = CreateJoinTokenRequest {
        addresses: vec![],
        node: "n2".to_owned(),
        pod_cidrs: vec![],
        ttl: 86_401,
    };
    assert_refusal(
        ca.operator.clone().create_join_token(long).await,
        Code::InvalidArgument,
        "86400",
    );
}

#[tokio::test]
async fn bad_registrations_are_refused_with_the_reason() {
    let ca = Running::in_memory().await;
    ca.node("n1", &[]).await;
    let uid = "unix:uid:1000";
    let web = ca.register(WEB, "n1", uid).await.unwrap();
    assert_refusal(ca.register(WEB, "n1", uid).await, Code::AlreadyExists, &web.id);
    assert_refusal(
        ca.register("https://td/a", "n1", uid).await,
        Code::InvalidArgument,
        "spiffe://",
    );
    assert_refusal(
        ca.register("spiffe://other/a", "n1", uid).await,
        Code::InvalidArgument,
        "trust domain td",
    );
    assert_refusal(
        ca.register("spiffe://td/signet/ca", "n1", uid).await,
        Code::InvalidArgument,
        "/signet",
    );
    assert_refusal(
        ca.register("spiffe://td", "n1", uid).await,
        Code::InvalidArgument,
        "belong to Signet",
    );
    assert_refusal(
        ca.register(WEB, "n9", uid).await,
        Code::FailedPrecondition,
        "join token",
    );
    assert_refusal(
        ca.register(WEB, "n1", "unix:uid:root").await,
        Code::InvalidArgument,
        "not a name",
    );
    let register = |ttl, selectors| RegisterRequest {
        spiffe_id: WEB.to_owned(),
        node: "n1".to_owned(),
        selectors,
        ttl,
        ..RegisterRequest::default()
    };
    let short = register(9, vec!["unix:uid:1".to_owned()]);
    assert_refusal(
        ca.operator.clone().register(short).await,
        Code::InvalidArgument,
        "10 to 86400",
    );
    assert_refusal(
        ca.operator.clone().register(register(0, vec![])).await,
        Code::InvalidArgument,
        "1 to 16",
    );
    let gone = DeregisterRequest {
        id: "00000000-0000-4000-8000-000000000000".to_owned(),
    };
    assert_refusal(
        ca.operator.clone().deregister(gone).await,
        Code::NotFound,
        "00000000",
    );
    let malformed = DeregisterRequest { id: WEB.to_owned() };
    assert_refusal(
        ca.operator.clone().deregister(malformed).await,
        Code::InvalidArgument,
        "UUID",
    );
}

#[tokio::test]
async fn what_was_registered_is_listed() {
    let ca = Running::in_memory().await;
    ca.token("n1", &[]).await.unwrap();
    let web = ca.register(WEB, "n1", "endpoint:shop/web").await.unwrap();
    let mut operator = ca.operator.clone();
    let listed = operator
        .list_registrations(ListRegistrationsRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.registrations, [web]);
    let identities = operator
        .list_identities(ListIdentitiesRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (
            identities.identities[0].spiffe_id.as_str(),
            identities.identities[0].number
        ),
        (WEB, 256)
    );
}

#[tokio::test]
async fn encryption_is_set_to_a_mode_that_is_one() {
    let ca = Running::in_memory().await;
    let mut operator = ca.operator.clone();
    for mode in [EncryptionMode::Unspecified.into(), 77] {
        let refused = operator.set_encryption(SetEncryptionRequest { mode }).await;
        assert_refusal(refused, Code::InvalidArgument, "off and wireguard");
    }
    for mode in [EncryptionMode::Wireguard, EncryptionMode::Off] {
        let request = SetEncryptionRequest { mode: mode.into() };
        let set = operator.set_encryption(request).await.unwrap().into_inner();
        assert_eq!(set.encryption(), mode);
        let status = operator.status(StatusRequest {}).await.unwrap().into_inner();
        assert_eq!(status.cluster.unwrap().encryption(), mode);
    }
}

#[tokio::test]
async fn status_tells_what_an_operator_needs() {
    let ca = Running::in_memory().await;
    let node = ca.node("n1", &[]).await;
    let mut stream = node.follow(0).await;
    let revision = stream.next().await.revision;
    let status = ca
        .operator
        .clone()
        .status(StatusRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (status.trust_domain.as_str(), status.key_storage.as_str()),
        ("td", "memory")
    );
    assert_eq!(
        (
            status.nodes,
            status.connected,
            status.registrations,
            status.issued
        ),
        (1, 1, 0, 1)
    );
    assert_eq!((status.revision, status.root_sha256.len()), (revision, 64));
    assert_eq!(
        X509Bundle::from_pem(domain(), &status.bundle_pem).unwrap(),
        ca.server.bundle()
    );
}
