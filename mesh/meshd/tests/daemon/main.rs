//! The daemon as it is run: in network namespaces of its own, with real interfaces and kernel maps, and an agent
//! that says what a test wants. Needs root.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agent;
mod node;

use std::net::IpAddr;

use signet_abi::{Address, MeshConfig, NodeId, SecurityIdentity, endpoint_flags};
use signet_maps::{ConfigMap, EndpointsMap, IpcacheMap, IpcachePrefix};
use signet_proto::mesh::v1::{
    ExplainRequest, FlowsRequest, ListEndpointsRequest, ListPoliciesRequest, StatusRequest,
    WatchEndpointsRequest,
};

use crate::agent::FakeAgent;
use crate::node::{Node, Pings, eventually};

const WEB: SecurityIdentity = SecurityIdentity(256);
const WORKLOAD: &str = "\
apiVersion: signet.io/v1alpha1
kind: Workload
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {node: n1, serviceAccount: web, addresses: [10.244.1.10, \"fd00:244:1::10\"], interface: sgv-web, netns: NETNS}
";
const CLOSED: &str = "\
apiVersion: signet.io/v1alpha1
kind: Policy
metadata: {name: web, namespace: shop}
spec: {endpointSelector: {matchLabels: {app: web}}, ingress: []}
";

fn address() -> Address {
    Address::from("10.244.1.10".parse::<IpAddr>().unwrap())
}

/// A node with its agent, whose workload is set up.
async fn ready(name: &str) -> (Node, FakeAgent) {
    let mut node = Node::new(name);
    node.write(
        "web.yaml",
        &WORKLOAD.replace("NETNS", &node.workload_netns().display().to_string()),
    );
    let agent = FakeAgent::start(&node.run_dir());
    node.start();
    endpoint_is(&node, "ready").await;
    (node, agent)
}

/// Waits until the workload has this state and its identity.
async fn endpoint_is(node: &Node, state: &str) {
    eventually(&format!("the endpoint is {state:?}"), async || {
        let mut client = node.client();
        let endpoints = client
            .list_endpoints(ListEndpointsRequest {})
            .await
            .ok()?
            .into_inner()
            .endpoints;
        let entry = endpoints.first()?;
        (entry.state == state && entry.endpoint.as_ref()?.identity == WEB.0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_is_set_up_in_the_kernel_and_told_to_the_agent() {
    let (node, _agent) = ready("setup").await;
    let endpoint = EndpointsMap::open(&node.pins())
        .unwrap()
        .get(&address())
        .unwrap()
        .unwrap();
    assert_eq!(
        (endpoint.identity, endpoint.ifindex),
        (WEB, node.ifindex("sgv-web"))
    );
    assert_eq!(endpoint.flags, 0, "no policy selects it");
    let ipcache = IpcacheMap::open(&node.pins()).unwrap();
    let place = |text: &str| {
        ipcache
            .get(&IpcachePrefix::host(text.parse().unwrap()))
            .unwrap()
            .unwrap()
    };
    assert_eq!(
        (place("10.244.1.10").identity, place("10.244.1.10").node),
        (WEB, NodeId(1))
    );
    assert_eq!(place("10.244.1.77").identity, SecurityIdentity::UNMANAGED);
    assert_eq!(place("192.0.2.2").identity, SecurityIdentity::REMOTE_NODE);
    assert_eq!(place("10.244.1.1").identity, SecurityIdentity::HOST);

    let mut stream = node
        .client()
        .watch_endpoints(WatchEndpointsRequest::default())
        .await
        .unwrap()
        .into_inner();
    let told = stream.message().await.unwrap().unwrap().endpoints;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].spiffe_id, "spiffe://cluster.local/ns/shop/sa/web");
    assert_eq!(
        (told[0].ifindex, told[0].netns_inode),
        (endpoint.ifindex, node.workload_inode())
    );

    let status = node.client().status(StatusRequest {}).await.unwrap().into_inner();
    assert_eq!(
        (status.node_id, status.agent_connected, status.adopted),
        (1, true, false)
    );
    assert_eq!(status.errors, [""; 0]);
    for program in [
        "from_container sgv-web",
        "to_container sgv-web",
        "from_netdev eth0",
        "to_netdev eth0",
    ] {
        assert!(
            status.attached.iter().any(|attached| attached == program),
            "{:?}",
            status.attached
        );
    }
    assert!(
        status
            .maps
            .iter()
            .any(|map| map.name == "ENDPOINTS" && map.entries == 2 && map.capacity > 2)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_daemon_leaves_everything_in_force_and_the_next_one_takes_it_over() {
    let (mut node, agent) = ready("adopt").await;
    let before = ConfigMap::open(&node.pins()).unwrap().get().unwrap();
    let pings = Pings::start(&node);
    node.kill();
    agent.stop().await;
    assert!(node.workload_is_reachable(), "the programs go on judging");

    // Without an agent nothing is known of identities: what was written stays as it is.
    node.start();
    let status = eventually("meshd answers", async || {
        node.client()
            .status(StatusRequest {})
            .await
            .ok()
            .map(tonic::Response::into_inner)
    })
    .await;
    assert!(status.adopted && !status.agent_connected);
    let endpoint = || {
        EndpointsMap::open(&node.pins())
            .unwrap()
            .get(&address())
            .unwrap()
            .unwrap()
    };
    assert_eq!(endpoint().identity, WEB);
    // It may have been killed before the end of a change: without waiting for the agent, connections are judged again.
    let again = MeshConfig {
        policy_epoch: before.policy_epoch + 1,
        ..before
    };
    eventually("the policy epoch goes on", async || {
        let now = ConfigMap::open(&node.pins()).unwrap().get().unwrap();
        (now == again).then_some(())
    })
    .await;

    let _agent = FakeAgent::start(&node.run_dir());
    endpoint_is(&node, "ready").await;
    assert_eq!(endpoint().identity, WEB);
    let after = ConfigMap::open(&node.pins()).unwrap().get().unwrap();
    assert_eq!(after, again, "nothing had changed, so nothing more was written");
    let (sent, answered) = pings.stop();
    assert!(
        sent > 1 && answered + 1 >= sent,
        "{answered} of {sent} answered: all but the one in flight must be"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interface_that_is_made_again_is_attached_to_again() {
    let (node, _agent) = ready("again").await;
    let before = node.ifindex("sgv-web");
    node.remove_workload_interface();
    eventually("the endpoint is gone", async || {
        EndpointsMap::open(&node.pins())
            .unwrap()
            .get(&address())
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;
    let endpoints = node
        .client()
        .list_endpoints(ListEndpointsRequest {})
        .await
        .unwrap()
        .into_inner()
        .endpoints;
    assert_eq!(endpoints[0].state, "waiting for interface sgv-web");
    node.add_workload_interface();
    endpoint_is(&node, "ready").await;
    let endpoint = EndpointsMap::open(&node.pins())
        .unwrap()
        .get(&address())
        .unwrap()
        .unwrap();
    assert_eq!(endpoint.ifindex, node.ifindex("sgv-web"));
    assert_ne!(endpoint.ifindex, before);
    assert!(node.workload_is_reachable());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_takes_effect_and_the_flow_log_and_explain_agree_with_the_kernel() {
    let (node, _agent) = ready("policy").await;
    assert!(node.workload_is_reachable());
    node.write("policy.yaml", CLOSED);
    eventually("ingress is enforced", async || {
        let endpoint = EndpointsMap::open(&node.pins())
            .unwrap()
            .get(&address())
            .unwrap()?;
        (endpoint.flags & endpoint_flags::INGRESS_ENFORCED != 0).then_some(())
    })
    .await;
    assert!(!node.workload_is_reachable());

    let flow = eventually("the flow log has the drop", async || {
        let request = FlowsRequest {
            last: 100,
            follow: false,
            dropped: true,
        };
        let mut stream = node.client().flows(request).await.ok()?.into_inner();
        while let Ok(Some(flow)) = stream.message().await {
            if flow.destination == "10.244.1.10" && flow.protocol == "icmp" {
                return Some(flow);
            }
        }
        None
    })
    .await;
    assert_eq!(
        (flow.verdict.as_str(), flow.reason, flow.hook.as_str()),
        ("dropped", 133, "to-container")
    );
    assert_eq!(flow.source_name, "host");
    assert_eq!(flow.destination_name, "spiffe://cluster.local/ns/shop/sa/web");

    let request = ExplainRequest {
        source: flow.source.clone(),
        destination: "shop/web".into(),
        port: 0,
        protocol: "icmp".into(),
    };
    let explained = node.client().explain(request).await.unwrap().into_inner();
    assert_eq!((explained.verdict.as_str(), explained.reason), ("refused", 133));
    assert!(
        explained.next_step.contains("`entity: host`"),
        "{}",
        explained.next_step
    );

    node.remove("policy.yaml");
    eventually("it is open again", async || {
        node.workload_is_reachable().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flows_are_followed_as_they_happen() {
    let (node, _agent) = ready("follow").await;
    let request = FlowsRequest {
        last: 0,
        follow: true,
        dropped: false,
    };
    let mut stream = node.client().flows(request).await.unwrap().into_inner();
    assert!(node.workload_is_reachable());
    let flow = eventually("the ping is seen", async || {
        let flow = stream.message().await.unwrap().unwrap();
        (flow.destination == "10.244.1.10").then_some(flow)
    })
    .await;
    assert_eq!(
        (flow.verdict.as_str(), flow.reason, flow.node.as_str()),
        ("allowed", 0, "n1")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_it_hears_each_second_that_nothing_has_changed_and_nobody_else() {
    let (node, _agent) = ready("beat").await;
    let request = WatchEndpointsRequest { heartbeat: true };
    let mut stream = node.client().watch_endpoints(request).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    assert_eq!((first.endpoints.len(), first.unchanged), (1, false));
    let mut last = first.heartbeat;
    assert!(last > 0, "there are some to come");
    for _ in 0..2 {
        let beat = stream.message().await.unwrap().unwrap();
        assert!(beat.unchanged && beat.endpoints.is_empty(), "{beat:?}");
        assert!(beat.heartbeat > last, "{beat:?} after {last}");
        last = beat.heartbeat;
    }
    let request = WatchEndpointsRequest::default();
    let mut plain = node.client().watch_endpoints(request).await.unwrap().into_inner();
    assert_eq!(plain.message().await.unwrap().unwrap().heartbeat, 0);
    let more = tokio::time::timeout(std::time::Duration::from_millis(2500), plain.message());
    assert!(
        more.await.is_err(),
        "an older agent would take it for no endpoints"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_deleted_is_told_no_more_and_let_go() {
    let (node, _agent) = ready("netns").await;
    let mut client = node.client();
    let request = WatchEndpointsRequest::default();
    let mut stream = client.watch_endpoints(request).await.unwrap().into_inner();
    let told = stream.message().await.unwrap().unwrap().endpoints;
    assert_eq!(told[0].netns_inode, node.workload_inode());
    node.remove_workload_netns();
    eventually("nothing holds it, so its interface goes with it", async || {
        let endpoints = stream.message().await.unwrap().unwrap().endpoints;
        endpoints.is_empty().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_never_was_good_lets_nothing_through_to_the_workloads_it_names() {
    let mut node = Node::new("never");
    node.write(
        "web.yaml",
        &WORKLOAD.replace("NETNS", &node.workload_netns().display().to_string()),
    );
    node.write("bad.yaml", &CLOSED.replace("ingress", "ingres"));
    let _agent = FakeAgent::start(&node.run_dir());
    assert!(node.workload_is_reachable(), "nothing is attached yet");
    node.start();
    eventually("nothing gets through", async || {
        (!node.workload_is_reachable()).then_some(())
    })
    .await;
    node.remove("bad.yaml");
    endpoint_is(&node, "ready").await;
    assert!(node.workload_is_reachable(), "the configuration is good");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_changes_nothing_in_the_kernel_and_is_shown() {
    let (node, _agent) = ready("bad").await;
    let before = ConfigMap::open(&node.pins()).unwrap().get().unwrap();
    node.write("bad.yaml", &CLOSED.replace("ingress", "ingres"));
    let errors = eventually("the error is shown", async || {
        let listed = node
            .client()
            .list_policies(ListPoliciesRequest {})
            .await
            .ok()?
            .into_inner();
        (!listed.errors.is_empty()).then_some(listed.errors)
    })
    .await;
    assert!(
        errors[0].contains("bad.yaml:4:") && errors[0].contains("spec.ingres: unknown field `ingres`"),
        "{errors:?}"
    );
    assert_eq!(ConfigMap::open(&node.pins()).unwrap().get().unwrap(), before);
    node.remove("bad.yaml");
    eventually("the error goes with the file", async || {
        let listed = node
            .client()
            .list_policies(ListPoliciesRequest {})
            .await
            .ok()?
            .into_inner();
        listed.errors.is_empty().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_is_taken_away_is_taken_out_of_the_kernel() {
    let (node, agent) = ready("revoke").await;
    agent.without_identity();
    eventually("the endpoint is unmanaged", async || {
        let endpoint = EndpointsMap::open(&node.pins())
            .unwrap()
            .get(&address())
            .unwrap()?;
        (endpoint.identity == SecurityIdentity::UNMANAGED).then_some(())
    })
    .await;
    let place = IpcacheMap::open(&node.pins())
        .unwrap()
        .get(&IpcachePrefix::host("10.244.1.10".parse().unwrap()));
    assert_eq!(place.unwrap().unwrap().identity, SecurityIdentity::UNMANAGED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_node_without_an_agent_has_no_number_and_no_identities() {
    let mut node = Node::new("alone");
    node.write("web.yaml", &WORKLOAD.replace("NETNS", "/nowhere"));
    node.start();
    let endpoint = eventually("the endpoint is written", async || {
        EndpointsMap::open(&node.pins()).ok()?.get(&address()).ok()?
    })
    .await;
    assert_eq!(endpoint.identity, SecurityIdentity::UNMANAGED);
    assert_eq!(
        ConfigMap::open(&node.pins()).unwrap().get().unwrap().node,
        NodeId::NONE
    );
    let mut stream = node
        .client()
        .watch_endpoints(WatchEndpointsRequest::default())
        .await
        .unwrap()
        .into_inner();
    let _agent = FakeAgent::start(&node.run_dir());
    // The first that is told is complete: an agent must not take the workload for gone in between.
    let told = stream.message().await.unwrap().unwrap().endpoints;
    assert_eq!((told.len(), told[0].identity), (1, WEB.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn cleanup_refuses_while_the_daemon_runs_and_then_removes_everything() {
    let (mut node, _agent) = ready("cleanup").await;
    let refused = node.cleanup();
    assert!(!refused.status.success());
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("signet-meshd is running"),
        "{refused:?}"
    );
    node.terminate();
    assert!(
        EndpointsMap::open(&node.pins()).is_ok(),
        "stopping takes nothing away"
    );
    assert!(node.cleanup().status.success());
    assert!(!node.pins().exists());
    assert!(node.workload_is_reachable());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_on_the_same_socket_stops_before_it_touches_the_kernel() {
    let (node, _agent) = ready("twice").await;
    let second = node.run_to_end();
    assert!(!second.status.success());
    assert!(
        String::from_utf8_lossy(&second.stderr).contains("another process serves this socket"),
        "{second:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_device_is_attached_to_when_it_comes_and_forgotten_when_it_goes() {
    let (node, _agent) = ready("tunnel").await;
    let attached = async |wanted: bool| {
        let status = node.client().status(StatusRequest {}).await.ok()?.into_inner();
        (status
            .attached
            .iter()
            .any(|attached| attached == "from_tunnel sgwg0")
            == wanted)
            .then_some(())
    };
    node.add_tunnel();
    eventually("the tunnel is attached to", async || attached(true).await).await;
    node.remove_tunnel();
    eventually("the tunnel is forgotten", async || attached(false).await).await;
}
