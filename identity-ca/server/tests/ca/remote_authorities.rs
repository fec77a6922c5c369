//! `signet ca authority` and what is above it, from afar.

use signet_ca::Access;
use signet_proto::ca::v1::authority_service_client::AuthorityServiceClient;
use signet_proto::ca::v1::upstream_service_client::UpstreamServiceClient;
use signet_proto::ca::v1::watch_service_client::WatchServiceClient;
use signet_proto::ca::v1::{
    ActivateAuthorityRequest, ImportAuthorityRequest, ListAuthoritiesRequest, PrepareAuthorityRequest,
    RequestAuthorityRequest, RevokeAuthorityRequest, WatchRequest,
};
use signet_tls::SvidKeyPair;
use tonic::Code;
use tonic::transport::Channel;

use crate::remote_operators::{ALICE, BOB, open, svid};
use crate::running::{Running, channel};

async fn there(ca: &Running, identity: &SvidKeyPair) -> Channel {
    let address = ca.server.operators().unwrap();
    channel(address, Some(identity), ca.bundles()).await.unwrap()
}

fn prepare() -> PrepareAuthorityRequest {
    PrepareAuthorityRequest {
        kind: "jwt".to_owned(),
    }
}

#[tokio::test]
async fn an_admin_from_afar_takes_every_step_and_a_reader_looks() {
    let ca = open(Access::default()).await;
    let node = ca.node("n1", &[]).await;
    let (bob, _) = svid(&ca, &node, BOB, "reader").await;
    let (alice, _) = svid(&ca, &node, ALICE, "admin").await;
    let bob = there(&ca, &bob).await;
    let mut reader = AuthorityServiceClient::new(bob.clone());
    let list = reader.list_authorities(ListAuthoritiesRequest {}).await.unwrap();
    assert_eq!(list.into_inner().authorities.len(), 2);
    let denied = [
        reader.prepare_authority(prepare()).await.map(drop),
        UpstreamServiceClient::new(bob.clone())
            .request_authority(RequestAuthorityRequest {})
            .await
            .map(drop),
    ];
    for denied in denied {
        assert_eq!(denied.unwrap_err().code(), Code::PermissionDenied);
    }
    let alice = there(&ca, &alice).await;
    let mut admin = AuthorityServiceClient::new(alice.clone());
    let made = admin.prepare_authority(prepare()).await.unwrap().into_inner();
    let early = ActivateAuthorityRequest {
        kind: "jwt".to_owned(),
        ..ActivateAuthorityRequest::default()
    };
    let early = admin.activate_authority(early).await.unwrap_err();
    assert_eq!(early.code(), Code::FailedPrecondition);
    let revoke = RevokeAuthorityRequest {
        kind: "jwt".to_owned(),
        id: made.authority.unwrap().id,
        reason: "a trial".to_owned(),
        ..RevokeAuthorityRequest::default()
    };
    admin.revoke_authority(revoke).await.unwrap();
    let mut upstream = UpstreamServiceClient::new(alice);
    let asked = upstream
        .request_authority(RequestAuthorityRequest {})
        .await
        .unwrap();
    assert!(asked.into_inner().csr.contains("CERTIFICATE REQUEST"));
    let nothing = ImportAuthorityRequest { chain: String::new() };
    assert_eq!(
        upstream.import_authority(nothing).await.unwrap_err().code(),
        Code::InvalidArgument
    );
}

#[tokio::test]
async fn a_reader_watches_until_the_role_is_taken_away() {
    let ca = open(Access::default()).await;
    let node = ca.node("n1", &[]).await;
    let (bob, registration) = svid(&ca, &node, BOB, "reader").await;
    let mut client = WatchServiceClient::new(there(&ca, &bob).await);
    let watch = WatchRequest {
        kinds: vec!["registration".to_owned()],
    };
    let mut events = client.watch(watch).await.unwrap().into_inner();
    ca.register("spiffe://td/web", "n1", "unix:uid:1").await.unwrap();
    let event = events.message().await.unwrap().unwrap();
    assert_eq!(
        (event.kind.as_str(), event.what.as_str()),
        ("registration", "made")
    );
    let update = signet_proto::ca::v1::UpdateRegistrationRequest {
        id: registration,
        role: Some(String::new()),
        ..signet_proto::ca::v1::UpdateRegistrationRequest::default()
    };
    ca.operator.clone().update_registration(update).await.unwrap();
    let end = events.message().await.unwrap_err();
    assert_eq!(end.code(), Code::PermissionDenied, "{end}");
}
