//! Whoever is not a node that attested.

use std::time::Duration;

use signet_proto::ca::v1::node_service_client::NodeServiceClient;
use signet_proto::ca::v1::{IssueX509SvidRequest, RenewNodeSvidRequest, SyncRequest};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::running::{Running, dial, pair, request};

/// Every call that needs a node's certificate.
async fn refusals(client: &mut NodeServiceClient<Channel>) -> [Status; 3] {
    let csr = request().1;
    let registration = "00000000-0000-4000-8000-000000000000".to_owned();
    let sync = SyncRequest {
        resume_mark: vec![],
        view_lost: false,
        resume_revision: 0,
        addresses: vec!["192.0.2.1".to_owned()],
        session_port: 1,
    };
    [
        client
            .renew_node_svid(RenewNodeSvidRequest { csr: csr.clone() })
            .await
            .unwrap_err(),
        client
            .issue_x509_svid(IssueX509SvidRequest { registration, csr })
            .await
            .unwrap_err(),
        client.sync(sync).await.unwrap_err(),
    ]
}

#[tokio::test]
async fn without_a_certificate_nothing_but_attest_is_answered() {
    let ca = Running::in_memory().await;
    for refused in refusals(&mut ca.anonymous().await).await {
        assert_eq!(refused.code(), Code::Unauthenticated);
        assert!(refused.message().contains("certificate"), "{refused}");
    }
}

#[tokio::test]
async fn an_svid_that_expires_while_connected_opens_nothing_any_more() {
    let ca = Running::in_memory().await;
    let mut node = ca.node("n1", &[]).await;
    // The client's side of a handshake is done before the server's: an answer says that both are.
    node.follow(0).await.next().await;
    ca.put_clock_ahead(Duration::from_hours(25));
    for refused in refusals(&mut node.client).await {
        assert_eq!(refused.code(), Code::Unauthenticated);
        assert!(refused.message().contains("expired"), "{refused}");
    }
    assert!(
        is_refused(ca.client(Some(&node.identity)).await).await,
        "a new connection was accepted"
    );
}

/// Whether a connection came to nothing: TLS 1.3 tells a client of its refusal only after its own side is done.
async fn is_refused(connected: Result<NodeServiceClient<Channel>, tonic::transport::Error>) -> bool {
    match connected {
        Err(_) => true,
        Ok(mut client) => {
            let refused = refusals(&mut client).await;
            refused.iter().all(|status| {
                matches!(
                    status.code(),
                    Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled
                )
            })
        }
    }
}

#[tokio::test]
async fn a_foreign_trust_domain_s_node_is_refused() {
    let ca = Running::in_memory().await;
    let other = Running::in_memory().await;
    let foreign = other.node("n1", &[]).await;
    ca.node("n1", &[]).await;
    assert!(is_refused(ca.client(Some(&foreign.identity)).await).await);
    // Nor does the foreigner's client believe our server.
    let there = dial(ca.server.address(), Some(&foreign.identity), other.bundles()).await;
    assert!(there.is_err(), "a client believed a CA of another root");
}

#[tokio::test]
async fn a_workload_s_svid_is_no_node_s() {
    let ca = Running::in_memory().await;
    let mut node = ca.node("n1", &[]).await;
    let web = ca
        .register("spiffe://td/ns/shop/sa/web", "n1", "unix:uid:1000")
        .await
        .unwrap();
    let (key, csr) = request();
    let call = IssueX509SvidRequest {
        registration: web.id,
        csr,
    };
    let svid = node.client.issue_x509_svid(call).await.unwrap().into_inner();
    // It may connect, as CAs below this one do. No call is for it.
    let mut client = ca.client(Some(&pair(&key, &svid))).await.unwrap();
    for refused in refusals(&mut client).await {
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    }
}

#[tokio::test]
async fn a_node_that_the_registry_does_not_know_has_to_attest_again() {
    let directory = Running::on_disk(tempfile::tempdir().unwrap()).await.stop().await;
    let data = directory.path().join("data");
    let backup = std::fs::read(data.join("registry.db")).unwrap();
    let ca = Running::on_disk(directory).await;
    let node = ca.node("n1", &[]).await;
    let directory = ca.stop().await;
    std::fs::write(data.join("registry.db"), backup).unwrap();
    // Of the checkpoints that it has signed nothing is left either.
    std::fs::remove_file(data.join("log.head")).unwrap();
    let ca = Running::on_disk(directory).await;
    let mut client = ca.client(Some(&node.identity)).await.unwrap();
    for refused in refusals(&mut client).await {
        assert_eq!(refused.code(), Code::Unauthenticated);
        assert!(refused.message().contains("attest"), "{refused}");
    }
}
