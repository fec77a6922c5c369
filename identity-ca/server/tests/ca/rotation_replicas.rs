//! Authorities of several CAs on one PostgreSQL.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signet_proto::ca::v1::{IssueX509SvidRequest, Svid};
use signet_spiffe::BundleSet;
use tokio::task::JoinSet;

use crate::replicas::{at, database, two};
use crate::rotation::{X509, next_bundle, signer};
use crate::running::{Running, TestNode, request};

/// Asks one CA after another for SVIDs until told to end.
async fn ask(clients: [TestNode; 2], registration: String, end: Arc<AtomicBool>) -> Vec<Svid> {
    let mut svids = Vec::new();
    for node in clients.iter().cycle() {
        if end.load(Ordering::SeqCst) {
            break;
        }
        let call = IssueX509SvidRequest {
            registration: registration.clone(),
            csr: request().1,
        };
        // Not one is refused on the way.
        svids.push(
            node.client
                .clone()
                .issue_x509_svid(call)
                .await
                .unwrap()
                .into_inner(),
        );
    }
    svids
}

async fn copy(ca: &Running, node: &TestNode) -> TestNode {
    TestNode {
        identity: signet_tls::SvidKeyPair {
            chain: node.identity.chain.clone(),
            key: node.identity.key.clone_key(),
        },
        client: ca.client(Some(&node.identity)).await.unwrap(),
        answer: node.answer.clone(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_ca_signs_with_another_authority_than_the_active_one_whoever_activated_it() {
    let Some(database) =
        database("no_ca_signs_with_another_authority_than_the_active_one_whoever_activated_it")
    else {
        return;
    };
    let (one, two) = two(&database).await;
    let node = one.node("n1", &[]).await;
    let web = one.register("spiffe://td/web", "n1", "unix:uid:1").await.unwrap();
    let mut follower = node.follow(0).await;
    next_bundle(&mut follower).await;
    let end = Arc::new(AtomicBool::new(false));
    let mut load = JoinSet::new();
    for _ in 0..4 {
        let both = [copy(&one, &node).await, copy(&two, &node).await];
        load.spawn(ask(both, web.id.clone(), Arc::clone(&end)));
    }
    let mut node = node;
    for turn in 0..4 {
        // Prepared at one, acknowledged there, activated at the other, and the other way round.
        let (here, there) = if turn % 2 == 0 { (&one, &two) } else { (&two, &one) };
        let next = here.prepare(X509).await.unwrap();
        let bundle = loop {
            let bundle = next_bundle(&mut follower).await;
            if bundle.sequence >= next.sequence {
                break bundle;
            }
        };
        assert!(there.activate(X509, true).await.is_err(), "nobody has it yet");
        assert!(node.acknowledge(&bundle).await);
        there.activate(X509, true).await.unwrap();
        // Whoever is asked from now on.
        for ca in [&one, &two] {
            node = at(ca, node).await;
            let call = IssueX509SvidRequest {
                registration: web.id.clone(),
                csr: request().1,
            };
            let svid = node
                .client
                .clone()
                .issue_x509_svid(call)
                .await
                .unwrap()
                .into_inner();
            assert_eq!(signer(&svid, ca), next.id);
        }
        node = at(&one, node).await;
    }
    end.store(true, Ordering::SeqCst);
    let mut count = 0;
    while let Some(svids) = load.join_next().await {
        for svid in svids.unwrap() {
            // Each counts, at both.
            let by = [signer(&svid, &one), signer(&svid, &two)];
            assert_eq!(by[0], by[1]);
            count += 1;
        }
    }
    assert!(count > 0);
    let bundles: BundleSet = one.bundles();
    assert_eq!(bundles, two.bundles());
    assert_eq!(
        one.states(X509)
            .await
            .iter()
            .filter(|state| *state == "active")
            .count(),
        1
    );
}
