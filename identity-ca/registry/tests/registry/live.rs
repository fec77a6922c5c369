//! What would lapse if nothing were issued any more.

use signet_registry::{Issued, LiveSvids, NewRevocation, NodeFate, Target};
use signet_spiffe::{SerialNumber, node_serial};

use crate::desk::{Desk, NOW, at, id, node, now};

const HOUR: u64 = 3600;

fn issued(number: u32, name: &str, on: &str, not_after: u64) -> Issued {
    Issued {
        serial: SerialNumber::new(&node_serial(now(), number, 1, [7; 9])).unwrap(),
        spiffe_id: id(name),
        node: node(on),
        not_before: at(NOW - 10),
        not_after: at(not_after),
    }
}

fn live(on: &str, ttl: u32, count: u32, first: u64, name: &str) -> LiveSvids {
    LiveSvids {
        node: node(on),
        ttl,
        count,
        first: at(first),
        spiffe_id: id(name),
    }
}

#[tokio::test]
async fn of_each_node_and_life_the_svid_that_lapses_first_is_known_and_all_are_counted() {
    let desk = Desk::with_two_nodes().await;
    for (number, (name, on)) in [("a", "n1"), ("b", "n1"), ("a", "n2"), ("silent", "n1")]
        .into_iter()
        .enumerate()
    {
        let number = u8::try_from(number + 1).unwrap();
        desk.register(number, name, on).await.unwrap();
    }
    let all = [
        // Renewed: the later one counts.
        issued(1, "a", "n1", NOW + 60),
        issued(2, "a", "n1", NOW + 2 * HOUR),
        issued(3, "b", "n1", NOW + HOUR),
        issued(4, "a", "n2", NOW + 3 * HOUR),
        // Ended; not registered there; never registered.
        issued(5, "silent", "n1", NOW),
        issued(6, "b", "n2", NOW + 60),
        issued(7, "gone", "n1", NOW + 60),
    ];
    desk.registry.record_issued(&all, now()).await.unwrap();
    let found = desk.registry.live(now()).await.unwrap();
    assert_eq!(
        found.workloads,
        [
            live("n1", 0, 2, NOW + HOUR, "b"),
            live("n2", 0, 1, NOW + 3 * HOUR, "a"),
        ]
    );
    assert!(found.nodes.is_empty(), "no node has an SVID of its own yet");
}

#[tokio::test]
async fn what_is_revoked_is_not_live() {
    let desk = Desk::with_two_nodes().await;
    for (number, name) in [(1, "by-id"), (2, "by-serial"), (3, "stays")] {
        desk.register(number, name, "n1").await.unwrap();
    }
    let all = [
        issued(1, "by-id", "n1", NOW + 60),
        issued(2, "by-serial", "n1", NOW + 60),
        issued(3, "stays", "n1", NOW + HOUR),
    ];
    desk.registry.record_issued(&all, now()).await.unwrap();
    for target in [Target::Id(id("by-id")), Target::Serial(all[1].serial.clone())] {
        let order = NewRevocation {
            target,
            cut: now(),
            until: at(NOW + 24 * HOUR),
            reason: "leaked".to_owned(),
            asker: "uid:0".to_owned(),
            closed: false,
        };
        let _ = desk
            .registry
            .revoke(&order, NodeFate::Stays, now(), false)
            .await
            .unwrap();
    }
    let found = desk.registry.live(now()).await.unwrap().workloads;
    assert_eq!(found, [live("n1", 0, 1, NOW + HOUR, "stays")]);
}

#[tokio::test]
async fn nodes_count_while_their_own_svids_do() {
    let desk = Desk::with_two_nodes().await;
    for (name, end) in [("n1", NOW + HOUR), ("n2", NOW + 2 * HOUR)] {
        let _ = desk
            .registry
            .record_first_svid(&node(name), &[1; 20], at(end))
            .await
            .unwrap();
    }
    let nodes = |found: signet_registry::Live| found.nodes;
    assert_eq!(
        nodes(desk.registry.live(now()).await.unwrap()),
        [(node("n1"), at(NOW + HOUR)), (node("n2"), at(NOW + 2 * HOUR))]
    );
    assert_eq!(
        nodes(desk.registry.live(at(NOW + HOUR)).await.unwrap()),
        [(node("n2"), at(NOW + 2 * HOUR))]
    );
}
