use signet_registry::{Standing, StorageError};

use crate::desk::{Desk, NOW, at, node};

const FIRST: &[u8] = &[1];
/// As DER has a number whose first bit is set.
const SECOND: &[u8] = &[0, 0x82];
const THIRD: &[u8] = &[3];

async fn recognize(desk: &Desk, serial: &[u8]) -> Standing {
    desk.registry.recognize(&node("n1"), serial).await.unwrap()
}

async fn begin(desk: &Desk, serial: &[u8]) -> Standing {
    desk.registry
        .record_first_svid(&node("n1"), serial, at(NOW + 60))
        .await
        .unwrap()
}

async fn renew(desk: &Desk, of: &[u8], serial: &[u8]) -> Result<Standing, StorageError> {
    desk.registry
        .record_successor(&node("n1"), of, serial, at(NOW + 60))
        .await
}

/// With a node n1 whose first SVID is in use.
async fn desk() -> Desk {
    let desk = Desk::with_two_nodes().await;
    assert_eq!(begin(&desk, FIRST).await, Standing::Good);
    desk
}

#[tokio::test]
async fn a_new_token_ends_what_a_node_had_and_what_it_was_about_to_have() {
    let desk = desk().await;
    assert_eq!(recognize(&desk, FIRST).await, Standing::Good);
    assert_eq!(renew(&desk, FIRST, SECOND).await.unwrap(), Standing::Good);
    desk.attest(3, "n1", &[]).await.unwrap();
    for old in [FIRST, SECOND, &[]] {
        assert_eq!(recognize(&desk, old).await, Standing::Replaced);
        assert_eq!(renew(&desk, old, THIRD).await.unwrap(), Standing::Replaced);
    }
    assert_eq!(begin(&desk, THIRD).await, Standing::Good);
    assert_eq!(recognize(&desk, THIRD).await, Standing::Good);
    assert_eq!(recognize(&desk, FIRST).await, Standing::Replaced);
}

#[tokio::test]
async fn a_predecessor_is_good_until_its_successor_was_used() {
    let desk = desk().await;
    assert_eq!(renew(&desk, FIRST, SECOND).await.unwrap(), Standing::Good);
    // The answer was lost.
    assert_eq!(recognize(&desk, FIRST).await, Standing::Good);
    assert_eq!(renew(&desk, FIRST, THIRD).await.unwrap(), Standing::Good);
    assert_eq!(
        recognize(&desk, SECOND).await,
        Standing::Replaced,
        "two successors of one SVID"
    );
    let looked = desk.registry.stands(&node("n1"), THIRD).await.unwrap();
    assert_eq!(
        (looked, recognize(&desk, FIRST).await),
        (Standing::Good, Standing::Good)
    );
    assert_eq!(recognize(&desk, THIRD).await, Standing::Good);
    assert_eq!(recognize(&desk, FIRST).await, Standing::Replaced);
    assert_eq!(
        desk.registry.stands(&node("n1"), FIRST).await.unwrap(),
        Standing::Replaced
    );
    assert_eq!(renew(&desk, FIRST, SECOND).await.unwrap(), Standing::Replaced);
    assert_eq!(recognize(&desk, THIRD).await, Standing::Good);
}

#[tokio::test]
async fn a_node_that_is_not_known_has_no_svid_that_counts() {
    let desk = Desk::new().await;
    assert_eq!(recognize(&desk, FIRST).await, Standing::Replaced);
    assert_eq!(recognize(&desk, &[]).await, Standing::Replaced);
}

#[tokio::test]
async fn a_new_svid_of_a_node_is_kept_but_no_news() {
    let desk = desk().await;
    let before = *desk.registry.watch().borrow();
    assert_eq!(renew(&desk, FIRST, SECOND).await.unwrap(), Standing::Good);
    assert_eq!(recognize(&desk, SECOND).await, Standing::Good);
    assert_eq!(*desk.registry.watch().borrow(), before);
    let kept = desk.registry.node(&node("n1")).await.unwrap().unwrap();
    assert_eq!(kept.svid_not_after, at(NOW + 60));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_nodes_that_ask_at_the_same_time_each_is_judged_by_its_own() {
    let desk = Desk::new().await;
    let nodes: Vec<_> = (1..=70_u8).map(|number| (number, format!("n{number}"))).collect();
    for (number, name) in &nodes {
        desk.attest(*number, name, &[]).await.unwrap();
        let first = desk
            .registry
            .record_first_svid(&node(name), &[*number], at(NOW + 60))
            .await;
        assert_eq!(first.unwrap(), Standing::Good);
    }
    let asked = |name: String, serial: u8| {
        let registry = desk.registry.clone();
        tokio::spawn(async move { registry.recognize(&node(&name), &[serial]).await.unwrap() })
    };
    let mut asking = Vec::new();
    for (number, name) in nodes {
        asking.push((Standing::Good, asked(name.clone(), number)));
        asking.push((Standing::Replaced, asked(name, number + 1)));
        asking.push((Standing::Replaced, asked(format!("unknown{number}"), number)));
    }
    for (wanted, standing) in asking {
        assert_eq!(standing.await.unwrap(), wanted);
    }
}
