//! A CA that cannot open the key that signs: what it does all the same, and what it does not begin.

use std::path::Path;
use std::time::Duration;

use signet_proto::ca::v1::revoke_request::Subject;
use signet_proto::ca::v1::{BanNodeRequest, BundleRequest, EvictNodeRequest, RevokeRequest, StatusRequest};
use sqlx::{ConnectOptions as _, SqliteConnection};
use tokio::time::{sleep, timeout};
use tonic::Code;

use crate::running::Running;

/// Only a test that fails waits so long.
const SOON: Duration = Duration::from_mins(1);

async fn open(directory: &Path) -> SqliteConnection {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(directory.join("data/registry.db"));
    options.connect().await.unwrap()
}

/// Puts this in the place of the active key's record; what was there.
async fn exchange(database: &mut SqliteConnection, record: &[u8]) -> Vec<u8> {
    let (before,): (Vec<u8>,) =
        sqlx::query_as("SELECT key FROM authorities WHERE kind = 'x509' AND state = 'active'")
            .fetch_one(&mut *database)
            .await
            .unwrap();
    sqlx::query("UPDATE authorities SET key = ? WHERE kind = 'x509' AND state = 'active'")
        .bind(record)
        .execute(database)
        .await
        .unwrap();
    before
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_key_a_ca_revokes_uses_no_token_up_and_tries_the_key_again() {
    let ca = Running::on_disk(tempfile::tempdir().unwrap()).await;
    ca.node("n1", &[]).await;
    ca.node("n2", &[]).await;
    ca.register("spiffe://td/web", "n1", "unix:uid:1").await.unwrap();
    let token = ca.token("n3", &[]).await.unwrap();
    let mut database = open(ca.directory.path()).await;
    let record = exchange(&mut database, &[0]).await;
    // Has them read again.
    ca.prepare("jwt").await.unwrap();

    let refused = ca.attest_with(&token).await.map(drop).unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    let mut operator = ca.operator.clone();
    let (reason, rehearse) = ("stolen".to_owned(), false);
    let revoke = RevokeRequest {
        subject: Some(Subject::SpiffeId("spiffe://td/web".to_owned())),
        reason: reason.clone(),
        ..RevokeRequest::default()
    };
    operator.revoke(revoke).await.unwrap();
    let ban = BanNodeRequest {
        node: "n1".to_owned(),
        reason: reason.clone(),
        rehearse,
    };
    operator.ban_node(ban).await.unwrap();
    let evict = EvictNodeRequest {
        node: "n2".to_owned(),
        reason,
        rehearse,
    };
    operator.evict_node(evict).await.unwrap();

    // It comes back without a change that anybody is told of.
    exchange(&mut database, &record).await;
    let admitted = timeout(SOON, async {
        while let Err(refused) = ca.attest_with(&token).await {
            assert_eq!(refused.code(), Code::Unavailable, "{refused}");
            sleep(Duration::from_millis(100)).await;
        }
    });
    admitted.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ca_starts_without_its_key_says_so_serves_what_needs_none_and_goes_on_with_it() {
    let ca = Running::on_disk(tempfile::tempdir().unwrap()).await;
    let bundle = ca.server.bundle();
    let node = ca.node("n1", &[]).await;
    let token = ca.token("n2", &[]).await.unwrap();
    let directory = ca.stop().await;
    let mut database = open(directory.path()).await;
    let record = exchange(&mut database, &[0]).await;

    let ca = Running::on_disk(directory).await;
    assert_eq!(ca.server.bundle(), bundle);
    let mut operator = ca.operator.clone();
    operator.bundle(BundleRequest {}).await.unwrap();
    let told = operator
        .status(StatusRequest {})
        .await
        .unwrap()
        .into_inner()
        .waits;
    let says = |words| told.iter().any(|waits| waits.contains(words));
    assert!(
        says("cannot be used here") && says("signet ca authority"),
        "{told:?}"
    );
    // Nodes are turned away at once, and find another one.
    let away = timeout(Duration::from_secs(4), ca.client(Some(&node.identity)));
    away.await.unwrap().unwrap_err();
    let revoke = RevokeRequest {
        subject: Some(Subject::SpiffeId("spiffe://td/web".to_owned())),
        reason: "stolen".to_owned(),
        force: true,
        ..RevokeRequest::default()
    };
    operator.revoke(revoke).await.unwrap();

    exchange(&mut database, &record).await;
    let back = timeout(SOON, async {
        while ca.client(None).await.is_err() {
            sleep(Duration::from_millis(100)).await;
        }
    });
    back.await.unwrap();
    ca.attest_with(&token).await.unwrap();
    let told = operator
        .status(StatusRequest {})
        .await
        .unwrap()
        .into_inner()
        .waits;
    assert!(told.is_empty(), "{told:?}");
}
