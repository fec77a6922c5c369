//! Nodes themselves as ends of a pair, proven by their own SVIDs.

mod support;

use signet_abi::SecurityIdentity;
use signet_agent::pairs::ProveError;
use signet_pairs::Answers as _;
use signet_session::NodeNumber;
use signet_spiffe::SpiffeId;
use support::{Setup, World, eventually, key, node_name, workload};

const HOST: u32 = SecurityIdentity::HOST.0;
const REMOTE_NODE: u32 = SecurityIdentity::REMOTE_NODE.0;

fn node_id(world: &World, number: u32) -> SpiffeId {
    SpiffeId::node(&world.ca.domain, &node_name(number))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_proven_to_its_own_workloads_and_to_those_of_another() {
    let world = World::two(&[(1, 300), (2, 400)]).await;
    let own = world.node(1).prove(300, HOST, 1).await;
    assert_eq!(own.pair.failure, None);
    assert!(world.node(1).auth.get(&key(300, HOST, 1)).is_some());

    let other = world.node(1).prove(300, REMOTE_NODE, 2).await;
    assert_eq!(other.pair.failure, None);
    assert!(world.node(1).auth.get(&key(300, REMOTE_NODE, 2)).is_some());
    // The other side has proven the same pair, as its own.
    eventually("both sides know", || {
        world.node(2).auth.get(&key(HOST, 300, 1)).is_some()
    })
    .await;
    let view = world.node(1).view.current().expect("a view");
    let named = other.to_wire(Some(&view));
    assert_eq!(
        (named.local, named.remote),
        (workload(300).to_string(), node_id(&world, 2).to_string())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_no_node_and_no_workload_proves_nothing_and_is_told_why() {
    let world = World::two(&[(1, 300), (2, 400)]).await;
    for (number, words) in [
        (SecurityIdentity::WORLD.0, "outside the cluster"),
        (SecurityIdentity::UNMANAGED.0, "signet ca register"),
        (SecurityIdentity::INGRESS.0, "no ingress gateway"),
    ] {
        let report = world.node(1).prove(300, number, 2).await;
        let failure = report.pair.failure.expect("failed");
        assert!(failure.contains(words), "{number}: {failure}");
        assert!(world.node(1).auth.get(&key(300, number, 2)).is_none());
    }
    // Each name for a node has its place.
    for (number, node) in [(HOST, 2), (REMOTE_NODE, 1), (REMOTE_NODE, 9)] {
        let report = world.node(1).prove(300, number, node).await;
        assert!(report.pair.failure.is_some(), "{number} on {node}");
        assert!(world.node(1).auth.get(&key(300, number, node)).is_none());
    }
}

/// A stolen node identity speaks for that node alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_speaks_for_itself_and_for_no_other() {
    let three = vec![Setup::default(), Setup::default(), Setup::default()];
    let world = World::new(three, &[(1, 300), (2, 400)]).await;
    let knowledge = world.node(1).knowledge();
    let two = NodeNumber::new(2).expect("not zero");
    let ask = |initiator: &SpiffeId, responder: &SpiffeId| knowledge.answer(two, initiator, responder);
    assert!(ask(&node_id(&world, 2), &workload(300)).is_ok());
    assert!(ask(&workload(400), &node_id(&world, 1)).is_ok());
    let pretended = ask(&node_id(&world, 3), &workload(300));
    assert!(
        matches!(pretended, Err(ProveError::NotThere { .. })),
        "{pretended:?}"
    );
    let ours = ask(&node_id(&world, 1), &workload(300));
    assert!(matches!(ours, Err(ProveError::NotThere { .. })), "{ours:?}");
    let foreign = ask(&workload(400), &node_id(&world, 3));
    assert!(matches!(foreign, Err(ProveError::NoEndpoint)), "{foreign:?}");
    let nobody = SpiffeId::node(&world.ca.domain, &node_name(77));
    let unknown = ask(&nobody, &workload(300));
    assert!(
        matches!(unknown, Err(ProveError::UnknownIdentity(_))),
        "{unknown:?}"
    );
}
