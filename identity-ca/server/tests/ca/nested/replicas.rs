//! Two replicas of a lower CA on one PostgreSQL.

use signet_ca::{Database, Storage};

use super::stage::{Known, Upper, identity, key_of, quiet, register, soon, status, token, until};
use crate::replicas::{at, database, with_keys_of};
use crate::running::Running;

async fn replica(upper: &Upper, database: &Database, like: Option<&Running>) -> Running {
    let directory = match like {
        Some(other) => with_keys_of(other.directory.path()),
        None => tempfile::tempdir().unwrap(),
    };
    let storage = Storage::Database {
        directory: directory.path().join("data"),
        database: database.clone(),
    };
    let started = Running::configured(storage, directory, |config| {
        quiet(config);
        config.upstream = upper.upstream();
    });
    started.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_of_a_lower_ca_have_one_intermediate_and_pass_on_the_same_bundle() {
    let Some(database) = database("replicas_of_a_lower_ca_have_one_intermediate_and_pass_on_the_same_bundle")
    else {
        return;
    };
    let upper = Upper::start(Storage::Memory, |_| {}).await;
    let one = replica(&upper, &database, None).await;
    let two = replica(&upper, &database, Some(&one)).await;
    for ca in [&one, &two] {
        soon("both follow", async || {
            let told = status(ca).await.upstream.unwrap();
            told.connected.then_some(())
        })
        .await;
    }
    let node = one.node("n1", &[]).await;
    let web = register(&one, "spiffe://td/web", false).await;
    let first = identity(&node, &web).await.chain.clone();
    let node = at(&two, node).await;
    let second = identity(&node, &web).await.chain.clone();
    assert_eq!(key_of(&first[1]), key_of(&second[1]));
    // What comes from above is known to the one that did not ask, and to its nodes.
    let mut follower = node.follow(0).await;
    let mut known = Known::default();
    upper.ca.prepare("x509").await.unwrap();
    until(&mut follower, &mut known, |known| {
        known.bundle.x509_authorities.len() == 2 && known.keys().keys().len() == 2
    })
    .await;
    // A key of one that the other makes is published above as well, by whoever comes first.
    two.prepare("jwt").await.unwrap();
    let mut over = upper.node.follow(0).await;
    let mut above = Known::default();
    until(&mut over, &mut above, |known| known.keys().keys().len() == 3).await;
    two.activate("jwt", false).await.unwrap();
    assert!(above.verifies_token(&token(&node, &web).await));
    one.stop().await;
    // The one that is left goes on by itself.
    upper.ca.activate("x509", false).await.unwrap();
    two.prepare("x509").await.unwrap();
    two.activate("x509", false).await.unwrap();
    let third = identity(&node, &web).await.chain.clone();
    assert_ne!(key_of(&third[1]), key_of(&second[1]));
    let _ = known.verify(&third).unwrap();
}
