//! The rows of the SPIFFE conformance checklist that the WIT profile of a Workload API server answers for, over a real socket.

use std::collections::BTreeMap;
use std::sync::Arc;

use signet_proto::workload::{WitBundlesRequest, WitBundlesResponse, WitsvidRequest, WitsvidResponse};
use signet_spiffe::{
    BundleSet, JwtKey, Revocations, SpiffeId, Subject, TrustDomain, UnixTime, WitBundle, WitBundleSet,
};
use tonic::{Code, Status, Streaming};
use zeroize::Zeroizing;

use crate::testing::{Authority, Client, PATIENCE, Served, for_others, for_us};
use crate::{Offer, Offers, WitOffers, WitSvid};

const WEB: &str = "spiffe://td.test/web";
const ADMIN: &str = "spiffe://td.test/admin";
const OTHER: &str = "spiffe://td.test/other";

fn id(text: &str) -> SpiffeId {
    SpiffeId::parse(text).unwrap()
}

fn domain(text: &str) -> TrustDomain {
    TrustDomain::parse(text).unwrap()
}

/// Nothing of this server looks into tokens: it is the agent that verifies them.
fn wit(text: &str, token: &str) -> (SpiffeId, Arc<WitSvid>) {
    let secret = |text: String| Zeroizing::new(text);
    let svid = WitSvid::new(
        id(text),
        secret(token.to_owned()),
        secret(format!("key of {token}")),
    );
    (id(text), Arc::new(svid.unwrap()))
}

fn keys(name: &str) -> WitBundle {
    let pair =
        aws_lc_rs::signature::EcdsaKeyPair::generate(&aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING);
    let point = aws_lc_rs::signature::KeyPair::public_key(&pair.unwrap())
        .as_ref()
        .to_vec();
    WitBundle::new(domain(name), vec![JwtKey::p256(&point).unwrap()]).unwrap()
}

/// An agent with the profile on.
fn served() -> Served {
    let served = Served::new();
    served.agent.serve_wit_svids();
    served
}

/// Two identities for us, in this order, and one for others; of WIT-SVIDs, those.
fn publish(served: &Served, wits: WitOffers) {
    let authority = Authority::new("td.test");
    let offers = vec![
        Offer::ready(for_us(), authority.svid("/web")).with_hint(Some("internal".parse().unwrap())),
        // They do not wait for certificates.
        Offer::pending(for_us(), id(ADMIN))
            .unwrap()
            .federating_with([domain("other.test")].into()),
        Offer::ready(for_others(), authority.svid("/other")),
    ];
    let offers = Offers::new(offers, Arc::new(BundleSet::single(authority.bundle()))).unwrap();
    served.agent.publish_offers(offers.with_wits(Arc::new(wits)));
}

fn svids(wits: &[(&str, &str)]) -> WitOffers {
    WitOffers {
        svids: wits.iter().map(|(id, token)| wit(id, token)).collect(),
        ..WitOffers::default()
    }
}

async fn fetch(client: &mut Client, spiffe_id: &str) -> Result<Streaming<WitsvidResponse>, Status> {
    let request = WitsvidRequest {
        spiffe_id: spiffe_id.to_owned(),
    };
    Ok(client.fetch_witsvid(request).await?.into_inner())
}

async fn next<T>(stream: &mut Streaming<T>) -> Result<T, Status> {
    let message = tokio::time::timeout(PATIENCE, stream.message()).await.unwrap()?;
    Ok(message.unwrap())
}

fn tokens(response: &WitsvidResponse) -> Vec<(&str, &str)> {
    let svids = response.svids.iter();
    svids
        .map(|svid| (svid.spiffe_id.as_str(), svid.wit_svid.as_str()))
        .collect()
}

#[tokio::test]
async fn spiffe_row_54_where_the_profile_is_off_it_is_unimplemented_whoever_asks() {
    let served = Served::new();
    // Not even whether there is an identity is told.
    let mut client = served.client().await;
    let refused = fetch(&mut client, "no id").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    publish(&served, svids(&[(WEB, "web")]));
    assert_eq!(
        fetch(&mut client, "").await.unwrap_err().code(),
        Code::Unimplemented
    );
    let refused = client.fetch_wit_bundles(WitBundlesRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
}

#[tokio::test]
async fn without_an_id_all_identities_get_theirs_with_key_and_hint_in_order() {
    let served = served();
    publish(
        &served,
        svids(&[(WEB, "web"), (ADMIN, "admin"), (OTHER, "other")]),
    );
    let mut client = served.client().await;
    let message = next(&mut fetch(&mut client, "").await.unwrap()).await.unwrap();
    assert_eq!(tokens(&message), [(WEB, "web"), (ADMIN, "admin")]);
    assert_eq!(message.svids[0].wit_svid_key, "key of web");
    assert_eq!(
        (message.svids[0].hint.as_str(), message.svids[1].hint.as_str()),
        ("internal", "")
    );
}

#[tokio::test]
async fn with_an_id_that_identity_alone_and_no_other_s() {
    let served = served();
    publish(
        &served,
        svids(&[(WEB, "web"), (ADMIN, "admin"), (OTHER, "other")]),
    );
    let mut client = served.client().await;
    let message = next(&mut fetch(&mut client, ADMIN).await.unwrap()).await.unwrap();
    assert_eq!(tokens(&message), [(ADMIN, "admin")]);
    for foreign in [OTHER, "spiffe://td.test/we", "spiffe://other.test/web"] {
        let refused = fetch(&mut client, foreign).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{foreign}");
    }
    let malformed = fetch(&mut client, "web").await.unwrap_err();
    assert_eq!(malformed.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_stream_hears_of_each_change_and_ends_when_nothing_is_left() {
    let served = served();
    let mut client = served.client().await;
    publish(&served, svids(&[]));
    assert_eq!(
        fetch(&mut client, "").await.unwrap_err().code(),
        Code::Unavailable,
        "not yet"
    );
    publish(&served, svids(&[(WEB, "web"), (ADMIN, "admin")]));
    let mut all = fetch(&mut client, "").await.unwrap();
    let mut one = fetch(&mut client, WEB).await.unwrap();
    assert_eq!(next(&mut all).await.unwrap().svids.len(), 2);
    next(&mut one).await.unwrap();
    // Renewed; then one is taken back, which the other stream hears of by its end.
    publish(&served, svids(&[(WEB, "again"), (ADMIN, "admin")]));
    assert_eq!(tokens(&next(&mut one).await.unwrap()), [(WEB, "again")]);
    assert_eq!(
        tokens(&next(&mut all).await.unwrap()),
        [(WEB, "again"), (ADMIN, "admin")]
    );
    let authority = Authority::new("td.test");
    let offers = vec![Offer::pending(for_us(), id(ADMIN)).unwrap()];
    let offers = Offers::new(offers, Arc::new(BundleSet::single(authority.bundle()))).unwrap();
    let left = offers.with_wits(Arc::new(svids(&[(WEB, "again"), (ADMIN, "admin")])));
    served.agent.publish_offers(left);
    assert_eq!(tokens(&next(&mut all).await.unwrap()), [(ADMIN, "admin")]);
    assert_eq!(next(&mut one).await.unwrap_err().code(), Code::PermissionDenied);
    served.agent.publish(Vec::new(), [authority.bundle()]);
    assert_eq!(next(&mut all).await.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn what_is_revoked_is_taken_back_and_not_merely_late() {
    let served = served();
    let mut client = served.client().await;
    let revoked = |ids: &[&str], left: &[(&str, &str)]| WitOffers {
        taken_back: Arc::new(ids.iter().map(|text| id(text)).collect()),
        ..svids(left)
    };
    publish(&served, svids(&[(WEB, "web"), (ADMIN, "admin")]));
    let mut all = fetch(&mut client, "").await.unwrap();
    let mut one = fetch(&mut client, WEB).await.unwrap();
    next(&mut all).await.unwrap();
    next(&mut one).await.unwrap();
    publish(&served, revoked(&[WEB], &[(ADMIN, "admin")]));
    assert_eq!(tokens(&next(&mut all).await.unwrap()), [(ADMIN, "admin")]);
    assert_eq!(next(&mut one).await.unwrap_err().code(), Code::PermissionDenied);
    publish(&served, revoked(&[WEB, ADMIN], &[]));
    assert_eq!(next(&mut all).await.unwrap_err().code(), Code::PermissionDenied);
    // One that only has to come still may.
    publish(&served, revoked(&[WEB], &[]));
    assert_eq!(
        fetch(&mut client, "").await.unwrap_err().code(),
        Code::Unavailable
    );
}

#[tokio::test]
async fn spiffe_row_34_bundles_are_the_own_trust_domain_s_and_those_that_registrations_name() {
    let served = served();
    let (own, other, third) = (keys("td.test"), keys("other.test"), keys("third.test"));
    let mut federated = WitBundleSet::single(other.clone());
    federated.insert(third);
    let wits = |own: &WitBundle, revocations: Revocations| WitOffers {
        svids: BTreeMap::new(),
        taken_back: Arc::default(),
        bundles: Arc::new(WitBundleSet::single(own.clone()).with_revocations(Arc::new(revocations))),
        federated: Arc::new(federated.clone()),
    };
    publish(&served, wits(&own, Revocations::default()));
    let mut client = served.client().await;
    let mut stream: Streaming<WitBundlesResponse> = client
        .fetch_wit_bundles(WitBundlesRequest {})
        .await
        .unwrap()
        .into_inner();
    let message = next(&mut stream).await.unwrap();
    let expected = [
        ("spiffe://other.test".to_owned(), other.to_jwks()),
        ("spiffe://td.test".to_owned(), own.to_jwks()),
    ];
    assert_eq!(message.bundles, expected.clone().into());
    assert!(own.to_jwks().contains(r#""use":"wit-svid""#));
    // What is revoked is our own knowledge; another key is news.
    let mut revoked = Revocations::default();
    let now = UnixTime::now();
    let web = Subject::Id {
        id: id(WEB),
        until: now,
        at: now,
    };
    revoked.insert(web, "stolen".into());
    publish(&served, wits(&own, revoked));
    let rotated = keys("td.test");
    publish(&served, wits(&rotated, Revocations::default()));
    let message = next(&mut stream).await.unwrap();
    assert_eq!(message.bundles["spiffe://td.test"], rotated.to_jwks());
}
