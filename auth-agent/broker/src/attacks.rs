//! Callers that mean no good.

use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::{Duration, SystemTime};

use signet_spiffe::{SpiffeId, Subject, UnixTime};
use signet_tls::SvidKeyPair;
use spiffe::broker_api::SecurityHeader;
use spiffe::broker_api::pb::spiffe::broker::FetchJwtsvidRequest;
use spiffe::broker_api::pb::spiffe::broker::api_client::ApiClient;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tonic::{Code, Status};

use crate::conformance::{ids, info, next, svids};
use crate::testing::{Authority, BROKER, PATIENCE, Served, Workload, pid, serial};

/// What becomes of a connection and one call on it.
async fn attempt(
    served: &Served,
    identity: Option<&SvidKeyPair>,
    workload: &Workload,
) -> Result<(), Option<Status>> {
    let channel = served.channel(identity).await.map_err(|_| None)?;
    let mut client = ApiClient::with_interceptor(channel, SecurityHeader::new());
    let mut stream = svids(&mut client, pid(workload.pid())).await.map_err(Some)?;
    next(&mut stream).await.map(drop).map_err(Some)
}

/// Got no further than the handshake: no status of ours came.
fn shut_out(outcome: Result<(), Option<Status>>) -> bool {
    match outcome {
        Ok(()) => false,
        Err(None) => true,
        Err(Some(status)) => matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled),
    }
}

#[tokio::test]
async fn spiffe_row_71_whoever_is_no_broker_is_denied_whatever_else_it_is() {
    let served = Served::new();
    let workload = Workload::of(4301);
    let web = served.authority.svid("/web");
    served.register(&[(4301, &web), (0, &served.authority.svid("/root"))]);
    for id in [
        "spiffe://td.test/web",
        "spiffe://td.test/ns/infra/sa/proxy2",
        "spiffe://td.test/ns/infra/sa",
        "spiffe://td.test/ns/infra/sa/proxy/x",
        "spiffe://td.test/signet/node/n1",
        "spiffe://td.test/signet/ca",
    ] {
        let identity = served.authority.issue(id);
        let refused = attempt(&served, Some(&identity), &workload)
            .await
            .unwrap_err()
            .unwrap();
        assert_eq!(refused.code(), Code::PermissionDenied, "{id}: {refused}");
    }
    let broker = served.authority.issue(BROKER);
    assert!(
        attempt(&served, Some(&broker), &workload).await.is_ok(),
        "the broker itself"
    );
}

#[tokio::test]
async fn spiffe_row_71_no_certificate_a_foreign_one_or_one_that_has_ended_gets_no_connection() {
    let served = Served::new();
    let workload = Workload::of(4301);
    served.register(&[(4301, &served.authority.svid("/web"))]);
    assert!(shut_out(attempt(&served, None, &workload).await), "none");
    let foreign = Authority::new("td.other");
    let same_path = foreign.issue("spiffe://td.other/ns/infra/sa/proxy");
    assert!(
        shut_out(attempt(&served, Some(&same_path), &workload).await),
        "of another trust domain"
    );
    let forged = foreign.issue(BROKER);
    assert!(
        shut_out(attempt(&served, Some(&forged), &workload).await),
        "signed by another"
    );
    // Though its authority is trusted for its own trust domain.
    let mut bundles = served.authority.bundles();
    bundles.insert(foreign.bundle());
    served.agent.bundles.send_replace(bundles.into());
    assert!(
        shut_out(attempt(&served, Some(&same_path), &workload).await),
        "federated"
    );
    assert!(
        shut_out(attempt(&served, Some(&forged), &workload).await),
        "signed by a federated one"
    );
    let ended = served
        .authority
        .issue_until(BROKER, SystemTime::now() - Duration::from_secs(2));
    assert!(shut_out(attempt(&served, Some(&ended), &workload).await), "ended");
    let broker = served.authority.issue(BROKER);
    assert!(
        attempt(&served, Some(&broker), &workload).await.is_ok(),
        "the broker itself"
    );
}

#[tokio::test]
async fn a_broker_that_is_revoked_loses_its_streams_at_once_its_connection_s_worth_and_the_way_back() {
    let served = Served::new();
    let workload = Workload::of(4301);
    served.register(&[(4301, &served.authority.svid("/web"))]);
    let (stolen, other) = (
        served.authority.issue(BROKER),
        served.authority.issue("spiffe://td.test/other-broker"),
    );
    let mut client = served.client(&stolen).await;
    let mut of_other = svids(&mut served.client(&other).await, pid(workload.pid()))
        .await
        .unwrap();
    let mut stream = svids(&mut client, pid(workload.pid())).await.unwrap();
    next(&mut stream).await.unwrap();
    next(&mut of_other).await.unwrap();

    served.agent.revoke(serial(&stolen, &served.authority));
    let renewed = served.authority.svid("/web");
    served.register(&[(4301, &renewed)]);
    assert_eq!(next(&mut stream).await.unwrap_err().code(), Code::Unauthenticated);
    let again = svids(&mut client, pid(workload.pid())).await.unwrap_err();
    assert_eq!(
        again.code(),
        Code::Unauthenticated,
        "on the connection that is still there"
    );
    assert!(
        shut_out(attempt(&served, Some(&stolen), &workload).await),
        "on a new one"
    );
    let pushed = next(&mut of_other).await.unwrap();
    assert_eq!(
        pushed.svids[0].x509_svid,
        renewed.chain()[0].as_ref(),
        "another broker goes on"
    );
}

#[tokio::test]
async fn an_authority_that_goes_and_an_svid_that_ends_take_a_broker_s_streams_with_them() {
    let served = Served::new();
    let workload = Workload::of(4301);
    served.register(&[(4301, &served.authority.svid("/web"))]);
    let short = served
        .authority
        .issue_until(BROKER, SystemTime::now() + Duration::from_secs(3));
    let mut client = served.client(&short).await;
    let mut stream = svids(&mut client, pid(workload.pid())).await.unwrap();
    next(&mut stream).await.unwrap();
    assert_eq!(
        next(&mut stream).await.unwrap_err().code(),
        Code::Unauthenticated,
        "ended"
    );

    let mut stream = svids(&mut served.broker().await, pid(workload.pid()))
        .await
        .unwrap();
    next(&mut stream).await.unwrap();
    let another = Authority::new("td.test");
    served.agent.bundles.send_replace(another.bundles().into());
    assert_eq!(
        next(&mut stream).await.unwrap_err().code(),
        Code::Unauthenticated,
        "authority gone"
    );
}

#[tokio::test]
async fn a_closed_identity_loses_its_streams() {
    let served = Served::new();
    let workload = Workload::of(4301);
    served.register(&[(4301, &served.authority.svid("/web"))]);
    let mut stream = svids(&mut served.broker().await, pid(workload.pid()))
        .await
        .unwrap();
    next(&mut stream).await.unwrap();
    served.agent.revoke(Subject::Id {
        id: SpiffeId::parse(BROKER).unwrap(),
        until: UnixTime::now(),
        at: UnixTime::now(),
    });
    assert_eq!(next(&mut stream).await.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_reference_gives_what_the_process_named_is_entitled_to_and_never_what_the_broker_is() {
    let served = Served::new();
    let (theirs, nobodys) = (Workload::of(4301), Workload::of(4302));
    let own_uid = rustix::process::geteuid().as_raw();
    served.register(&[
        (own_uid, &served.authority.svid("/broker-itself")),
        (4301, &served.authority.svid("/web")),
    ]);
    let mut client = served.broker().await;
    let mut stream = svids(&mut client, pid(theirs.pid())).await.unwrap();
    assert_eq!(ids(&next(&mut stream).await.unwrap()), ["spiffe://td.test/web"]);
    let refused = svids(&mut client, pid(nobodys.pid())).await.unwrap_err();
    assert_eq!(info(&refused).1, "WORKLOAD_NOT_ENTITLED");
    assert!(!refused.message().contains("/broker-itself"));
}

/// A process with this number, of this user. `None` if somebody else took it first.
fn with_number(number: i32, uid: u32) -> Option<Workload> {
    std::fs::write("/proc/sys/kernel/ns_last_pid", (number - 1).to_string()).unwrap();
    let child = Command::new("sleep")
        .arg("600")
        .uid(uid)
        .gid(uid)
        .spawn()
        .unwrap();
    let workload = Workload(child);
    (workload.pid() == number).then_some(workload)
}

#[tokio::test]
async fn a_number_that_is_used_again_gives_the_old_stream_nothing_of_the_new_process() {
    let served = Served::new();
    let (web, db) = (served.authority.svid("/web"), served.authority.svid("/db"));
    served.register(&[(4301, &web), (4302, &db)]);
    let mut client = served.broker().await;
    // Others start processes, too, and may be faster.
    for _ in 0..100 {
        let mut first = Workload::of(4301);
        let number = first.pid();
        let mut stream = svids(&mut client, pid(number)).await.unwrap();
        assert_eq!(ids(&next(&mut stream).await.unwrap()), ["spiffe://td.test/web"]);
        first.end();
        let Some(_second) = with_number(number, 4302) else {
            continue;
        };
        served.register(&[(4302, &served.authority.svid("/db")), (4301, &web)]);
        let end = next(&mut stream).await.unwrap_err();
        assert_eq!(end.code(), Code::NotFound, "{end}");
        let mut anew = svids(&mut client, pid(number)).await.unwrap();
        assert_eq!(
            ids(&next(&mut anew).await.unwrap()),
            ["spiffe://td.test/db"],
            "asked anew"
        );
        return;
    }
    unreachable!("no number came back in a hundred attempts");
}

#[tokio::test]
async fn one_broker_s_flood_is_its_own_wait_and_no_other_s() {
    let served = Served::bounded(4, 64);
    let (workload, own) = (Workload::of(4301), rustix::process::geteuid().as_raw());
    served.register(&[
        (4301, &served.authority.svid("/web")),
        (own, &served.authority.svid("/x")),
    ]);
    let mut greedy = served.broker().await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(svids(&mut greedy, pid(workload.pid())).await.unwrap());
    }
    for _ in 0..50 {
        let refused = svids(&mut greedy, pid(workload.pid())).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable);
    }
    // On another connection it is the same broker.
    let refused = svids(&mut served.broker().await, pid(workload.pid()))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    let other = served.authority.issue("spiffe://td.test/other-broker");
    assert!(
        attempt(&served, Some(&other), &workload).await.is_ok(),
        "another broker"
    );

    held.pop();
    let mut patience = tokio::time::interval(Duration::from_millis(10));
    let freed = async {
        while svids(&mut greedy, pid(workload.pid())).await.is_err() {
            patience.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, freed)
        .await
        .expect("a place comes back");
}

#[tokio::test]
async fn connections_that_say_nothing_are_bounded_and_closed_in_time() {
    let served = Served::new();
    served.bound().await;
    let mut mute = Vec::new();
    for _ in 0..64 {
        mute.push(UnixStream::connect(&served.socket).await.unwrap());
    }
    let mut closed = 0;
    for mut stream in mute {
        let mut bytes = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
        closed += usize::from(read.is_ok());
    }
    assert_eq!(closed, 64);
    let workload = Workload::of(4301);
    served.register(&[(4301, &served.authority.svid("/web"))]);
    let broker = served.authority.issue(BROKER);
    assert!(attempt(&served, Some(&broker), &workload).await.is_ok());
}

#[tokio::test]
async fn an_oversized_request_is_refused_and_the_connection_goes_on() {
    let served = Served::new();
    let workload = Workload::of(4301);
    served.register(&[(4301, &served.authority.svid("/web"))]);
    let mut client = served.broker().await;
    let request = FetchJwtsvidRequest {
        reference: Some(pid(workload.pid())),
        audience: vec!["x".repeat(70_000)],
        spiffe_id: String::new(),
    };
    assert_eq!(
        client.fetch_jwtsvid(request).await.unwrap_err().code(),
        Code::OutOfRange
    );
    assert!(svids(&mut client, pid(workload.pid())).await.is_ok());
}

#[tokio::test]
async fn a_node_without_an_svid_turns_brokers_away_until_it_has_one() {
    let served = Served::new();
    let workload = Workload::of(4301);
    served.register(&[(4301, &served.authority.svid("/web"))]);
    let own = served.agent.identity.send_replace(None);
    let broker = served.authority.issue(BROKER);
    assert!(shut_out(attempt(&served, Some(&broker), &workload).await));
    served.agent.identity.send_replace(own);
    assert!(attempt(&served, Some(&broker), &workload).await.is_ok());
}
