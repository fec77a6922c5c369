//! A CA that is started after its authority has ended.

use std::time::Duration;

use signet_ca::{Clock, Config, Storage, Upstream};
use signet_proto::ca::v1::upstream_service_client::UpstreamServiceClient;
use signet_proto::ca::v1::{RequestAuthorityRequest, StatusRequest, StatusResponse};
use signet_spiffe::UnixTime;
use tokio::time::sleep;
use tonic::Code;

use crate::running::Running;

/// After the end of what was made at first.
const AHEAD: Duration = Duration::from_hours(400 * 24);

async fn restarted(change: impl Fn(&mut Config)) -> Running {
    let home = tempfile::tempdir().unwrap();
    let data = Storage::Directory(home.path().join("data"));
    let first = Running::configured(data.clone(), home, &change).await.unwrap();
    let home = first.stop().await;
    let again = Running::configured(data, home, |config| {
        change(config);
        config.clock = Clock::new(|| {
            let seconds = UnixTime::now().as_secs() + AHEAD.as_secs();
            UnixTime::since_unix_epoch(Duration::from_secs(seconds))
        });
    });
    again.await.unwrap()
}

async fn status(ca: &Running) -> StatusResponse {
    ca.operator
        .clone()
        .status(StatusRequest {})
        .await
        .unwrap()
        .into_inner()
}

/// By the CA's clock.
fn now() -> i64 {
    i64::try_from(UnixTime::now().as_secs() + AHEAD.as_secs()).unwrap()
}

#[tokio::test]
async fn one_that_rotates_by_itself_mends_itself() {
    let ca = restarted(|_| {}).await;
    let status = status(&ca).await;
    assert!(status.root_not_after > now(), "what signs has ended");
    assert_eq!(status.waits, [""; 0]);
    // Own SVID and all.
    ca.token("n1", &[]).await.unwrap();
    let kinds = [ca.states("x509").await, ca.states("jwt").await];
    assert!(
        kinds.iter().all(|states| states.contains(&"active".to_owned())),
        "{kinds:?}"
    );
}

#[tokio::test]
async fn one_that_is_rotated_by_hand_starts_and_says_what_to_do() {
    let ca = restarted(|config| config.rotation.automatic = false).await;
    let waiting = status(&ca).await;
    assert!(
        waiting.waits.iter().any(|what| what.contains("prepare x509")),
        "{:?}",
        waiting.waits
    );
    assert!(waiting.root_not_after < now());
    ca.prepare("x509").await.unwrap();
    // Nothing that was signed counts any more: nobody is waited for.
    ca.activate("x509", false).await.unwrap();
    let mut left = 500;
    while !status(&ca).await.waits.is_empty() {
        left -= 1;
        assert!(left > 0, "it does not notice that an authority signs");
        sleep(Duration::from_millis(20)).await;
    }
    // Nodes are served, with an SVID of the CA's own.
    tokio::net::TcpStream::connect(ca.server.address()).await.unwrap();
}

#[tokio::test]
async fn one_below_another_by_files_starts_and_waits_for_a_certificate() {
    let ca = restarted(|config| config.upstream = Upstream::Files).await;
    let waiting = status(&ca).await.waits;
    assert!(
        waiting
            .iter()
            .any(|what| what.contains("signet ca authority csr")),
        "{waiting:?}"
    );
    let socket = ca.directory.path().join("ca.sock");
    let mut upstream = UpstreamServiceClient::new(signet_uds::connect(&socket).unwrap());
    let csr = upstream
        .request_authority(RequestAuthorityRequest {})
        .await
        .unwrap();
    assert!(csr.into_inner().csr.contains("CERTIFICATE REQUEST"));
    let refused = ca.prepare("x509").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
}
