//! Which SVID of a node the CA listens to.

use std::time::Duration;

use signet_proto::ca::v1::node_service_client::NodeServiceClient;
use signet_proto::ca::v1::{IssueX509SvidRequest, RenewNodeSvidRequest, Svid};
use signet_spiffe::{UnixTime, verify_x509_svid};
use signet_tls::SvidKeyPair;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::running::{Running, TestNode, chain, pair, request};

async fn renew(client: &NodeServiceClient<Channel>) -> Result<SvidKeyPair, Status> {
    let (key, csr) = request();
    let svid: Svid = client
        .clone()
        .renew_node_svid(RenewNodeSvidRequest { csr })
        .await?
        .into_inner();
    Ok(pair(&key, &svid))
}

/// The same node with another SVID.
async fn with(ca: &Running, node: &TestNode, identity: SvidKeyPair) -> TestNode {
    TestNode {
        client: ca.client(Some(&identity)).await.unwrap(),
        identity,
        answer: node.answer.clone(),
    }
}

fn is_replaced(refused: &Status) -> bool {
    refused.code() == Code::Unauthenticated && refused.message().contains("replaced by a newer one")
}

#[tokio::test]
async fn a_new_token_ends_the_old_certificate() {
    let ca = Running::in_memory().await;
    let thief = ca.node("n1", &[]).await;
    let web = ca
        .register("spiffe://td/ns/shop/sa/web", "n1", "unix:uid:1")
        .await
        .unwrap();
    let mut stolen = thief.follow(0).await;
    stolen.next().await;
    // The operator installs n1 anew.
    let honest = ca.node("n1", &[]).await;
    assert!(is_replaced(&stolen.end().await), "the thief's stream goes on");
    let refused = renew(&thief.client).await.map(drop).unwrap_err();
    assert!(is_replaced(&refused), "{refused}");
    let issue = IssueX509SvidRequest {
        registration: web.id,
        csr: request().1,
    };
    let refused = thief
        .client
        .clone()
        .issue_x509_svid(issue.clone())
        .await
        .unwrap_err();
    assert!(is_replaced(&refused), "{refused}");
    let refused = thief.announce(0, &[]).await.map(drop).unwrap_err();
    assert!(is_replaced(&refused), "{refused}");
    honest.client.clone().issue_x509_svid(issue).await.unwrap();
    honest.follow(0).await.next().await;
    renew(&honest.client).await.unwrap();
}

#[tokio::test]
async fn a_renewal_whose_answer_was_lost_locks_nobody_out() {
    let ca = Running::in_memory().await;
    let node = ca.node("n1", &[]).await;
    drop(renew(&node.client).await.unwrap());
    let renewed = with(&ca, &node, renew(&node.client).await.unwrap()).await;
    node.follow(0).await.next().await;
    // From the first use of the successor on, the old one is somebody else's.
    renewed.follow(0).await.next().await;
    let refused = renew(&node.client).await.map(drop).unwrap_err();
    assert!(is_replaced(&refused), "{refused}");
    renew(&renewed.client).await.unwrap();
}

#[tokio::test]
async fn a_node_whose_svid_was_renewed_by_somebody_else_notices() {
    let ca = Running::in_memory().await;
    let node = ca.node("n1", &[]).await;
    let thief = with(&ca, &node, renew(&node.client).await.unwrap()).await;
    thief.follow(0).await.next().await;
    let refused = node.announce(0, &[]).await.map(drop).unwrap_err();
    assert!(is_replaced(&refused), "{refused}");
}

#[tokio::test]
async fn an_outage_of_the_ca_as_long_as_a_workload_s_svid_lives_ends_no_node() {
    let ca = Running::in_memory().await;
    let node = ca.node("n1", &[]).await;
    let web = ca
        .register("spiffe://td/ns/shop/sa/web", "n1", "unix:uid:1")
        .await
        .unwrap();
    let issue = IssueX509SvidRequest {
        registration: web.id,
        csr: request().1,
    };
    let svid = node
        .client
        .clone()
        .issue_x509_svid(issue)
        .await
        .unwrap()
        .into_inner();
    let end = |chain: &[_]| {
        let verified = verify_x509_svid(chain, &ca.bundles(), UnixTime::now()).unwrap();
        verified.not_after().as_secs() - UnixTime::now().as_secs()
    };
    let hour = Duration::from_hours(1).as_secs();
    assert!(end(&chain(&svid)) <= hour);
    assert!(end(&node.identity.chain) > 23 * hour);
    // Twelve hours: agents renew at half of it.
    ca.put_clock_ahead(Duration::from_hours(12));
    let client = ca.client(Some(&node.identity)).await.unwrap();
    renew(&client).await.unwrap();
}
