//! A database that is gone, clocks that are wrong, requests that are none. What else goes wrong has tests of its own: a kill in the
//! middle of issuance (`killed`), a full disk (`log`), requests that are too large (`bounds`).

use std::time::Duration;

use signet_ca::{Clock, Database, Storage};
use signet_proto::ca::v1::revoke_request::Subject;
use signet_proto::ca::v1::{
    CreateJoinTokenRequest, GetCrlRequest, IssueJwtSvidRequest, IssueX509SvidRequest, RenewNodeSvidRequest,
    RevokeRequest, StatusRequest, Svid,
};
use signet_spiffe::{UnixTime, verify_x509_svid};
use signet_test_postgres::{Error, Server};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use tonic::{Code, Status};
use x509_parser::prelude::{CertificateRevocationList, FromDer as _};

use crate::log::checkpoint;
use crate::replicas::{database, with_keys_of};
use crate::running::{Running, TestNode, chain, request};

/// Only a test that fails waits so long.
const SOON: Duration = Duration::from_mins(1);

const WEB: &str = "spiffe://td/ns/shop/sa/web";

async fn issue(node: &TestNode, registration: &str) -> Result<Svid, Status> {
    let call = IssueX509SvidRequest {
        registration: registration.to_owned(),
        csr: request().1,
    };
    Ok(node.client.clone().issue_x509_svid(call).await?.into_inner())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_gone_for_ten_minutes_stops_issuance_loses_nothing_and_comes_back_by_itself() {
    let mut server = match Server::start() {
        Ok(server) => server,
        Err(missing @ Error::Missing) => {
            signet_skip::skip("faults::a_database_that_is_gone", &missing.to_string());
            return;
        }
        Err(broken @ Error::Broken(_)) => panic!("{broken}"),
    };
    let database = Database::Postgres(server.database().unwrap());
    let ca = Running::on_database(tempfile::tempdir().unwrap(), database).await;
    let node = ca.node("n1", &[]).await;
    let web = ca.register(WEB, "n1", "unix:uid:1000").await.unwrap();
    let before = issue(&node, &web.id).await.unwrap();
    let order = CreateJoinTokenRequest {
        node: "n2".to_owned(),
        ttl: 3_600,
        addresses: vec!["192.0.2.1".to_owned()],
        ..CreateJoinTokenRequest::default()
    };
    let token = ca.operator.clone().create_join_token(order).await.unwrap();
    let token = token.into_inner().token;
    let mut stream = node.follow(0).await;
    stream.next().await;
    let (head, _) = checkpoint(&ca).await.unwrap();

    server.stop();
    ca.put_clock_ahead(Duration::from_mins(10));
    let refused = issue(&node, &web.id).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    let refused = ca
        .register("spiffe://td/other", "n1", "unix:uid:1")
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    // Another CA may be better off: nodes are sent there, and not kept from news.
    let ended = timeout(SOON, stream.end()).await.unwrap();
    assert_eq!(ended.code(), Code::Unavailable, "{ended}");
    let refused = node.announce(0, &["192.0.2.1"]).await.map(drop).unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    let refused = ca.attest_with(&token).await.map(drop).unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    all_are_turned_away(&node, &web.id).await;
    // What was issued is good without the CA and its database.
    let later = UnixTime::since_unix_epoch(Duration::from_secs(UnixTime::now().as_secs() + 600));
    let _ = verify_x509_svid(&chain(&before), &ca.bundles(), later).unwrap();

    server.run().unwrap();
    let after = timeout(SOON, async {
        loop {
            match issue(&node, &web.id).await {
                Ok(svid) => return svid,
                Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status}"),
            }
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .unwrap();
    // The join token was not used up for nothing, and is used up now.
    ca.attest_with(&token).await.unwrap();
    let again = ca.attest_with(&token).await.map(drop).unwrap_err();
    assert_eq!(again.code(), Code::Unauthenticated, "{again}");
    // Nothing is lost, and who followed still hears of changes.
    let (grown, _) = checkpoint(&ca).await.unwrap();
    assert!(grown.size() > head.size());
    let api = timeout(SOON, async {
        loop {
            match ca
                .register("spiffe://td/ns/shop/sa/api", "n1", "unix:uid:2")
                .await
            {
                Ok(api) => return api,
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    })
    .await
    .unwrap();
    let told = timeout(SOON, async {
        loop {
            if let Ok(mut stream) = node.announce(0, &["192.0.2.1"]).await {
                return stream.next().await;
            }
            sleep(Duration::from_millis(50)).await;
        }
    });
    assert!(told.await.unwrap().registrations.contains(&api));
    let status = ca
        .operator
        .clone()
        .status(StatusRequest {})
        .await
        .unwrap()
        .into_inner();
    let classes = status.outage.unwrap().classes;
    let workloads = classes.iter().find(|class| class.ttl == 3_600).unwrap();
    assert_eq!((workloads.live, workloads.first), (1, after.not_after));
}

/// A crowd that asks for everything all the time that the database is gone: each call is answered, none waits for it to come back.
async fn all_are_turned_away(node: &TestNode, registration: &str) {
    let calls = (0..64).map(|number| {
        let (mut client, registration) = (node.client.clone(), registration.to_owned());
        tokio::spawn(async move {
            let csr = request().1;
            let answer = match number % 3 {
                0 => client
                    .renew_node_svid(RenewNodeSvidRequest { csr })
                    .await
                    .map(drop),
                1 => {
                    let audience = vec!["db".to_owned()];
                    let call = IssueJwtSvidRequest {
                        registration,
                        audience,
                    };
                    client.issue_jwt_svid(call).await.map(drop)
                }
                _ => {
                    let call = IssueX509SvidRequest { registration, csr };
                    client.issue_x509_svid(call).await.map(drop)
                }
            };
            answer.unwrap_err()
        })
    });
    for call in calls.collect::<Vec<_>>() {
        let refused = timeout(SOON, call).await.unwrap().unwrap();
        assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    }
}

/// Two CAs on one database, the second with another clock. Nothing where there is no PostgreSQL.
pub(crate) async fn two(test: &str, clock: Clock) -> Option<(Running, Running)> {
    let database = database(test)?;
    // Begun an hour ago, so that the root is valid for both.
    let storage = |directory: &TempDir| Storage::Database {
        directory: directory.path().join("data"),
        database: database.clone(),
    };
    let directory = tempfile::tempdir().unwrap();
    let early = seconds_off(|now| now - 3_600);
    let begun = Running::configured(storage(&directory), directory, |config| config.clock = early);
    let directory = begun.await.unwrap().stop().await;
    let right = Running::on_database(directory, database.clone()).await;
    let directory = with_keys_of(right.directory.path());
    let wrong = Running::configured(storage(&directory), directory, |config| config.clock = clock)
        .await
        .unwrap();
    Some((right, wrong))
}

pub(crate) fn seconds_off(change: impl Fn(u64) -> u64 + Send + Sync + 'static) -> Clock {
    Clock::new(move || UnixTime::since_unix_epoch(Duration::from_secs(change(UnixTime::now().as_secs()))))
}

async fn is_served(ca: &Running, node: &TestNode) -> bool {
    // The handshake, or the first call over it.
    let Ok(client) = ca.client(Some(&node.identity)).await else {
        return false;
    };
    let call = RenewNodeSvidRequest { csr: request().1 };
    client.clone().renew_node_svid(call).await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_ten_minutes_ahead_serves_no_node_and_the_other_one_all() {
    let Some((right, wrong)) = two(
        "a_replica_that_is_ten_minutes_ahead",
        seconds_off(|now| now + 600),
    )
    .await
    else {
        return;
    };
    let node = right.node("n1", &[]).await;
    // Its own SVID is not valid yet for nodes: nothing that it would issue could be used, and nodes go to the other one.
    assert!(!is_served(&wrong, &node).await);
    assert!(is_served(&right, &node).await);
    // Operators reach it; what they do is known at the other one.
    let web = wrong.register(WEB, "n1", "unix:uid:1").await.unwrap();
    let svid = issue(&node, &web.id).await.unwrap();
    let _ = verify_x509_svid(&chain(&svid), &right.bundles(), UnixTime::now()).unwrap();
    // From there a revocation reaches what is issued now, and not what is issued afterwards.
    revoke(&wrong).await;
    assert_eq!(listed(&right).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_ten_minutes_behind_revokes_what_was_issued_until_now() {
    let Some((right, wrong)) = two(
        "a_replica_that_is_ten_minutes_behind",
        seconds_off(|now| now - 600),
    )
    .await
    else {
        return;
    };
    let node = right.node("n1", &[]).await;
    assert!(
        !is_served(&wrong, &node).await,
        "the node's SVID is not valid yet there"
    );
    let web = right.register(WEB, "n1", "unix:uid:1").await.unwrap();
    issue(&node, &web.id).await.unwrap();
    // It would not have been issued yet by that clock.
    revoke(&wrong).await;
    assert_eq!(listed(&right).await, 1);
    let refused = issue(&node, &web.id).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
}

async fn revoke(ca: &Running) {
    let order = RevokeRequest {
        subject: Some(Subject::SpiffeId(WEB.to_owned())),
        reason: "leaked".to_owned(),
        ..RevokeRequest::default()
    };
    ca.operator.clone().revoke(order).await.unwrap();
}

/// How many certificates are on the list.
async fn listed(ca: &Running) -> usize {
    let list = ca
        .operator
        .clone()
        .get_crl(GetCrlRequest {})
        .await
        .unwrap()
        .into_inner();
    let (_, list) = CertificateRevocationList::from_der(&list.der).unwrap();
    list.iter_revoked_certificates().count()
}

#[tokio::test]
async fn requests_that_are_none_are_refused_and_leave_nothing_behind() {
    let ca = Running::in_memory().await;
    let node = ca.node("n1", &[]).await;
    let web = ca.register(WEB, "n1", "unix:uid:1").await.unwrap();
    let before = checkpoint(&ca).await.unwrap().0.size();
    let (_, good) = request();
    let cut: Vec<_> = (0..good.len())
        .step_by(7)
        .map(|length| good[..length].to_vec())
        .collect();
    // Inside what is signed: behind the outer header, and before algorithm and signature.
    let flipped = (6..good.len() - 90).step_by(5).map(|at| {
        let mut csr = good.clone();
        csr[at] ^= 0x41;
        csr
    });
    let long = [good.clone(), vec![0; 64]].concat();
    for csr in cut.into_iter().chain(flipped).chain([long]) {
        let call = IssueX509SvidRequest {
            registration: web.id.clone(),
            csr: csr.clone(),
        };
        let refused = node
            .client
            .clone()
            .issue_x509_svid(call)
            .await
            .map(drop)
            .unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        let call = RenewNodeSvidRequest { csr };
        let refused = node
            .client
            .clone()
            .renew_node_svid(call)
            .await
            .map(drop)
            .unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
    let odd = [
        "",
        "\0",
        "../../etc",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        &"9".repeat(10_000),
    ];
    for registration in odd {
        let call = IssueX509SvidRequest {
            registration: registration.to_owned(),
            csr: good.clone(),
        };
        let refused = node
            .client
            .clone()
            .issue_x509_svid(call)
            .await
            .map(drop)
            .unwrap_err();
        assert!(
            matches!(refused.code(), Code::InvalidArgument | Code::NotFound),
            "{refused}"
        );
    }
    for audience in [
        vec![],
        vec![String::new()],
        vec!["a".repeat(10_000)],
        vec!["a".to_owned(); 100],
    ] {
        let call = IssueJwtSvidRequest {
            registration: web.id.clone(),
            audience,
        };
        let refused = node
            .client
            .clone()
            .issue_jwt_svid(call)
            .await
            .map(drop)
            .unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
    assert_eq!(
        checkpoint(&ca).await.unwrap().0.size(),
        before,
        "nothing was issued"
    );
    issue(&node, &web.id).await.unwrap();
}
