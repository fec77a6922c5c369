//! Join tokens and node SVIDs.

use std::time::Duration;

use signet_proto::ca::v1::{AttestRequest, RenewNodeSvidRequest};
use signet_spiffe::{UnixTime, verify_x509_svid};
use tonic::Code;

use crate::running::{Running, chain, request};

#[tokio::test]
async fn a_token_is_traded_for_a_node_s_svid_and_the_bundle() {
    let ca = Running::in_memory().await;
    let node = ca.node("n1", &["10.244.1.0/24", "fd00:244:1::/64"]).await;
    let told = node.answer.node.unwrap();
    assert_eq!((told.name.as_str(), told.id), ("n1", 1));
    assert_eq!(told.pod_cidrs, ["10.244.1.0/24", "fd00:244:1::/64"]);
    let verified = verify_x509_svid(&node.identity.chain, &ca.bundles(), UnixTime::now()).unwrap();
    assert_eq!(verified.id().as_str(), "spiffe://td/signet/node/n1");
    let bundle = node.answer.bundle.unwrap();
    assert_eq!((bundle.trust_domain.as_str(), bundle.sequence), ("td", 1));
    assert_eq!(
        bundle.x509_authorities,
        [ca.server.bundle().authorities()[0].to_vec()]
    );
}

#[tokio::test]
async fn wrong_used_and_expired_tokens_are_refused_with_the_same_words() {
    let ca = Running::in_memory().await;
    let used = ca.token("n1", &[]).await.unwrap();
    ca.attest_with(&used).await.unwrap();
    let good = ca.token("n2", &[]).await.unwrap();
    let mut wrong = good.clone();
    let last = wrong.pop().unwrap();
    wrong.push(if last == '0' { '1' } else { '0' });
    let unknown = good.replacen("sgn1.", "sgn1.0000000000000000", 1);
    let unknown = unknown.replacen(&good[5..21], "", 1);
    let mut refusals = Vec::new();
    for token in [used.as_str(), &wrong, &unknown, "", "a token"] {
        refusals.push(ca.attest_with(token).await.map(drop).unwrap_err());
    }
    ca.put_clock_ahead(Duration::from_mins(10));
    refusals.push(ca.attest_with(&good).await.map(drop).unwrap_err());
    for refusal in &refusals {
        assert_eq!(refusal.code(), Code::Unauthenticated, "{refusal}");
        assert_eq!(
            refusal.message(),
            refusals[0].message(),
            "a refusal says more than the others"
        );
    }
}

#[tokio::test]
async fn a_bad_request_does_not_use_the_token_up() {
    let ca = Running::in_memory().await;
    let token = ca.token("n1", &[]).await.unwrap();
    let (_, mut csr) = request();
    let middle = csr.len() / 2;
    csr[middle] ^= 1;
    for csr in [vec![], csr, vec![0x30; 9000]] {
        let attest = AttestRequest {
            join_token: token.clone(),
            csr,
        };
        let refused = ca.anonymous().await.attest(attest).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
    ca.attest_with(&token).await.unwrap();
}

#[tokio::test]
async fn a_node_renews_its_svid_and_nothing_but_its_own() {
    let ca = Running::in_memory().await;
    let mut node = ca.node("n1", &[]).await;
    let (_, csr) = request();
    let renewed = node
        .client
        .renew_node_svid(RenewNodeSvidRequest { csr })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(renewed.spiffe_id, "spiffe://td/signet/node/n1");
    let verified = verify_x509_svid(&chain(&renewed), &ca.bundles(), UnixTime::now()).unwrap();
    assert_eq!(verified.id().as_str(), renewed.spiffe_id);
    assert_ne!(chain(&renewed), node.identity.chain);
}

#[tokio::test]
async fn a_node_that_attests_again_keeps_its_number() {
    let ca = Running::in_memory().await;
    let first = ca.node("n1", &["10.244.1.0/24"]).await;
    ca.node("n2", &[]).await;
    let again = ca.node("n1", &[]).await;
    let (first, again) = (first.answer.node.unwrap(), again.answer.node.unwrap());
    assert_eq!((first.id, first.pod_cidrs), (again.id, again.pod_cidrs));
}
