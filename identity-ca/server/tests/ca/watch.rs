//! What happens, as it happens.

use std::collections::BTreeSet;

use signet_proto::ca::v1::watch_service_client::WatchServiceClient;
use signet_proto::ca::v1::{SetEncryptionRequest, WatchEvent, WatchRequest};
use signet_proto::view::v1::EncryptionMode;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Code, Streaming};

use crate::running::Running;

/// For what should be there at once, on a machine that is busy.
const SOON: std::time::Duration = std::time::Duration::from_secs(30);

fn client(ca: &Running) -> WatchServiceClient<Channel> {
    let socket = ca.directory.path().join("ca.sock");
    WatchServiceClient::new(signet_uds::connect(&socket).unwrap())
}

async fn watch(ca: &Running, kinds: &[&str]) -> Streaming<WatchEvent> {
    let kinds = kinds.iter().map(ToString::to_string).collect();
    client(ca)
        .watch(WatchRequest { kinds })
        .await
        .unwrap()
        .into_inner()
}

async fn next(events: &mut Streaming<WatchEvent>) -> WatchEvent {
    let told = timeout(SOON, events.message()).await;
    told.unwrap().unwrap().unwrap()
}

#[tokio::test]
async fn each_change_is_told_with_who_did_it_in_order_and_no_issuance_is() {
    let ca = Running::in_memory().await;
    let mut all = watch(&ca, &[]).await;
    let mut some = watch(&ca, &["authority", "revocation"]).await;
    let mut node = ca.node("n1", &[]).await;
    let web = ca
        .register("spiffe://td/web", "n1", "unix:uid:1")
        .await
        .unwrap()
        .id;
    let call = signet_proto::ca::v1::IssueX509SvidRequest {
        registration: web.clone(),
        csr: crate::running::request().1,
    };
    node.client.issue_x509_svid(call).await.unwrap();
    ca.prepare("jwt").await.unwrap();
    let mut seen: Vec<(String, String, String, String, u64)> = Vec::new();
    while seen.last().is_none_or(|(kind, ..)| kind != "authority") {
        let event = next(&mut all).await;
        seen.push((
            event.kind,
            event.subject,
            event.what,
            event.caller,
            event.position,
        ));
    }
    assert!(seen.is_sorted_by_key(|(.., position)| *position));
    let has = |kind: &str, subject: &str| seen.iter().any(|one| one.0 == kind && one.1.starts_with(subject));
    assert!(
        has("node", "n1") && has("registration", &web) && has("join-token", ""),
        "{seen:?}"
    );
    assert!(
        seen.iter()
            .any(|one| one.0 == "registration" && one.3.starts_with("uid")),
        "{seen:?}"
    );
    // Of the other one this alone.
    let only = next(&mut some).await;
    assert_eq!((only.kind.as_str(), only.what.as_str()), ("authority", "made"));
    let mode = EncryptionMode::Wireguard.into();
    ca.operator
        .clone()
        .set_encryption(SetEncryptionRequest { mode })
        .await
        .unwrap();
    assert_eq!(next(&mut all).await.kind, "setting");
}

#[tokio::test]
async fn who_watches_is_bounded_and_asks_for_what_there_is() {
    let ca = Running::in_memory().await;
    let unknown = WatchRequest {
        kinds: vec!["wishes".to_owned()],
    };
    let refused = client(&ca).watch(unknown).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let many = WatchRequest {
        kinds: (0..100_000).map(|number| number.to_string()).collect(),
    };
    client(&ca).watch(many).await.unwrap_err();
    let mut open = Vec::new();
    let mut codes = BTreeSet::new();
    for _ in 0..70 {
        match client(&ca).watch(WatchRequest::default()).await {
            Ok(events) => open.push(events),
            Err(status) => drop(codes.insert(format!("{:?}", status.code()))),
        }
    }
    assert_eq!(open.len(), 64);
    assert_eq!(codes, BTreeSet::from(["ResourceExhausted".to_owned()]));
    // One that goes away makes room, once that is noticed.
    open.clear();
    ca.register("spiffe://td/web", "n9", "unix:uid:1")
        .await
        .unwrap_err();
    let mut left = 500;
    while client(&ca).watch(WatchRequest::default()).await.is_err() {
        left -= 1;
        assert!(left > 0, "no room is made");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
