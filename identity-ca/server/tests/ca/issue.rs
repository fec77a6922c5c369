//! Workload SVIDs.

use signet_proto::ca::v1::{IssueX509SvidRequest, RegisterRequest};
use signet_spiffe::{UnixTime, verify_x509_svid};
use tonic::Code;

use crate::running::{Running, chain, request};

const WEB: &str = "spiffe://td/ns/shop/sa/web";

#[tokio::test]
async fn a_node_gets_the_svid_of_a_workload_registered_on_it() {
    let ca = Running::in_memory().await;
    let mut node = ca.node("n1", &[]).await;
    let registration = ca.register(WEB, "n1", "unix:uid:1000").await.unwrap();
    let (key, csr) = request();
    let call = IssueX509SvidRequest {
        registration: registration.id,
        csr,
    };
    let svid = node.client.issue_x509_svid(call).await.unwrap().into_inner();
    assert_eq!(svid.spiffe_id, WEB);
    assert_eq!(svid.chain.len(), 1, "the root is in the chain");
    let verified = verify_x509_svid(&chain(&svid), &ca.bundles(), UnixTime::now()).unwrap();
    assert_eq!(
        (verified.id().as_str(), verified.not_after().as_secs()),
        (WEB, svid.not_after.cast_unsigned())
    );
    let key = key.public_key_raw();
    assert!(
        svid.chain[0].windows(key.len()).any(|window| window == key),
        "it is for another key"
    );
}

#[tokio::test]
async fn a_registration_s_own_life_counts() {
    let ca = Running::in_memory().await;
    let mut node = ca.node("n1", &[]).await;
    let register = RegisterRequest {
        spiffe_id: WEB.to_owned(),
        node: "n1".to_owned(),
        selectors: vec!["unix:uid:1000".to_owned()],
        ttl: 60,
        ..RegisterRequest::default()
    };
    let registration = ca.operator.clone().register(register).await.unwrap().into_inner();
    let call = IssueX509SvidRequest {
        registration: registration.id,
        csr: request().1,
    };
    let svid = node.client.issue_x509_svid(call).await.unwrap().into_inner();
    let verified = verify_x509_svid(&chain(&svid), &ca.bundles(), UnixTime::now()).unwrap();
    assert_eq!(
        verified.not_after().as_secs() - verified.not_before().as_secs(),
        300 + 60
    );
}

#[tokio::test]
async fn another_node_s_workload_is_refused() {
    let ca = Running::in_memory().await;
    let mut one = ca.node("n1", &[]).await;
    ca.node("n2", &[]).await;
    let other = ca.register(WEB, "n2", "unix:uid:1000").await.unwrap();
    let call = IssueX509SvidRequest {
        registration: other.id.clone(),
        csr: request().1,
    };
    let refused = one.client.issue_x509_svid(call).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(
        refused.message(),
        format!("the registration {} is not of the node n1", other.id)
    );
}

#[tokio::test]
async fn unknown_deleted_and_malformed_registrations_are_told_apart() {
    let ca = Running::in_memory().await;
    let mut node = ca.node("n1", &[]).await;
    let deleted = ca.register(WEB, "n1", "unix:uid:1000").await.unwrap();
    let deregister = signet_proto::ca::v1::DeregisterRequest {
        id: deleted.id.clone(),
    };
    ca.operator.clone().deregister(deregister).await.unwrap();
    for (registration, code) in [
        (deleted.id.as_str(), Code::NotFound),
        ("00000000-0000-4000-8000-000000000000", Code::NotFound),
        (WEB, Code::InvalidArgument),
        ("", Code::InvalidArgument),
    ] {
        let call = IssueX509SvidRequest {
            registration: registration.to_owned(),
            csr: request().1,
        };
        assert_eq!(
            node.client.issue_x509_svid(call).await.unwrap_err().code(),
            code,
            "{registration}"
        );
    }
}
