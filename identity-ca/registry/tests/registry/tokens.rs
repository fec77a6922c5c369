use signet_registry::{ConsumeError, CreateTokenError, NodeNumber, TokenId};

use crate::desk::{Desk, NOW, at, cidrs, node, now, shown, token};

#[tokio::test]
async fn a_token_admits_its_node_once() {
    let desk = Desk::new().await;
    desk.registry
        .create_token(&token(1, "n1", &["10.244.1.0/24"]), now())
        .await
        .unwrap();
    let admitted = desk.registry.consume_token(&shown(1), now()).await.unwrap();
    assert_eq!((admitted.name, admitted.number), (node("n1"), NodeNumber(1)));
    assert_eq!(admitted.pod_cidrs, cidrs(&["10.244.1.0/24"]));
    let again = desk.registry.consume_token(&shown(1), now()).await;
    assert!(matches!(again, Err(ConsumeError::Used { node: name }) if name == node("n1")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_show_a_token_at_once_one_gets_in() {
    let Desk { registry } = Desk::new().await;
    registry.create_token(&token(1, "n1", &[]), now()).await.unwrap();
    let attempts: Vec<_> = (0..16)
        .map(|_| {
            let registry = registry.clone();
            tokio::spawn(async move { registry.consume_token(&shown(1), now()).await })
        })
        .collect();
    let mut admitted = 0;
    for attempt in attempts {
        match attempt.await.unwrap() {
            Ok(_) => admitted += 1,
            Err(error) => assert!(matches!(error, ConsumeError::Used { .. }), "{error}"),
        }
    }
    assert_eq!(admitted, 1);
}

#[tokio::test]
async fn each_kind_of_bad_token_has_its_own_reason_and_admits_nobody() {
    let desk = Desk::new().await;
    desk.registry
        .create_token(&token(1, "n1", &[]), now())
        .await
        .unwrap();
    let consume = async |token, at| desk.registry.consume_token(&token, at).await.unwrap_err();
    assert!(matches!(consume(shown(2), now()).await, ConsumeError::Unknown));
    let mut wrong = shown(1);
    wrong.secret_sha256[31] ^= 1;
    assert!(matches!(consume(wrong, now()).await, ConsumeError::WrongSecret));
    assert!(matches!(
        consume(shown(1), at(NOW + 600)).await,
        ConsumeError::Expired { .. }
    ));
    assert!(desk.registry.nodes().await.unwrap().is_empty());
    assert!(
        desk.registry
            .consume_token(&shown(1), at(NOW + 599))
            .await
            .is_ok(),
        "a bad try used the token up"
    );
}

#[tokio::test]
async fn a_dead_token_is_known_as_such_for_a_day() {
    let desk = Desk::new().await;
    desk.registry
        .create_token(&token(1, "n1", &[]), now())
        .await
        .unwrap();
    for (later, remembered) in [(600 + 24 * 3600, true), (601 + 24 * 3600, false)] {
        let mut other = token(2, "n2", &[]);
        other.id = TokenId([if remembered { 2 } else { 3 }; 8]);
        other.expires = at(NOW + 2 * 24 * 3600);
        desk.registry.create_token(&other, at(NOW + later)).await.unwrap();
        let error = desk
            .registry
            .consume_token(&shown(1), at(NOW + later))
            .await
            .unwrap_err();
        assert_eq!(
            matches!(error, ConsumeError::Expired { .. }),
            remembered,
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_node_that_attests_again_keeps_its_number_and_its_blocks() {
    let desk = Desk::with_two_nodes().await;
    let again = desk.attest(3, "n1", &[]).await.unwrap();
    assert_eq!(
        (again.number, again.pod_cidrs),
        (NodeNumber(1), cidrs(&["10.244.1.0/24"]))
    );
    let moved = desk.attest(4, "n1", &["10.244.9.0/24"]).await.unwrap();
    assert_eq!(
        (moved.number, moved.pod_cidrs),
        (NodeNumber(1), cidrs(&["10.244.9.0/24"]))
    );
    assert_eq!(desk.attest(5, "n3", &[]).await.unwrap().number, NodeNumber(3));
}

#[tokio::test]
async fn blocks_of_two_nodes_never_overlap() {
    let desk = Desk::with_two_nodes().await;
    let refused = desk.attest(3, "n3", &["10.244.0.0/16"]).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the pod CIDR 10.244.0.0/16 overlaps 10.244.1.0/24, which belongs to the node n1"
    );
    // Promised by a token that is not used yet.
    desk.registry
        .create_token(&token(4, "n4", &["10.244.4.0/24"]), now())
        .await
        .unwrap();
    let promised = desk.attest(5, "n5", &["10.244.4.128/25"]).await.unwrap_err();
    assert!(matches!(promised, CreateTokenError::Overlap { .. }), "{promised}");
    // A promise ends with its token.
    let mut late = token(6, "n6", &["10.244.4.128/25"]);
    late.expires = at(NOW + 1200);
    desk.registry.create_token(&late, at(NOW + 600)).await.unwrap();
}

#[tokio::test]
async fn a_token_whose_blocks_went_to_another_node_is_refused() {
    let desk = Desk::new().await;
    desk.registry
        .create_token(&token(1, "n1", &["10.244.1.0/24"]), now())
        .await
        .unwrap();
    let mut late = token(2, "n2", &["10.244.1.0/24"]);
    late.expires = at(NOW + 1200);
    desk.registry.create_token(&late, at(NOW + 600)).await.unwrap();
    desk.registry
        .consume_token(&shown(2), at(NOW + 600))
        .await
        .unwrap();
    // The clock goes back, and the first token lives again.
    let refused = desk.registry.consume_token(&shown(1), now()).await.unwrap_err();
    assert!(matches!(refused, ConsumeError::Overlap(_)), "{refused}");
}

#[tokio::test]
async fn a_token_s_own_blocks_are_few_and_do_not_overlap() {
    let desk = Desk::new().await;
    let twice = desk
        .attest(1, "n1", &["10.244.1.0/24", "10.244.1.0/25"])
        .await
        .unwrap_err();
    assert!(matches!(twice, CreateTokenError::OverlapWithin { .. }), "{twice}");
    let many: Vec<_> = (0..17).map(|n| format!("10.244.{n}.0/24")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let many = desk.attest(1, "n1", &many).await.unwrap_err();
    assert!(
        matches!(many, CreateTokenError::TooManyCidrs { count: 17 }),
        "{many}"
    );
}
