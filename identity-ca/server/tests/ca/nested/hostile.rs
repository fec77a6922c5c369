//! Those who would be a CA and are none, and one that wants more than it may.

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose, SanType};
use signet_ca::{SignetUpstream, Storage, Upstream};
use signet_proto::ca::v1::downstream_service_client::DownstreamServiceClient;
use signet_proto::ca::v1::{FollowBundleRequest, IssueIntermediateRequest, PublishJwtKeysRequest};
use signet_spiffe::{JwtBundle, JwtKey, MAX_JWT_KEYS};
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::agent::FakeAgent;
use super::stage::{LOWER, Stage, Upper, identity, quiet, register, soon, status};
use crate::running::{Running, channel, domain, request};

type Client = DownstreamServiceClient<Channel>;

fn wants(csr: Vec<u8>) -> IssueIntermediateRequest {
    IssueIntermediateRequest {
        csr,
        ..IssueIntermediateRequest::default()
    }
}

/// All that a CA below may ask for.
async fn asked(client: &mut Client) -> [Result<(), Status>; 3] {
    let csr = csr(|_| {});
    let jwks = JwtBundle::empty(domain()).to_jwks().into_bytes();
    [
        client.issue_intermediate(wants(csr)).await.map(drop),
        client
            .publish_jwt_keys(PublishJwtKeysRequest {
                jwks,
                ..PublishJwtKeysRequest::default()
            })
            .await
            .map(drop),
        client
            .follow_bundle(FollowBundleRequest::default())
            .await
            .map(drop),
    ]
}

pub(super) fn csr(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.subject_alt_names = vec![SanType::URI("spiffe://td".try_into().unwrap())];
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    params.serialize_request(&key).unwrap().der().to_vec()
}

#[tokio::test]
async fn only_a_workload_that_is_registered_for_it_is_a_downstream_ca() {
    let upper = Upper::start(Storage::Memory, |_| {}).await;
    let web = register(&upper.ca, "spiffe://td/web", false).await;
    let nobody = channel(upper.ca.server.address(), None, upper.ca.bundles())
        .await
        .unwrap();
    for (mut client, code) in [
        (upper.client(&web).await, Code::PermissionDenied),
        (
            upper.client_as(&upper.node.identity).await,
            Code::PermissionDenied,
        ),
        (Client::new(nobody), Code::Unauthenticated),
    ] {
        for refused in asked(&mut client).await {
            assert_eq!(refused.unwrap_err().code(), code);
        }
    }
    for allowed in asked(&mut upper.client(&upper.registration).await).await {
        allowed.unwrap();
    }
}

#[tokio::test]
async fn what_a_lower_ca_signs_gives_nobody_a_right_at_the_upper_one() {
    let stage = Stage::new().await;
    // Whoever has the lower CA names whom it likes.
    let forged = register(&stage.lower, LOWER, true).await;
    let forged = identity(&stage.lower_node, &forged).await;
    for refused in asked(&mut stage.upper.client_as(&forged).await).await {
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
        assert!(refused.message().contains("signed by another CA"), "{refused}");
    }
    // Its node has the name of one of the upper CA's, and the upper CA's node that of one here.
    let mut there = stage
        .upper
        .ca
        .client(Some(&stage.lower_node.identity))
        .await
        .unwrap();
    let renew = signet_proto::ca::v1::RenewNodeSvidRequest { csr: request().1 };
    assert_eq!(
        there.renew_node_svid(renew.clone()).await.unwrap_err().code(),
        Code::PermissionDenied
    );
    let mut here = stage
        .lower
        .client(Some(&stage.upper.node.identity))
        .await
        .unwrap();
    assert_eq!(
        here.renew_node_svid(renew).await.unwrap_err().code(),
        Code::PermissionDenied
    );
}

#[tokio::test]
async fn a_request_for_more_than_an_intermediate_is_refused() {
    let upper = Upper::start(Storage::Memory, |_| {}).await;
    let mut client = upper.client(&upper.registration).await;
    let uri = |text: &str| SanType::URI(text.try_into().unwrap());
    for (csr, told) in [
        (
            csr(|params| params.subject_alt_names = vec![uri("spiffe://other")]),
            "other names",
        ),
        (
            csr(|params| params.subject_alt_names = vec![uri("spiffe://td/signet/ca")]),
            "other names",
        ),
        (
            csr(|params| {
                params
                    .subject_alt_names
                    .push(SanType::DnsName("x.example".try_into().unwrap()));
            }),
            "other names",
        ),
        (csr(|params| params.is_ca = IsCa::ExplicitNoCa), "cA is false"),
        (
            csr(|params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1))),
            "pathlen",
        ),
        (
            csr(|params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature]),
            "keyUsage",
        ),
        (vec![0x30; 9 * 1024], "at most"),
        (Vec::new(), "PKCS#10"),
    ] {
        let refused = client.issue_intermediate(wants(csr)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(refused.message().contains(told), "{refused}");
    }
    // Signed by another key than the one that is asked for.
    let mut stolen = csr(|_| {});
    let last = stolen.len() - 1;
    stolen[last] ^= 1;
    let refused = client.issue_intermediate(wants(stolen)).await;
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    // A longer life is cut, as is the request's own.
    let long = IssueIntermediateRequest {
        life: u64::MAX,
        ..wants(csr(|_| {}))
    };
    client.issue_intermediate(long).await.unwrap();
}

fn keys(count: usize) -> Vec<JwtKey> {
    let point = |_| {
        let key = KeyPair::generate().unwrap();
        JwtKey::p256(rcgen::PublicKeyData::der_bytes(&key)).unwrap()
    };
    (0..count).map(point).collect()
}

fn jwks(keys: Vec<JwtKey>) -> PublishJwtKeysRequest {
    let jwks = JwtBundle::new(domain(), keys).unwrap().to_jwks().into_bytes();
    PublishJwtKeysRequest {
        jwks,
        ..PublishJwtKeysRequest::default()
    }
}

#[tokio::test]
async fn jwt_keys_of_one_downstream_ca_are_bounded_and_take_nobody_s_place() {
    let upper = Upper::start(Storage::Memory, |_| {}).await;
    let mut client = upper.client(&upper.registration).await;
    let sixteen = keys(16);
    assert!(
        client
            .publish_jwt_keys(jwks(sixteen.clone()))
            .await
            .unwrap()
            .into_inner()
            .changed
    );
    assert!(
        !client
            .publish_jwt_keys(jwks(sixteen.clone()))
            .await
            .unwrap()
            .into_inner()
            .changed
    );
    let many = client.publish_jwt_keys(jwks(keys(17))).await.unwrap_err();
    assert_eq!(many.code(), Code::ResourceExhausted, "{many}");
    let most = client
        .publish_jwt_keys(jwks(keys(MAX_JWT_KEYS)))
        .await
        .unwrap_err();
    assert_eq!(most.code(), Code::ResourceExhausted);
    let garbage = PublishJwtKeysRequest {
        jwks: b"{}".to_vec(),
        ..PublishJwtKeysRequest::default()
    };
    assert_eq!(
        client.publish_jwt_keys(garbage).await.unwrap_err().code(),
        Code::InvalidArgument
    );
    // Another one cannot take a key of the first one's, nor the upper CA's own.
    let other = register(&upper.ca, "spiffe://td/ca/other", true).await;
    let mut other = upper.client(&other).await;
    let taken = other
        .publish_jwt_keys(jwks(sixteen[..1].to_vec()))
        .await
        .unwrap_err();
    assert_eq!(taken.code(), Code::ResourceExhausted);
    let bundle = upper
        .ca
        .operator
        .clone()
        .bundle(signet_proto::ca::v1::BundleRequest {})
        .await
        .unwrap();
    let published = JwtBundle::from_jwks(domain(), &bundle.into_inner().jwks).unwrap();
    assert_eq!(published.keys().len(), 17);
    let first = published
        .keys()
        .iter()
        .find(|key| sixteen.iter().all(|one| one.id() != key.id()))
        .unwrap();
    let taken = other
        .publish_jwt_keys(jwks(vec![first.clone()]))
        .await
        .unwrap_err();
    assert!(taken.message().contains("another key"), "{taken}");
    // Its own leave with it.
    client.publish_jwt_keys(jwks(Vec::new())).await.unwrap();
}

#[tokio::test]
async fn a_ca_that_is_an_intermediate_itself_signs_none() {
    let stage = Stage::new().await;
    let third = register(&stage.lower, "spiffe://td/ca/third", true).await;
    let third = identity(&stage.lower_node, &third).await;
    let there = channel(stage.lower.server.address(), Some(&third), stage.lower.bundles()).await;
    let mut client = Client::new(there.unwrap());
    let refused = client.issue_intermediate(wants(csr(|_| {}))).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("pathlen"), "{refused}");
}

#[tokio::test]
async fn a_lower_ca_in_the_upper_one_s_place_is_not_believed_by_another_one() {
    let stage = Stage::new().await;
    let upstream = stage.upper.upstream_at(stage.lower.server.address());
    let deceived = Running::configured(Storage::Memory, tempfile::tempdir().unwrap(), |config| {
        quiet(config);
        config.upstream = upstream;
    });
    let why = format!("{:#}", deceived.await.err().unwrap());
    assert!(
        why.contains("signed by another CA of the trust domain than ours"),
        "{why}"
    );
    // The upper one itself is followed while its authority changes, and after.
    stage.upper.ca.prepare("x509").await.unwrap();
    let knows = async || {
        let above = status(&stage.lower).await.upstream.unwrap();
        above.connected.then_some(())
    };
    soon("it follows", knows).await;
    stage.upper.ca.activate("x509", false).await.unwrap();
    let other = register(&stage.upper.ca, "spiffe://td/ca/other", true).await;
    let run = tempfile::tempdir().unwrap();
    let agent = FakeAgent::start(
        run.path(),
        &stage.upper.node.client,
        &stage.upper.ca.operator,
        &other,
    );
    let upstream = Upstream::Signet(SignetUpstream {
        addresses: vec![stage.upper.ca.server.address()],
        workload_socket: agent.socket.clone(),
        identity: None,
    });
    let other = Running::configured(Storage::Memory, tempfile::tempdir().unwrap(), |config| {
        quiet(config);
        config.upstream = upstream;
    });
    let other = other.await.unwrap();
    soon("another one follows, too", async || {
        status(&other).await.upstream.unwrap().connected.then_some(())
    })
    .await;
}
