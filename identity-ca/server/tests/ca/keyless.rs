//! A CA that cannot open the key that signs: what it does all the same, and what it does not begin.

use std::path::Path;
use std::time::Duration;

use signet_proto::ca::v1::revoke_request::Subject;
use signet_proto::ca::v1::{BanNodeRequest, EvictNodeRequest, RevokeRequest};
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
