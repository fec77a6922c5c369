//! What the upper CA signs, and what follows from it.

use signet_ca::Storage;
use signet_proto::ca::v1::ListAuthoritiesRequest;
use signet_spiffe::{BundleSet, UnixTime, verify_x509_svid};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::stage::{Known, Stage, Upper, key_of, soon, status, token, until};

#[tokio::test]
async fn workloads_below_either_ca_verify_one_another() {
    let stage = Stage::new().await;
    let (high, low) = (stage.high_svid().await, stage.low_svid().await);
    assert_eq!(
        (high.len(), low.len()),
        (1, 2),
        "the intermediate goes with the leaf"
    );
    let (mut above, mut below) = (Known::default(), Known::default());
    let mut over = stage.upper.node.follow(0).await;
    let mut under = stage.lower_node.follow(0).await;
    until(&mut over, &mut above, |known| known.keys().keys().len() == 2).await;
    until(&mut under, &mut below, |known| known.keys().keys().len() == 2).await;
    assert_eq!(
        above.bundle.x509_authorities, below.bundle.x509_authorities,
        "one root"
    );
    for known in [&above, &below] {
        assert_eq!(known.verify(&high).unwrap().id().as_str(), "spiffe://td/high");
        assert_eq!(known.verify(&low).unwrap().id().as_str(), "spiffe://td/low");
    }
    // Tokens as well.
    let high = token(&stage.upper.node, &stage.high).await;
    let low = token(&stage.lower_node, &stage.low).await;
    for known in [&above, &below] {
        assert!(known.verifies_token(&high) && known.verifies_token(&low));
    }
    let told = status(&stage.lower).await.upstream.unwrap();
    assert_eq!(
        (told.kind.as_str(), told.connected, told.failure.as_str()),
        ("signet", true, "")
    );
    assert!(told.until > 0 && told.heard > 0 && told.since > 0);
}

#[tokio::test]
async fn an_intermediate_is_bounded_and_stands_in_the_log_and_the_registry_of_who_signed_it() {
    let stage = Stage::new().await;
    let low = stage.low_svid().await;
    let (_, intermediate) = X509Certificate::from_der(&low[1]).unwrap();
    let constraints = intermediate.basic_constraints().unwrap().unwrap().value;
    assert!(constraints.ca && constraints.path_len_constraint == Some(0));
    let life = intermediate.validity().not_after.timestamp() - intermediate.validity().not_before.timestamp();
    assert!(
        life <= 30 * 86_400 + 600,
        "{life} s, although 30 days are the most"
    );
    let list = stage
        .upper
        .ca
        .authorities
        .clone()
        .list_authorities(ListAuthoritiesRequest {})
        .await;
    let below = list.unwrap().into_inner().below;
    let [one] = below.as_slice() else {
        panic!("{below:?}");
    };
    assert_eq!(one.authority, key_of(&low[1]).to_string());
    assert_eq!(one.spiffe_id, super::stage::LOWER);
    assert!(!one.revoked);
    let serial = intermediate.raw_serial();
    let first = serial.iter().position(|byte| *byte != 0).unwrap();
    let mut operator = stage.upper.ca.operator.clone();
    let logged = operator.prove_log_entry(signet_proto::ca::v1::ProveLogEntryRequest {
        entry: Some(signet_proto::ca::v1::prove_log_entry_request::Entry::Serial(
            serial[first..].to_vec(),
        )),
        size: 0,
    });
    let entry = logged.await.unwrap().into_inner().entry.unwrap();
    let entry = signet_log::Entry::decode(&entry.leaf).unwrap();
    assert_eq!(entry.caller.to_string(), "spiffe://td/ca/lower");
}

#[tokio::test]
async fn a_new_intermediate_comes_through_the_usual_steps() {
    let stage = Stage::new().await;
    let before = stage.low_svid().await;
    stage.lower.prepare("x509").await.unwrap();
    stage.lower.activate("x509", false).await.unwrap();
    let after = stage.low_svid().await;
    assert_ne!(key_of(&before[1]), key_of(&after[1]));
    let bundles = BundleSet::single(stage.upper.ca.server.bundle());
    for chain in [&before, &after] {
        let _ = verify_x509_svid(chain, &bundles, UnixTime::now()).unwrap();
    }
    let mut states = stage.lower.states("x509").await;
    states.sort();
    assert_eq!(states, ["active", "old"]);
}

#[tokio::test]
async fn a_lower_ca_goes_on_without_the_upper_one_and_says_since_when_and_until_when() {
    let upper = Upper::start(Storage::Memory, |_| {}).await;
    let home = tempfile::tempdir().unwrap();
    let data = Storage::Directory(home.path().join("data"));
    let lower = upper.lower(data.clone()).await.unwrap();
    let upstream = upper.upstream();
    let stage = Stage::with(upper, lower).await;
    let is_followed = async |lower: &crate::running::Running| {
        let told = status(lower).await.upstream.unwrap();
        (told.connected, told.since, told.until, told.failure)
    };
    soon("it is followed", async || {
        is_followed(&stage.lower).await.0.then_some(())
    })
    .await;
    let Stage {
        upper,
        lower,
        lower_node,
        low,
        ..
    } = stage;
    upper.ca.stop().await;
    let failure = soon("it is noticed", async || {
        let (connected, since, until, failure) = is_followed(&lower).await;
        (!connected && since > 0 && until > since).then_some(failure)
    });
    assert!(!failure.await.is_empty());
    super::stage::identity(&lower_node, &low).await;
    // A rotation has to wait, and says for what.
    let refused = lower.prepare("x509").await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable);
    lower.stop().await;
    // It starts anew all the same.
    let again = crate::running::Running::configured(data, tempfile::tempdir().unwrap(), |config| {
        super::stage::quiet(config);
        config.upstream = upstream;
    });
    let again = again.await.unwrap();
    let client = again.client(Some(&lower_node.identity)).await.unwrap();
    let lower_node = crate::running::TestNode { client, ..lower_node };
    super::stage::identity(&lower_node, &low).await;
    let (connected, _, until, _) = is_followed(&again).await;
    assert!(!connected && until > 0);
}
