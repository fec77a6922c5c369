//! WIT-SVIDs of workloads, where they are on, and the keys that they are checked with.

use std::time::Duration;

use signet_ca::{Config, Storage};
use signet_log::{Document, Entry, Hash, Record};
use signet_proto::ca::v1::revoke_request::Subject;
use signet_proto::ca::v1::wit_service_client::WitServiceClient;
use signet_proto::ca::v1::{
    BundleRequest, IssueWitSvidRequest, RegisterRequest, ReopenRequest, RevokeAuthorityRequest,
    RevokeRequest, WitSvid,
};
use signet_proto::view::v1::TrustBundle;
use signet_spiffe::{
    Revocations, SpiffeBundle, Subject as Meant, TokenError, UnixTime, UnprovenWitSvid, WitBundle,
    WitBundleSet, WitSvidError, verify_wit_svid,
};
use tonic::{Code, Status};

use crate::log::entries;
use crate::rotation::next_bundle;
use crate::running::{Running, TestNode, channel, domain, request};

const WEB: &str = "spiffe://td/ns/shop/sa/web";
const WIT: &str = "wit";

fn on(config: &mut Config) {
    config.rotation.wit_svids = true;
}

async fn with_wit_svids() -> Running {
    let directory = tempfile::tempdir().unwrap();
    Running::configured(Storage::Memory, directory, on).await.unwrap()
}

async fn ask(ca: &Running, node: &TestNode, registration: &str, csr: Vec<u8>) -> Result<WitSvid, Status> {
    let channel = channel(ca.server.address(), Some(&node.identity), ca.bundles()).await;
    let request = IssueWitSvidRequest {
        registration: registration.to_owned(),
        csr,
    };
    let answer = WitServiceClient::new(channel.unwrap())
        .issue_wit_svid(request)
        .await?;
    Ok(answer.into_inner())
}

pub(crate) async fn issue(ca: &Running, node: &TestNode, registration: &str) -> Result<WitSvid, Status> {
    ask(ca, node, registration, request().1).await
}

fn keys(pushed: &TrustBundle) -> WitBundleSet {
    let keys = std::str::from_utf8(&pushed.wit_keys).unwrap();
    WitBundleSet::single(WitBundle::from_jwks(domain(), keys).unwrap())
}

/// As an agent would: by the keys that were pushed to it.
pub(crate) fn verify(svid: &WitSvid, pushed: &TrustBundle) -> Result<UnprovenWitSvid, WitSvidError> {
    verify_wit_svid(&svid.token, &keys(pushed), UnixTime::now())
}

#[tokio::test]
async fn they_are_off_unless_the_ca_is_told_otherwise() {
    let ca = Running::in_memory().await;
    let node = ca.node("n1", &[]).await;
    let registration = ca.register(WEB, "n1", "unix:uid:1000").await.unwrap().id;
    let refused = issue(&ca, &node, &registration).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    assert!(refused.message().contains("--experimental-wit-svid"), "{refused}");
    assert!(node.answer.bundle.unwrap().wit_keys.is_empty());
    // And no key for them comes into being.
    assert_eq!(
        ca.prepare(WIT).await.unwrap_err().code(),
        Code::FailedPrecondition
    );
    assert_eq!(
        ca.activate(WIT, false).await.unwrap_err().code(),
        Code::FailedPrecondition
    );
    assert!(ca.states(WIT).await.is_empty());
}

#[tokio::test]
async fn spiffe_row_31_and_32_a_node_gets_a_token_bound_to_the_key_that_it_shows() {
    let ca = with_wit_svids().await;
    let node = ca.node("n1", &[]).await;
    let register = RegisterRequest {
        spiffe_id: WEB.to_owned(),
        node: "n1".to_owned(),
        selectors: vec!["unix:uid:1000".to_owned()],
        ttl: 600,
        ..RegisterRequest::default()
    };
    let registration = ca.operator.clone().register(register).await.unwrap().into_inner();
    let (key, csr) = request();
    let svid = ask(&ca, &node, &registration.id, csr.clone()).await.unwrap();
    let bundle = node.answer.bundle.as_ref().unwrap();
    let read = verify(&svid, bundle).unwrap();
    assert_eq!((read.issued_to().as_str(), svid.spiffe_id.as_str()), (WEB, WEB));
    let mine = signet_spiffe::JwtKey::p256(key.public_key_raw()).unwrap();
    assert_eq!(read.key().thumbprint(), mine.id());
    // It lives as long as a certificate would, and each has a number of its own.
    assert_eq!(read.expires().as_secs() - read.issued().unwrap().as_secs(), 600);
    assert_eq!(read.expires().as_secs(), svid.expires.cast_unsigned());
    let again = ask(&ca, &node, &registration.id, csr).await.unwrap();
    assert_ne!(verify(&again, bundle).unwrap().token_id(), read.token_id());
}

#[tokio::test]
async fn spiffe_row_34_the_keys_are_published_apart_from_all_others() {
    let ca = with_wit_svids().await;
    let published = ca
        .operator
        .clone()
        .bundle(BundleRequest {})
        .await
        .unwrap()
        .into_inner();
    let bundle = SpiffeBundle::from_jwks(&domain(), &published.spiffe).unwrap();
    let [wit] = bundle.wit.keys() else {
        unreachable!("{bundle:?}")
    };
    assert!(bundle.jwt.key(wit.id()).is_none());
    // Those who check JWTs, OpenID Connect's clients among them, never see them.
    assert!(!published.jwks.contains(wit.id()));
    let node = ca.node("n1", &[]).await;
    let pushed = node.answer.bundle.unwrap();
    assert!(!String::from_utf8(pushed.jwt_keys).unwrap().contains(wit.id()));
}

#[tokio::test]
async fn what_is_not_the_node_s_own_and_what_is_no_key_is_refused() {
    let ca = with_wit_svids().await;
    let node = ca.node("n1", &[]).await;
    ca.node("n2", &[]).await;
    let other = ca.register(WEB, "n2", "unix:uid:1000").await.unwrap().id;
    for (registration, code) in [
        (other.as_str(), Code::PermissionDenied),
        ("00000000-0000-4000-8000-000000000000", Code::NotFound),
        (WEB, Code::InvalidArgument),
    ] {
        let refused = issue(&ca, &node, registration).await.unwrap_err();
        assert_eq!(refused.code(), code, "{registration}");
    }
    let own = ca
        .register("spiffe://td/own", "n1", "unix:uid:1000")
        .await
        .unwrap()
        .id;
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let p384 = rcgen::CertificateParams::default()
        .serialize_request(&p384)
        .unwrap();
    let mut forged = request().1;
    *forged.last_mut().unwrap() ^= 1;
    for bad in [Vec::new(), vec![0; 9000], p384.der().to_vec(), forged] {
        let refused = ask(&ca, &node, &own, bad).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
    let anonymous = channel(ca.server.address(), None, ca.bundles()).await.unwrap();
    let call = IssueWitSvidRequest {
        registration: own,
        csr: request().1,
    };
    let refused = WitServiceClient::new(anonymous)
        .issue_wit_svid(call)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_token_stands_in_the_log_before_it_is_handed_out() {
    let ca = with_wit_svids().await;
    let node = ca.node("n1", &[]).await;
    let registration = ca.register(WEB, "n1", "unix:uid:1000").await.unwrap().id;
    let svid = issue(&ca, &node, &registration).await.unwrap();
    let all = entries(&ca, 0, 0).await;
    let issuances = all
        .iter()
        .filter_map(|entry| match Entry::decode(&entry.leaf).unwrap().record {
            Record::Issuance(issuance) if issuance.document == Document::Wit => Some(issuance),
            Record::Issuance(_) | Record::Change(_) => None,
        });
    let [logged] = &issuances.collect::<Vec<_>>()[..] else {
        unreachable!("one")
    };
    assert_eq!(logged.sha256, Hash::sha256(svid.token.as_bytes()));
    let read = verify(&svid, node.answer.bundle.as_ref().unwrap()).unwrap();
    assert_eq!(Some(logged.serial_hex().as_str()), read.token_id());
}

#[tokio::test]
async fn a_revoked_id_gets_none_until_it_is_reopened_and_what_it_had_is_told_apart() {
    let ca = with_wit_svids().await;
    let node = ca.node("n1", &[]).await;
    let registration = ca.register(WEB, "n1", "unix:uid:1000").await.unwrap().id;
    let before = issue(&ca, &node, &registration).await.unwrap();
    let bundle = node.answer.bundle.clone().unwrap();
    let serial = verify(&before, &bundle).unwrap().token_id().unwrap().to_owned();
    let mut operator = ca.operator.clone();
    let revoke = |subject: Subject| RevokeRequest {
        subject: Some(subject),
        reason: "key-compromise".to_owned(),
        ..RevokeRequest::default()
    };
    // By its number, which the log knows: no --force.
    operator.revoke(revoke(Subject::Serial(serial))).await.unwrap();
    let of_id = operator
        .revoke(revoke(Subject::SpiffeId(WEB.to_owned())))
        .await
        .unwrap();
    let refused = issue(&ca, &node, &registration).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    let reopen = ReopenRequest {
        spiffe_id: WEB.to_owned(),
    };
    operator.reopen(reopen).await.unwrap();
    let after = issue(&ca, &node, &registration).await.unwrap();
    let at = of_id.into_inner().revocation.unwrap().revocation.unwrap().at;
    let at = UnixTime::since_unix_epoch(Duration::from_secs(at.cast_unsigned()));
    let mut revocations = Revocations::of(domain());
    let id = signet_spiffe::SpiffeId::parse(WEB).unwrap();
    revocations.insert(Meant::Id { id, until: at, at }, "key-compromise".into());
    let keys = keys(&bundle).with_revocations(revocations.into());
    let check = |svid: &WitSvid| verify_wit_svid(&svid.token, &keys, UnixTime::now());
    assert!(matches!(
        check(&before),
        Err(WitSvidError::Token(TokenError::Revoked(_)))
    ));
    assert!(check(&after).is_ok());
}

#[tokio::test]
async fn switched_on_later_the_first_key_signs_once_every_node_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let ca = Running::on_disk(directory).await;
    let node = ca.node("n1", &[]).await;
    let registration = ca.register(WEB, "n1", "unix:uid:1000").await.unwrap().id;
    let directory = ca.stop().await;
    let storage = Storage::Directory(directory.path().join("data"));
    let ca = Running::configured(storage, directory, on).await.unwrap();
    let node = TestNode {
        client: ca.client(Some(&node.identity)).await.unwrap(),
        ..node
    };
    let mut follower = node.follow(0).await;
    let mut bundle = next_bundle(&mut follower).await;
    while bundle.wit_keys.is_empty() {
        bundle = next_bundle(&mut follower).await;
    }
    assert_eq!(ca.states(WIT).await, ["prepared"]);
    let refused = issue(&ca, &node, &registration).await.unwrap_err();
    assert!(refused.message().contains("all nodes have to have"), "{refused}");
    assert!(node.acknowledge(&bundle).await);
    // The CA takes the step by itself, and tells of it.
    while ca.states(WIT).await != ["active"] {
        next_bundle(&mut follower).await;
    }
    let svid = issue(&ca, &node, &registration).await.unwrap();
    assert!(verify(&svid, &bundle).is_ok());

    // Switched off again there are none, and all else goes on.
    let directory = ca.stop().await;
    let ca = Running::on_disk(directory).await;
    let refused = issue(&ca, &node, &registration).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
}

#[tokio::test]
async fn a_key_that_leaked_is_revoked_though_it_signs_and_another_one_takes_over() {
    let ca = with_wit_svids().await;
    let node = ca.node("n1", &[]).await;
    let registration = ca.register(WEB, "n1", "unix:uid:1000").await.unwrap().id;
    let stolen = issue(&ca, &node, &registration).await.unwrap();
    let mut follower = node.follow(0).await;
    let mut bundle = next_bundle(&mut follower).await;
    assert!(verify(&stolen, &bundle).is_ok());
    let [active] = &ca.authorities_of(WIT).await[..] else {
        unreachable!("one")
    };
    let request = RevokeAuthorityRequest {
        kind: WIT.to_owned(),
        id: active.id.clone(),
        reason: "stolen".to_owned(),
        rehearse: false,
        force: false,
    };
    ca.authorities.clone().revoke_authority(request).await.unwrap();
    // First without any, then with the next one, which waits for nobody but this node.
    loop {
        bundle = next_bundle(&mut follower).await;
        if !bundle.wit_keys.is_empty() && keys(&bundle).get(&domain()).unwrap().key(&active.id).is_none() {
            break;
        }
    }
    assert!(matches!(
        verify(&stolen, &bundle),
        Err(WitSvidError::Token(TokenError::UnknownKey { .. }))
    ));
    node.acknowledge(&bundle).await;
    while !ca.states(WIT).await.contains(&"active".to_owned()) {
        next_bundle(&mut follower).await;
    }
    let fresh = issue(&ca, &node, &registration).await.unwrap();
    assert!(verify(&fresh, &bundle).is_ok());
}
