use signet_proto::ca::v1::{PrepareAuthorityRequest, RegisterRequest};
use tonic::Code;

use super::peer::{
    Peer, WebPki, anywhere, bundle, by_spiffe, by_web, defederate, federate, list, refresh, show,
};
use crate::running::{Follower, Running};

const B: &str = "b.example";
const B_CA: &str = "spiffe://b.example/signet/ca";

/// The node's view until it has, or has not, a bundle of B with this text.
async fn told(follower: &mut Follower, document: Option<&str>) {
    loop {
        let update = follower.next().await;
        let mut bundles = update.foreign_bundles.iter();
        let found =
            bundles.any(|bundle| bundle.trust_domain == B && Some(bundle.document.as_str()) == document);
        let gone = document.is_none() && update.removed_foreign_bundles.iter().any(|name| name == B);
        if found || gone {
            return;
        }
    }
}

#[tokio::test]
async fn spiffe_row_65_two_trust_domains_follow_each_other_by_both_profiles() {
    let web = WebPki::new();
    let a = Peer::web("a.example", &web, None).await;
    let b = Peer::spiffe(B, tempfile::tempdir().unwrap(), anywhere()).await;
    let (of_a, of_b) = (bundle(&a.operator).await, bundle(&b.operator).await);
    federate(&a.operator, by_spiffe(B, &b.url(), B_CA, &of_b.spiffe))
        .await
        .unwrap();
    federate(&b.operator, by_web("a.example", &a.url(), &web.root_pem))
        .await
        .unwrap();
    let here = refresh(&a.operator, B).await.unwrap();
    assert_eq!(here.document, of_b.spiffe);
    assert_eq!(
        (here.sequence, here.x509_authorities, here.jwt_keys),
        (Some(1), 1, 1)
    );
    assert_eq!((here.failure.as_str(), here.interval), ("", 300));
    let there = refresh(&b.operator, "a.example").await.unwrap();
    assert_eq!(there.document, of_a.spiffe);
    // All of them at once are told without what is long.
    let listed = list(&b.operator).await.remove(0);
    assert!(listed.has_document && listed.has_web_ca);
    assert!(listed.document.is_empty() && listed.web_ca.is_empty());
    assert_eq!(show(&b.operator, "a.example").await.unwrap().web_ca, web.root_pem);
    let unknown = show(&b.operator, "c.example").await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

#[tokio::test]
async fn without_being_told_to_a_ca_asks_a_new_endpoint_at_once() {
    let web = WebPki::new();
    let a = Peer::web("a.example", &web, None).await;
    let b = Running::in_memory().await;
    let node = b.node("n1", &[]).await;
    let mut follower = node.follow(0).await;
    federate(&b.operator, by_web("a.example", &a.url(), &web.root_pem))
        .await
        .unwrap();
    let wanted = bundle(&a.operator).await.spiffe;
    loop {
        let update = follower.next().await;
        if update
            .foreign_bundles
            .iter()
            .any(|bundle| bundle.document == wanted)
        {
            break;
        }
    }
}

#[tokio::test]
async fn spiffe_row_63_what_changes_over_there_reaches_the_nodes_here_and_removal_takes_it_away() {
    let a = Running::in_memory().await;
    let b = Peer::spiffe(B, tempfile::tempdir().unwrap(), anywhere()).await;
    let first = bundle(&b.operator).await.spiffe;
    let node = a.node("n1", &[]).await;
    let mut follower = node.follow(0).await;
    let request = by_spiffe(B, &b.url(), B_CA, &first);
    federate(&a.operator, request).await.unwrap();
    told(&mut follower, Some(&first)).await;
    // Another key for tokens is published there.
    let request = PrepareAuthorityRequest {
        kind: "jwt".to_owned(),
    };
    b.authorities.clone().prepare_authority(request).await.unwrap();
    let second = bundle(&b.operator).await.spiffe;
    assert_ne!(first, second);
    let entry = refresh(&a.operator, B).await.unwrap();
    assert_eq!(
        (entry.document.as_str(), entry.sequence),
        (second.as_str(), Some(2))
    );
    told(&mut follower, Some(&second)).await;
    let gone = defederate(&a.operator, B).await.unwrap();
    assert_eq!(gone.document, second);
    told(&mut follower, None).await;
    assert!(list(&a.operator).await.is_empty());
    for answer in [defederate(&a.operator, B).await, refresh(&a.operator, B).await] {
        assert_eq!(answer.unwrap_err().code(), Code::NotFound);
    }
}

#[tokio::test]
async fn a_registration_names_the_trust_domains_whose_bundles_its_workloads_get() {
    let a = Running::in_memory().await;
    let node = a.node("n1", &[]).await;
    let mut follower = node.follow(0).await;
    follower.next().await;
    let register = RegisterRequest {
        spiffe_id: "spiffe://td/web".to_owned(),
        node: "n1".to_owned(),
        selectors: vec!["unix:uid:1".to_owned()],
        ttl: 0,
        federates_with: vec![B.to_owned()],
        ..RegisterRequest::default()
    };
    let early = a.operator.clone().register(register.clone()).await.unwrap_err();
    assert_eq!(early.code(), Code::FailedPrecondition);
    let away = "https://127.0.0.1:1/";
    federate(&a.operator, by_web(B, away, &WebPki::new().root_pem))
        .await
        .unwrap();
    let made = a.operator.clone().register(register).await.unwrap().into_inner();
    assert_eq!(made.federates_with, [B]);
    loop {
        let update = follower.next().await;
        if let [registration] = update.registrations.as_slice() {
            assert_eq!(registration.federates_with, [B]);
            break;
        }
    }
}

#[tokio::test]
async fn spiffe_row_66_a_relationship_has_all_that_its_profile_needs_and_nothing_else() {
    let a = Running::in_memory().await;
    let b = Peer::spiffe(B, tempfile::tempdir().unwrap(), anywhere()).await;
    let document = bundle(&b.operator).await.spiffe;
    let ca = WebPki::new().root_pem;
    let good = by_spiffe(B, &b.url(), B_CA, &document);
    let mut with_web_ca = good.clone();
    with_web_ca.web_ca.clone_from(&ca);
    let mut with_id = by_web(B, "https://b.example/", &ca);
    with_id.endpoint_spiffe_id = B_CA.to_owned();
    let mut no_profile = good.clone();
    no_profile.profile.clear();
    for (request, code) in [
        (by_spiffe(B, &b.url(), B_CA, ""), Code::InvalidArgument),
        (
            by_spiffe(B, &b.url(), B_CA, "{\"keys\":[]}"),
            Code::InvalidArgument,
        ),
        (by_spiffe(B, &b.url(), B_CA, "nonsense"), Code::InvalidArgument),
        (by_spiffe(B, &b.url(), "", &document), Code::InvalidArgument),
        (
            by_spiffe(B, &b.url(), "spiffe://b.example", &document),
            Code::InvalidArgument,
        ),
        // Of a third trust domain, which nobody here knows.
        (
            by_spiffe(B, &b.url(), "spiffe://c.example/x", &document),
            Code::FailedPrecondition,
        ),
        (by_spiffe("td", &b.url(), B_CA, &document), Code::InvalidArgument),
        (
            by_spiffe("c.example", &b.url(), B_CA, &document),
            Code::InvalidArgument,
        ),
        (
            by_spiffe(B, "http://b.example/", B_CA, &document),
            Code::InvalidArgument,
        ),
        (
            by_spiffe(B, "https://me@b.example/", B_CA, &document),
            Code::InvalidArgument,
        ),
        (
            by_web(B, "https://b.example/", "no certificate"),
            Code::InvalidArgument,
        ),
        (with_web_ca, Code::InvalidArgument),
        (with_id, Code::InvalidArgument),
        (no_profile, Code::InvalidArgument),
    ] {
        let refused = federate(&a.operator, request.clone()).await.unwrap_err();
        assert_eq!(refused.code(), code, "{request:?}: {refused}");
    }
    assert!(list(&a.operator).await.is_empty());
    federate(&a.operator, good.clone()).await.unwrap();
    let again = federate(&a.operator, good).await.unwrap_err();
    assert_eq!(again.code(), Code::AlreadyExists);
    // An endpoint of B may serve C: what B published vouches for it.
    let third = by_spiffe("c.example", &b.url(), B_CA, "");
    federate(&a.operator, third).await.unwrap();
}
