//! The permission to run a CA below, and its end.

use std::time::Duration;

use signet_ca::Storage;
use signet_proto::ca::v1::revoke_request::Subject;
use signet_proto::ca::v1::{
    BanNodeRequest, DeregisterRequest, ListAuthoritiesRequest, RevokeRequest, UpdateRegistrationRequest,
};
use tonic::Code;

use super::stage::{Known, LOWER, Stage, Upper, key_of, register, token, until};

/// Ends the permission in some way; the SVIDs below the intermediate are refused above and below, and there is no new intermediate.
async fn ends(how: &str, end: impl AsyncFn(&Stage)) {
    Box::pin(ended(how, end)).await;
}

async fn ended(how: &str, end: impl AsyncFn(&Stage)) {
    let stage = Stage::new().await;
    let low = stage.low_svid().await;
    let high = stage.high_svid().await;
    let low_token = token(&stage.lower_node, &stage.low).await;
    let intermediate = key_of(&low[1]);
    let (mut above, mut below) = (Known::default(), Known::default());
    let mut over = stage.upper.node.follow(0).await;
    let mut under = stage.lower_node.follow(0).await;
    until(&mut over, &mut above, |known| known.keys().keys().len() == 2).await;
    until(&mut under, &mut below, |known| known.keys().keys().len() == 2).await;
    for known in [&above, &below] {
        let _ = known.verify(&low).unwrap();
    }
    end(&stage).await;
    until(&mut under, &mut below, |known| {
        known.authorities.contains(&intermediate)
    })
    .await;
    if how != "node" {
        until(&mut over, &mut above, |known| {
            known.authorities.contains(&intermediate)
        })
        .await;
        let _ = above.verify(&low).unwrap_err();
        let _ = above.verify(&high).unwrap();
    }
    let _ = below.verify(&low).unwrap_err();
    let _ = below.verify(&high).unwrap();
    if how == "registration" || how == "id" || how == "update" {
        until(&mut over, &mut above, |known| known.keys().keys().len() == 1).await;
        assert!(
            !above.verifies_token(&low_token),
            "its JWT key is in the bundle still"
        );
    }
    if how != "serial" && how != "authority" {
        let refused = stage.lower.prepare("x509").await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    }
    let list = stage
        .upper
        .ca
        .authorities
        .clone()
        .list_authorities(ListAuthoritiesRequest {})
        .await;
    let list = list.unwrap().into_inner().below;
    assert!(
        list.iter()
            .all(|one| one.revoked || one.authority != intermediate.to_string())
    );
}

fn revoke(subject: Subject) -> RevokeRequest {
    RevokeRequest {
        subject: Some(subject),
        reason: "stolen".to_owned(),
        ..RevokeRequest::default()
    }
}

#[tokio::test]
async fn a_downstream_ca_s_deregistration_ends_all_that_it_signed() {
    ends("registration", async |stage| {
        let id = stage.upper.registration.clone();
        let request = DeregisterRequest { id };
        stage.upper.ca.operator.clone().deregister(request).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_registration_that_loses_the_permission_ends_it_as_well() {
    ends("update", async |stage| {
        let request = UpdateRegistrationRequest {
            id: stage.upper.registration.clone(),
            downstream: Some(false),
            ..UpdateRegistrationRequest::default()
        };
        stage
            .upper
            .ca
            .operator
            .clone()
            .update_registration(request)
            .await
            .unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_downstream_ca_s_revocation_by_its_spiffe_id_ends_all_that_it_signed() {
    ends("id", async |stage| {
        let request = revoke(Subject::SpiffeId(LOWER.to_owned()));
        stage.upper.ca.operator.clone().revoke(request).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_intermediate_is_revoked_by_its_serial_number() {
    ends("serial", async |stage| {
        let list = stage
            .upper
            .ca
            .authorities
            .clone()
            .list_authorities(ListAuthoritiesRequest {})
            .await;
        let serial = list.unwrap().into_inner().below[0].serial.clone();
        stage
            .upper
            .ca
            .operator
            .clone()
            .revoke(revoke(Subject::Serial(serial)))
            .await
            .unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_intermediate_is_revoked_as_an_authority() {
    ends("authority", async |stage| {
        let authority = stage.signing().await;
        stage
            .upper
            .ca
            .operator
            .clone()
            .revoke(revoke(Subject::Authority(authority)))
            .await
            .unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_node_s_ban_ends_what_the_downstream_ca_on_it_signed() {
    ends("node", async |stage| {
        let request = BanNodeRequest {
            node: "n1".to_owned(),
            reason: "stolen".to_owned(),
            rehearse: false,
        };
        stage.upper.ca.operator.clone().ban_node(request).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_ca_below_is_not_registered_once_more_without_the_permission() {
    let stage = Stage::new().await;
    let request = signet_proto::ca::v1::RegisterRequest {
        spiffe_id: LOWER.to_owned(),
        node: "n1".to_owned(),
        selectors: vec!["unix:uid:8".to_owned()],
        ..signet_proto::ca::v1::RegisterRequest::default()
    };
    let refused = stage
        .upper
        .ca
        .operator
        .clone()
        .register(request)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("signet ca revoke"), "{refused}");
    stage.lower.prepare("x509").await.unwrap();
}

#[tokio::test]
async fn an_intermediate_alone_that_was_revoked_is_replaced() {
    // At once, however long others are published before they sign: nobody believes what the revoked one signs.
    let upper = Upper::start(Storage::Memory, |_| {}).await;
    let lower = upper.lower_with(Storage::Memory, |config| {
        config.rotation.publish_interval = Duration::from_hours(1);
    });
    let lower = lower.await.unwrap();
    let stage = Stage::with(upper, lower).await;
    let before = stage.signing().await;
    let request = revoke(Subject::Authority(before.clone()));
    stage.upper.ca.operator.clone().revoke(request).await.unwrap();
    super::stage::soon("another one signs", async || {
        (stage.signing().await != before).then_some(())
    })
    .await;
    register(&stage.upper.ca, "spiffe://td/other", false).await;
}
