//! A number that is another node's now: of a CA that begins anew, say.

mod support;

use signet_session::NodeNumber;
use tokio::time::{sleep, timeout};

use support::{PATIENCE, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_when_its_number_is_another_node_s() {
    let world = World::two(&[(1, 300), (2, 400)]).await;
    let node = world.node(1);
    let view = node.view.current().expect("a view");
    let two = NodeNumber::new(2).expect("a number");
    let peer = view.node_by_number(two).expect("there");
    let session = node.sessions.session(peer).await.expect("opens");
    assert_eq!((session.node.name.as_str(), node.sessions.count()), ("n2", 1));

    let mut cluster = world.cluster.clone();
    cluster.revision += 1;
    let mut update = cluster.snapshot(&world.ca, 1);
    if let Some(other) = update.nodes.iter_mut().find(|node| node.id == 2) {
        "n9".clone_into(&mut other.name);
    }
    node.view.apply(update).expect("applies");
    let ended = timeout(PATIENCE, async {
        while node.sessions.count() > 0 {
            sleep(std::time::Duration::from_millis(10)).await;
        }
    });
    ended.await.expect("the session with n2 counts for n9");
}
