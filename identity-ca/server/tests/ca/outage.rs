//! How long the CA may be gone: what it says of that, and the target that moves it.

use std::time::Duration;

use signet_ca::Storage;
use signet_proto::ca::v1::lapse::Kind;
use signet_proto::ca::v1::{
    IssueX509SvidRequest, OutageBudget, SetEncryptionRequest, StatusRequest, SyncRequest,
};
use signet_proto::view::v1::EncryptionMode;

use crate::running::{Follower, Running, request};

const TARGET: Duration = Duration::from_mins(45);

async fn with_target(target: Duration) -> anyhow::Result<Running> {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    Running::configured(Storage::Directory(data), directory, |config| {
        config.availability_target = target;
    })
    .await
}

async fn budget(ca: &Running) -> OutageBudget {
    let status = ca.operator.clone().status(StatusRequest {}).await.unwrap();
    status.into_inner().outage.unwrap()
}

#[tokio::test]
async fn the_budget_is_that_of_what_is_issued_and_shrinks_as_time_goes_by() {
    let ca = with_target(Duration::ZERO).await.unwrap();
    assert!(budget(&ca).await.classes.is_empty(), "nothing is issued yet");
    let node = ca.node("n1", &[]).await;
    let web = ca
        .register("spiffe://td/ns/shop/sa/web", "n1", "unix:uid:1")
        .await
        .unwrap();
    let call = IssueX509SvidRequest {
        registration: web.id,
        csr: request().1,
    };
    let svid = node
        .client
        .clone()
        .issue_x509_svid(call)
        .await
        .unwrap()
        .into_inner();
    let before = budget(&ca).await;
    let [workloads, nodes] = &before.classes[..] else {
        panic!("{before:?}");
    };
    assert_eq!(
        (workloads.kind(), workloads.first, workloads.spiffe_id.as_str()),
        (Kind::Workloads, svid.not_after, "spiffe://td/ns/shop/sa/web")
    );
    assert_eq!((nodes.kind(), nodes.live, workloads.live), (Kind::Nodes, 1, 1));
    assert_eq!(nodes.first, node.answer.svid.as_ref().unwrap().not_after);
    assert!(!workloads.overdue && !nodes.overdue);
    // Half an hour later nobody has renewed it although agents would have.
    ca.put_clock_ahead(Duration::from_mins(40));
    let after = budget(&ca).await;
    assert_eq!(after.classes[0].first, svid.not_after);
    assert!(after.classes[0].overdue && !after.classes[1].overdue);
    ca.put_clock_ahead(Duration::from_mins(21));
    let lapsed = budget(&ca).await;
    assert_eq!(lapsed.classes.len(), 1, "what has lapsed is not live");
}

#[tokio::test]
async fn a_target_reaches_every_agent_with_the_view_and_stands_in_the_status() {
    let ca = with_target(TARGET).await.unwrap();
    let node = ca.node("n1", &[]).await;
    let call = SyncRequest {
        session_port: 4250,
        addresses: vec!["192.0.2.1".to_owned()],
        ..SyncRequest::default()
    };
    let stream = node.client.clone().sync(call).await.unwrap().into_inner();
    let told = Follower(stream).next().await.cluster.unwrap();
    assert_eq!(u64::from(told.availability_target), TARGET.as_secs());
    // Another setting of the cluster does not take it back.
    let wireguard = SetEncryptionRequest {
        mode: EncryptionMode::Wireguard.into(),
    };
    let cluster = ca.operator.clone().set_encryption(wireguard).await.unwrap();
    assert_eq!(cluster.into_inner().availability_target, told.availability_target);
    let budget = budget(&ca).await;
    assert_eq!(budget.target, told.availability_target);
    assert!(budget.classes.iter().all(|class| class.promised >= budget.target));
    // A CA that is started without one takes it back, and whoever followed hears of that.
    let seen = node.follow(0).await.next().await;
    let ca = Running::on_disk(ca.stop().await).await;
    let node = crate::running::TestNode {
        client: ca.client(Some(&node.identity)).await.unwrap(),
        ..node
    };
    let told = node.follow(&seen).await.next().await;
    assert!(!told.snapshot);
    assert_eq!(told.cluster.unwrap().availability_target, 0);
}

#[tokio::test]
async fn a_target_that_lives_have_no_room_for_is_refused_before_anything_is_made() {
    for target in [
        Duration::from_mins(55),
        Duration::from_hours(1),
        Duration::from_hours(2),
    ] {
        let refused = with_target(target).await.map(drop).unwrap_err().to_string();
        assert!(
            refused.contains("--availability-target") && refused.contains("--svid-ttl"),
            "{refused}"
        );
    }
}
