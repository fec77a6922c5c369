//! An operator drops proofs, and watches what happens.

mod support;

use signet_abi::SecurityIdentity;
use signet_agent::pairs::Which;
use signet_agent::service::Service;
use signet_proto::agent::v1::agent_service_server::AgentService as _;
use signet_proto::agent::v1::{WatchRequest, WatchViewRequest};
use support::{World, eventually, key};
use tonic::{Code, Request};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_flushed_is_gone_from_the_kernel_and_proven_anew_when_a_packet_asks() {
    let world = World::two(&[(1, 300), (1, 301), (2, 400)]).await;
    let one = world.node(1);
    one.prove(300, 400, 2).await;
    one.prove(301, 400, 2).await;
    let pair = Which::Between(SecurityIdentity(400), SecurityIdentity(300));
    assert_eq!(one.pairs.flush(pair).await, Some(1));
    assert_eq!(one.auth.get(&key(300, 400, 2)), None);
    assert!(
        one.auth.get(&key(301, 400, 2)).is_some(),
        "the other pair's stays"
    );
    assert_eq!(one.pairs.flush(pair).await, Some(0), "there is none any more");
    one.signal(300, 400, 2);
    eventually("proven anew", || {
        one.auth
            .get(&key(300, 400, 2))
            .is_some_and(|proof| proof.epoch == 2)
    })
    .await;
    assert_eq!(one.pairs.flush(Which::Of(SecurityIdentity(400))).await, Some(2));
    assert_eq!(one.pairs.flush(Which::All).await, Some(0));
    assert_eq!(one.auth.get(&key(301, 400, 2)), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_many_operators_watch_the_node_s_daemons_are_told_the_view() {
    let world = World::two(&[(1, 300), (2, 400)]).await;
    let one = world.node(1);
    let service = Service::new(
        "n1".to_owned(),
        one.view.clone(),
        one.knowledge().svids,
        one.pairs.clone(),
        one.sessions.clone(),
        one.status.clone(),
    );
    let mut operators = Vec::new();
    let refusal = loop {
        match service.watch(Request::new(WatchRequest::default())).await {
            Ok(stream) => operators.push(stream),
            Err(refusal) => break refusal,
        }
    };
    assert_eq!(refusal.code(), Code::ResourceExhausted);
    let view = service.watch_view(Request::new(WatchViewRequest {})).await;
    assert!(view.is_ok());
    operators.pop();
    let watch = service.watch(Request::new(WatchRequest::default())).await;
    assert!(watch.is_ok(), "one has gone");
}
