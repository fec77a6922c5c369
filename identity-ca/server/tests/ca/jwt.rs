//! JWT-SVIDs of workloads, and the keys that they are checked with.

use std::sync::Arc;
use std::time::Duration;

use signet_proto::ca::v1::revoke_request::Subject;
use signet_proto::ca::v1::{
    BundleRequest, IssueJwtSvidRequest, JwtSvid, PrepareAuthorityRequest, RegisterRequest, ReopenRequest,
    RevokeRequest,
};
use signet_proto::view::v1::TrustBundle;
use signet_spiffe::{
    JwtBundle, JwtBundleSet, JwtSvidError, MAX_AUDIENCE_BYTES, MAX_AUDIENCES, Revocations, SpiffeBundle,
    SpiffeId, Subject as Meant, TokenError, UnixTime, VerifiedJwtSvid, verify_jwt_svid,
};
use tonic::{Code, Status};

use crate::running::{Running, TestNode, domain};

const WEB: &str = "spiffe://td/ns/shop/sa/web";

async fn issue(node: &TestNode, registration: &str, audience: &[&str]) -> Result<JwtSvid, Status> {
    let request = IssueJwtSvidRequest {
        registration: registration.to_owned(),
        audience: audience.iter().map(ToString::to_string).collect(),
    };
    Ok(node.client.clone().issue_jwt_svid(request).await?.into_inner())
}

/// As an agent would: by the keys that were pushed to it.
fn verify(svid: &JwtSvid, pushed: &TrustBundle, audience: &str) -> Result<VerifiedJwtSvid, JwtSvidError> {
    let keys = std::str::from_utf8(&pushed.jwt_keys).unwrap();
    let bundle = JwtBundle::from_jwks(domain(), keys).unwrap();
    verify_jwt_svid(
        &svid.token,
        &JwtBundleSet::single(bundle),
        audience,
        UnixTime::now(),
    )
}

#[tokio::test]
async fn a_node_gets_the_token_of_a_workload_registered_on_it() {
    let ca = Running::in_memory().await;
    let node = ca.node("n1", &[]).await;
    let registration = ca.register(WEB, "n1", "unix:uid:1000").await.unwrap();
    let svid = issue(&node, &registration.id, &["db", "cache", "db"])
        .await
        .unwrap();
    assert_eq!(svid.spiffe_id, WEB);
    let pushed = node.follow(0).await.next().await.bundle.unwrap();
    assert_eq!(
        node.answer.bundle.as_ref(),
        Some(&pushed),
        "attestation told of another bundle"
    );
    let verified = verify(&svid, &pushed, "db").unwrap();
    assert_eq!(verified.id().as_str(), WEB);
    assert_eq!(verified.audience(), ["cache", "db"]);
    assert_eq!(verified.expires().as_secs(), svid.expires.cast_unsigned());
    let claim = |name: &str| verified.claims()[name].as_u64().unwrap();
    assert_eq!(claim("exp") - claim("iat"), 300);
    let again = issue(&node, &registration.id, &["db"]).await.unwrap();
    let again = verify(&again, &pushed, "db").unwrap();
    assert_ne!(again.claims()["jti"], verified.claims()["jti"]);
}

#[tokio::test]
async fn a_token_lives_no_longer_than_the_registration_s_certificates() {
    let ca = Running::in_memory().await;
    let node = ca.node("n1", &[]).await;
    for (path, ttl, life) in [("a", 60, 60), ("b", 3600, 300)] {
        let register = RegisterRequest {
            spiffe_id: format!("spiffe://td/{path}"),
            node: "n1".to_owned(),
            selectors: vec!["unix:uid:1000".to_owned()],
            ttl,
            ..RegisterRequest::default()
        };
        let registration = ca.operator.clone().register(register).await.unwrap().into_inner();
        let svid = issue(&node, &registration.id, &["db"]).await.unwrap();
        let bundle = node.answer.bundle.as_ref().unwrap();
        let verified = verify(&svid, bundle, "db").unwrap();
        let claim = |name: &str| verified.claims()[name].as_u64().unwrap();
        assert_eq!(claim("exp") - claim("iat"), life);
    }
}

#[tokio::test]
async fn a_token_of_another_node_s_workload_or_of_nobody_is_refused() {
    let ca = Running::in_memory().await;
    let one = ca.node("n1", &[]).await;
    ca.node("n2", &[]).await;
    let other = ca.register(WEB, "n2", "unix:uid:1000").await.unwrap();
    for (registration, code) in [
        (other.id.as_str(), Code::PermissionDenied),
        ("00000000-0000-4000-8000-000000000000", Code::NotFound),
        (WEB, Code::InvalidArgument),
    ] {
        let refused = issue(&one, registration, &["db"]).await.unwrap_err();
        assert_eq!(refused.code(), code, "{registration}");
    }
    let request = IssueJwtSvidRequest {
        registration: other.id,
        audience: vec!["db".to_owned()],
    };
    let anonymous = ca.anonymous().await.issue_jwt_svid(request).await.unwrap_err();
    assert_eq!(anonymous.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_revoked_id_gets_no_token_until_it_is_reopened() {
    let ca = Running::in_memory().await;
    let node = ca.node("n1", &[]).await;
    let registration = ca.register(WEB, "n1", "unix:uid:1000").await.unwrap().id;
    let mut operator = ca.operator.clone();
    let revoke = RevokeRequest {
        subject: Some(Subject::SpiffeId(WEB.to_owned())),
        reason: "key-compromise".to_owned(),
        ..RevokeRequest::default()
    };
    operator.revoke(revoke).await.unwrap();
    let refused = issue(&node, &registration, &["db"]).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    let reopen = ReopenRequest {
        spiffe_id: WEB.to_owned(),
    };
    operator.reopen(reopen).await.unwrap();
    issue(&node, &registration, &["db"]).await.unwrap();
}

#[tokio::test]
async fn a_token_that_is_issued_right_after_a_revocation_is_told_from_those_before() {
    let ca = Running::in_memory().await;
    let node = ca.node("n1", &[]).await;
    let registration = ca.register(WEB, "n1", "unix:uid:1000").await.unwrap().id;
    let mut operator = ca.operator.clone();
    for subject in [Subject::SpiffeId(WEB.to_owned()), Subject::Node("n1".to_owned())] {
        let is_node = matches!(subject, Subject::Node(_));
        let before = issue(&node, &registration, &["db"]).await.unwrap();
        let revoke = RevokeRequest {
            subject: Some(subject),
            reason: "key-compromise".to_owned(),
            reissue: true,
            ..RevokeRequest::default()
        };
        let told = operator.revoke(revoke).await.unwrap().into_inner().revocation;
        let told = told.unwrap().revocation.unwrap();
        let moment = |seconds: i64| UnixTime::since_unix_epoch(Duration::from_secs(seconds.cast_unsigned()));
        let (until, at) = (moment(told.not_before), moment(told.at));
        let mut revocations = Revocations::default();
        let meant = if is_node {
            let number = told.node_id.try_into().unwrap();
            Meant::Node { number, until, at }
        } else {
            let id = SpiffeId::parse(WEB).unwrap();
            Meant::Id { id, until, at }
        };
        revocations.insert(meant, "leaked".into());
        let revocations = Arc::new(revocations);
        let counts = |svid: &JwtSvid| {
            let keys = std::str::from_utf8(&node.answer.bundle.as_ref().unwrap().jwt_keys).unwrap();
            let bundle = JwtBundle::from_jwks(domain(), keys).unwrap();
            let bundles = JwtBundleSet::single(bundle).with_revocations(revocations.clone());
            match verify_jwt_svid(&svid.token, &bundles, "db", UnixTime::now()) {
                Ok(_) => true,
                Err(JwtSvidError::Token(TokenError::Revoked(_))) => false,
                Err(error) => panic!("{error}"),
            }
        };
        assert!(!counts(&before));
        if is_node {
            let refused = issue(&node, &registration, &["db"]).await.unwrap_err();
            assert_eq!(refused.code(), Code::Unauthenticated);
            let node = ca.node("n1", &[]).await;
            assert!(counts(&issue(&node, &registration, &["db"]).await.unwrap()));
        } else {
            assert!(counts(&issue(&node, &registration, &["db"]).await.unwrap()));
        }
    }
}

#[tokio::test]
async fn audiences_are_bounded_and_there_is_one() {
    let ca = Running::in_memory().await;
    let node = ca.node("n1", &[]).await;
    let registration = ca.register(WEB, "n1", "unix:uid:1000").await.unwrap().id;
    let long = "a".repeat(MAX_AUDIENCE_BYTES + 1);
    for bad in [&[][..], &[""], &["db", ""], &[&long], &["db"; MAX_AUDIENCES + 1]] {
        let refused = issue(&node, &registration, bad).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
}

#[tokio::test]
async fn the_jwt_key_and_the_bundle_s_sequence_survive_a_restart() {
    let ca = Running::on_disk(tempfile::tempdir().unwrap()).await;
    let node = ca.node("n1", &[]).await;
    let registration = ca.register(WEB, "n1", "unix:uid:1000").await.unwrap().id;
    let svid = issue(&node, &registration, &["db"]).await.unwrap();
    let ca = Running::on_disk(ca.stop().await).await;
    let client = ca.client(Some(&node.identity)).await.unwrap();
    let node = TestNode { client, ..node };
    let snapshot = node.follow(0).await.next().await;
    assert_eq!(snapshot.bundle, node.answer.bundle);
    let verified = verify(&svid, &snapshot.bundle.unwrap(), "db").unwrap();
    assert_eq!(verified.id().as_str(), WEB);
}

#[tokio::test]
async fn spiffe_row_57_another_key_is_another_sequence_and_is_pushed_to_nodes_that_resume() {
    let ca = Running::on_disk(tempfile::tempdir().unwrap()).await;
    let node = ca.node("n1", &[]).await;
    let seen = node.follow(0).await.next().await;
    let directory = ca.stop().await;
    let ca = Running::on_disk(directory).await;
    let request = PrepareAuthorityRequest {
        kind: "jwt".to_owned(),
    };
    ca.authorities.clone().prepare_authority(request).await.unwrap();
    let client = ca.client(Some(&node.identity)).await.unwrap();
    let node = TestNode { client, ..node };
    let update = node.follow(&seen).await.next().await;
    assert!(!update.snapshot);
    let (before, after) = (node.answer.bundle.unwrap(), update.bundle.unwrap());
    assert_eq!((before.sequence, after.sequence), (1, 2));
    assert_ne!(before.jwt_keys, after.jwt_keys);
    assert_eq!(before.x509_authorities, after.x509_authorities);
}

#[tokio::test]
async fn spiffe_row_57_and_58_the_operator_gets_the_bundle_in_each_form() {
    let ca = Running::in_memory().await;
    let answer = ca
        .operator
        .clone()
        .bundle(BundleRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.pem, ca.server.bundle().to_pem());
    let bundle = SpiffeBundle::from_jwks(&domain(), &answer.spiffe).unwrap();
    assert_eq!(bundle.x509.as_ref(), Some(&ca.server.bundle()));
    assert_eq!(
        (bundle.sequence, bundle.refresh_hint),
        (Some(1), Some(Duration::from_mins(5)))
    );
    assert_eq!(bundle.jwt.keys().len(), 1);
    assert_eq!(bundle.jwt, JwtBundle::from_jwks(domain(), &answer.jwks).unwrap());
}
