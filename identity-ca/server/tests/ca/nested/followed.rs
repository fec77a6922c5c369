//! What the upper CA publishes, taints and revokes reaches those below the lower one.

use signet_proto::ca::v1::{RevokeAuthorityRequest, TaintAuthorityRequest};

use signet_spiffe::UnixTime;

use super::stage::{Known, LOWER, Stage, key_of, soon, status, until};

#[tokio::test]
async fn another_root_of_the_upper_ca_s_is_passed_on_before_it_signs() {
    let stage = Stage::new().await;
    let mut under = stage.lower_node.follow(0).await;
    let mut below = Known::default();
    until(&mut under, &mut below, |known| {
        known.bundle.x509_authorities.len() == 1
    })
    .await;
    let before = below.bundle.sequence;
    stage.upper.ca.prepare("x509").await.unwrap();
    stage.upper.ca.prepare("jwt").await.unwrap();
    until(&mut under, &mut below, |known| {
        known.bundle.x509_authorities.len() == 2 && known.keys().keys().len() == 3
    })
    .await;
    assert!(below.bundle.sequence > before);
    stage.upper.ca.activate("x509", false).await.unwrap();
    assert_eq!(
        below.verify(&stage.high_svid().await).unwrap().id().as_str(),
        "spiffe://td/high"
    );
}

#[tokio::test]
async fn what_the_upper_ca_taints_is_replaced_below_and_what_it_revokes_refused() {
    let stage = Stage::new().await;
    let first = stage.low_svid().await;
    let root = key_of(&stage.upper.ca.server.bundle().authorities()[0].clone());
    let mut under = stage.lower_node.follow(0).await;
    let mut below = Known::default();
    stage.upper.ca.prepare("x509").await.unwrap();
    until(&mut under, &mut below, |known| {
        known.bundle.x509_authorities.len() == 2
    })
    .await;
    for node in [&stage.lower_node] {
        assert!(node.acknowledge(&below.bundle).await);
    }
    stage.upper.ca.activate("x509", false).await.unwrap();
    let taint = TaintAuthorityRequest {
        kind: "x509".to_owned(),
        id: root.to_string(),
        rehearse: false,
    };
    stage
        .upper
        .ca
        .authorities
        .clone()
        .taint_authority(taint)
        .await
        .unwrap();
    // By itself, although its rotation is left to its operator.
    soon("the lower CA's authority is replaced", async || {
        let mut states = stage.lower.states("x509").await;
        states.sort();
        (states == ["active", "tainted"]).then_some(())
    })
    .await;
    let tainted = key_of(&first[1]).to_string();
    until(&mut under, &mut below, |known| {
        known.bundle.tainted_x509.contains(&tainted)
    })
    .await;
    let second = stage.low_svid().await;
    assert_ne!(key_of(&first[1]), key_of(&second[1]));
    for chain in [&first, &second] {
        let _ = below.verify(chain).unwrap();
    }
    let revoke = RevokeAuthorityRequest {
        kind: "x509".to_owned(),
        id: root.to_string(),
        reason: "stolen".to_owned(),
        rehearse: false,
        force: true,
    };
    stage
        .upper
        .ca
        .authorities
        .clone()
        .revoke_authority(revoke)
        .await
        .unwrap();
    until(&mut under, &mut below, |known| {
        known.bundle.x509_authorities.len() == 1 && known.authorities.contains(&root)
    })
    .await;
    below.verify(&first).unwrap_err();
    let _ = below.verify(&second).unwrap();
}

#[tokio::test]
async fn the_upper_ca_s_budget_is_of_the_lower_one_s_svid_and_not_of_its_intermediate() {
    let stage = Stage::new().await;
    let outage = status(&stage.upper.ca).await.outage.unwrap();
    let of_lower = outage.classes.iter().find(|class| class.spiffe_id == LOWER);
    let first = u64::try_from(of_lower.unwrap().first).unwrap();
    // An intermediate lives for days.
    assert!(first < UnixTime::now().as_secs() + 24 * 3600, "{outage:?}");
}
