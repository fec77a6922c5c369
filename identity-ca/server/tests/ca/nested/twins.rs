//! Two CAs with one SPIFFE ID and databases of their own, and too many streams of one.

use std::time::Duration;

use signet_ca::Storage;
use signet_proto::ca::v1::{FollowBundleRequest, IssueIntermediateRequest, PublishJwtKeysRequest};
use signet_spiffe::JwtBundle;
use tonic::Code;

use super::hostile::csr;
use super::stage::{Known, Stage, Upper, soon, until};
use crate::running::domain;

#[tokio::test]
async fn of_two_lower_cas_with_one_spiffe_id_the_second_is_refused_while_the_first_is_there() {
    let stage = Stage::new().await;
    let mut over = stage.upper.node.follow(0).await;
    let mut above = Known::default();
    until(&mut over, &mut above, |known| known.keys().keys().len() == 2).await;
    soon("it is followed", async || {
        let status = super::stage::status(&stage.lower).await;
        status
            .upstream
            .is_some_and(|upstream| upstream.connected)
            .then_some(())
    })
    .await;
    let mut twin = stage.upper.client(&stage.upper.registration).await;
    let instance = "another".to_owned();
    let jwks = JwtBundle::empty(domain()).to_jwks().into_bytes();
    let publish = PublishJwtKeysRequest {
        jwks,
        instance: instance.clone(),
        ..PublishJwtKeysRequest::default()
    };
    let issue = IssueIntermediateRequest {
        csr: csr(|_| {}),
        life: 0,
        instance: instance.clone(),
    };
    let follow = FollowBundleRequest { instance };
    for refused in [
        twin.publish_jwt_keys(publish.clone()).await.map(drop),
        twin.issue_intermediate(issue.clone()).await.map(drop),
        twin.follow_bundle(follow.clone()).await.map(drop),
    ] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Code::Aborted);
        assert!(refused.message().contains("database of its own"), "{refused}");
    }
    let Stage { upper, lower, .. } = stage;
    lower.stop().await;
    // That it has gone is known, and one that has makes room a minute later: a replica of it may be with another one of ours.
    soon("it is known to have gone", async || {
        let refused = twin.clone().follow_bundle(follow.clone()).await.unwrap_err();
        assert!(refused.message().contains("database of its own"), "{refused}");
        let ago = refused.message().split_once("was here ").unwrap().1;
        let ago: u64 = ago.split_once(" s").unwrap().0.parse().unwrap();
        (ago >= 30).then_some(())
    })
    .await;
    upper.ca.put_clock_ahead(Duration::from_mins(1));
    soon("there is room", async || {
        twin.clone().follow_bundle(follow.clone()).await.ok()
    })
    .await;
    twin.issue_intermediate(issue).await.unwrap();
    twin.publish_jwt_keys(publish).await.unwrap();
    drop(upper);
}

#[tokio::test]
async fn streams_of_one_lower_ca_are_bounded_over_all_its_connections() {
    let upper = Upper::start(Storage::Memory, |_| {}).await;
    let mut streams = Vec::new();
    let follow = FollowBundleRequest::default();
    for _ in 0..16 {
        let mut client = upper.client(&upper.registration).await;
        streams.push(client.follow_bundle(follow.clone()).await.unwrap().into_inner());
    }
    let mut client = upper.client(&upper.registration).await;
    let refused = client.follow_bundle(follow.clone()).await.map(drop).unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    streams.pop();
    soon("a place comes back", async || {
        client.clone().follow_bundle(follow.clone()).await.ok()
    })
    .await;
}
