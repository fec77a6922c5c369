//! Whoever is not the machine, or keeps the CA waiting.

use signet_proto::ca::v1::attest_node_request::Step;
use signet_proto::ca::v1::{NodeAnswer, NodeEvidence};
use tonic::{Code, Status};

use super::device::{Device, DeviceAuthority, sign};
use crate::running::{Running, request};

/// A CA that admits n1 and n2 by certificate, and their machines.
async fn stage() -> (Running, Device, Device) {
    let machines = DeviceAuthority::new();
    let ca = machines.ca(None).await;
    for node in ["n1", "n2"] {
        let way = format!("x509pop dns:{node}.example");
        ca.allow(node, &[], &[&way]).await.unwrap();
    }
    let (first, second) = (machines.device("n1.example"), machines.device("n2.example"));
    (ca, first, second)
}

fn is_refused(outcome: Result<impl Sized, Status>) {
    let refused = outcome.map(drop).unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    assert!(refused.message().contains("signature"), "{refused}");
}

#[tokio::test]
async fn a_stolen_certificate_without_its_key_is_worth_nothing() {
    let (ca, machine, thief) = stage().await;
    let stolen = Device {
        chain: machine.chain.clone(),
        key: thief.key,
    };
    is_refused(ca.attest_by(&stolen, "n1").await);
}

#[tokio::test]
async fn an_answer_is_of_no_use_a_second_time() {
    let (ca, machine, _) = stage().await;
    let connection = ca.connect().await;
    let (_, csr) = request();
    let mut exchange = connection.begin().await.unwrap();
    exchange.show(machine.evidence("n1", &csr)).await;
    let nonce = exchange.challenge().await.unwrap();
    let answer = machine.answer("n1", &csr, &nonce, &connection.binding);
    exchange.answer(answer.clone()).await.unwrap();
    drop(exchange);
    // Even over the same connection.
    let mut again = connection.begin().await.unwrap();
    again.show(machine.evidence("n1", &csr)).await;
    assert_ne!(again.challenge().await.unwrap(), nonce);
    is_refused(again.answer(answer).await);
}

#[tokio::test]
async fn a_challenge_that_was_relayed_to_the_machine_is_not_answered_for_another_connection() {
    let (ca, machine, _) = stage().await;
    let (_, csr) = request();
    // Somebody in between has the challenge of a connection of their own, and gets the machine to answer it over another.
    let theirs = ca.connect().await;
    let machine_s = ca.connect().await;
    assert_ne!(theirs.binding, machine_s.binding);
    let mut exchange = theirs.begin().await.unwrap();
    exchange.show(machine.evidence("n1", &csr)).await;
    let nonce = exchange.challenge().await.unwrap();
    is_refused(
        exchange
            .answer(machine.answer("n1", &csr, &nonce, &machine_s.binding))
            .await,
    );
}

#[tokio::test]
async fn an_answer_is_for_one_node_one_key_and_one_certificate() {
    let (ca, machine, other) = stage().await;
    let (_, csr) = request();
    let (_, another_csr) = request();
    for wrong in 0..4 {
        let connection = ca.connect().await;
        let mut exchange = connection.begin().await.unwrap();
        exchange.show(machine.evidence("n1", &csr)).await;
        let nonce = exchange.challenge().await.unwrap();
        let binding = &connection.binding;
        let answer = match wrong {
            0 => machine.answer("n2", &csr, &nonce, binding),
            1 => machine.answer("n1", &another_csr, &nonce, binding),
            2 => other.answer("n1", &csr, &nonce, binding),
            // The nonce alone, as a clumsy protocol would have it.
            _ => NodeAnswer {
                scheme: 0x0403,
                signature: sign(&machine.key, &nonce),
            },
        };
        is_refused(exchange.answer(answer).await);
    }
    for (scheme, signature) in [
        (0x0403, vec![]),
        (0x0403, vec![0; 100_000]),
        (0x0201, vec![1]),
        (70_000, vec![1]),
    ] {
        let mut exchange = ca.connect().await.begin().await.unwrap();
        exchange.show(machine.evidence("n1", &csr)).await;
        exchange.challenge().await.unwrap();
        is_refused(exchange.answer(NodeAnswer { scheme, signature }).await);
    }
}

#[tokio::test]
async fn an_exchange_out_of_order_is_refused() {
    let (ca, machine, _) = stage().await;
    let (_, csr) = request();
    let begin = async || ca.connect().await.begin().await.unwrap();
    let evidence = || machine.evidence("n1", &csr);
    for first in [
        None,
        Some(Step::Answer(NodeAnswer::default())),
        Some(Step::Evidence(NodeEvidence::default())),
        Some(Step::Evidence(NodeEvidence {
            node: String::new(),
            ..evidence()
        })),
        Some(Step::Evidence(NodeEvidence {
            node: "No node".into(),
            ..evidence()
        })),
        Some(Step::Evidence(NodeEvidence {
            csr: vec![],
            ..evidence()
        })),
        Some(Step::Evidence(NodeEvidence {
            proof: None,
            ..evidence()
        })),
    ] {
        let mut exchange = begin().await;
        exchange.say(first.clone()).await;
        let refused = exchange.challenge().await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{first:?}: {refused}");
    }
    for second in [None, Some(Step::Evidence(evidence()))] {
        let mut exchange = begin().await;
        exchange.show(evidence()).await;
        exchange.challenge().await.unwrap();
        exchange.say(second).await;
        let refused = exchange.next().await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
    let mut exchange = begin().await;
    exchange.show(evidence()).await;
    exchange.challenge().await.unwrap();
    exchange.hang_up();
    assert_eq!(exchange.next().await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn one_exchange_at_a_time_goes_over_a_connection_and_one_that_takes_too_long_is_ended() {
    let (ca, machine, _) = stage().await;
    let (_, csr) = request();
    let connection = ca.connect().await;
    // Never says anything.
    let mut silent = connection.begin().await.unwrap();
    let busy = connection.begin().await.map(drop).unwrap_err();
    assert_eq!(busy.code(), Code::Unavailable, "{busy}");
    // Others are not held up.
    let other = ca.connect().await;
    let mut half = other.begin().await.unwrap();
    half.show(machine.evidence("n1", &csr)).await;
    half.challenge().await.unwrap();
    ca.attest_by(&machine, "n1").await.unwrap();
    for exchange in [&mut silent, &mut half] {
        let ended = exchange.next().await.unwrap_err();
        assert_eq!(ended.code(), Code::DeadlineExceeded, "{ended}");
    }
    connection.begin().await.map(drop).unwrap();
}
