//! Keys for WIT-SVIDs go up and down between the CAs, as those for JWT-SVIDs do.

use signet_ca::{Config, Storage};
use signet_proto::ca::v1::DeregisterRequest;

use super::stage::{Known, Stage, Upper, until};
use crate::wit::{issue, verify};

fn on(config: &mut Config) {
    config.rotation.wit_svids = true;
}

fn count(known: &Known) -> usize {
    let text = String::from_utf8_lossy(&known.bundle.wit_keys);
    text.matches("\"kid\"").count()
}

#[tokio::test]
async fn what_either_ca_signs_is_checked_with_the_keys_of_both_until_the_permission_ends() {
    let upper = Upper::start(Storage::Memory, on).await;
    let lower = upper.lower_with(Storage::Memory, on).await.unwrap();
    let stage = Stage::with(upper, lower).await;
    let mut over = stage.upper.node.follow(0).await;
    let mut under = stage.lower_node.follow(0).await;
    let (mut above, mut below) = (Known::default(), Known::default());
    until(&mut over, &mut above, |known| count(known) == 2).await;
    until(&mut under, &mut below, |known| count(known) == 2).await;
    let low = issue(&stage.lower, &stage.lower_node, &stage.low).await.unwrap();
    let high = issue(&stage.upper.ca, &stage.upper.node, &stage.high)
        .await
        .unwrap();
    for bundle in [&above.bundle, &below.bundle] {
        for svid in [&low, &high] {
            let _ = verify(svid, bundle).unwrap();
        }
    }
    // The next one is there before it signs, and a key for JWT-SVIDs is none of these.
    stage.lower.prepare("wit").await.unwrap();
    stage.lower.prepare("jwt").await.unwrap();
    until(&mut over, &mut above, |known| {
        count(known) == 3 && known.keys().keys().len() == 3
    })
    .await;
    let id = stage.upper.registration.clone();
    let end = stage
        .upper
        .ca
        .operator
        .clone()
        .deregister(DeregisterRequest { id })
        .await;
    end.unwrap();
    until(&mut over, &mut above, |known| {
        count(known) == 1 && known.keys().keys().len() == 1
    })
    .await;
    let _ = verify(&low, &above.bundle).unwrap_err();
    let _ = verify(&high, &above.bundle).unwrap();
}
