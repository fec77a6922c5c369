//! The service over a real socket, by a gRPC client that speaks as Envoy does.

use signet_proto::sds::{DiscoveryRequest, DiscoveryResponse, Status as RpcStatus};
use signet_proto::workload::X509svidRequest;
use signet_proto::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use signet_workload_api::{Limits, Offer, Pace};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::secret::SECRET;
use crate::testing::{Client, Issuer, PATIENCE, Seen, Served, as_seen, for_us, is_withdrawn, seen, trusting};

/// One stream, as Envoy keeps it.
struct Envoy {
    requests: mpsc::Sender<DiscoveryRequest>,
    responses: Streaming<DiscoveryResponse>,
    version: String,
    nonce: String,
}

impl Envoy {
    async fn connect(client: &mut Client, version: &str, names: &[&str]) -> Result<Self, Status> {
        let (requests, outgoing) = mpsc::channel(8);
        requests.try_send(request(names, version, "")).unwrap();
        let responses = client.stream_secrets(ReceiverStream::new(outgoing)).await?;
        Ok(Self {
            requests,
            responses: responses.into_inner(),
            version: version.to_owned(),
            nonce: String::new(),
        })
    }

    /// The next response, which is not answered.
    async fn next(&mut self) -> Result<Vec<(String, Seen)>, Status> {
        let message = tokio::time::timeout(PATIENCE, self.responses.message())
            .await
            .unwrap()?;
        let response = message.expect("the stream ended without a status");
        assert_eq!(response.type_url, SECRET);
        self.version = response.version_info;
        self.nonce = response.nonce;
        Ok(response.resources.iter().map(seen).collect())
    }

    /// The next response, accepted; it has one resource.
    async fn one(&mut self, names: &[&str]) -> Seen {
        let [(name, seen)] = <[_; 1]>::try_from(self.next().await.unwrap()).unwrap();
        assert!(names.contains(&name.as_str()), "{name}");
        self.say(names).await;
        seen
    }

    /// Whether all that is left is to overwrite this.
    async fn is_taken_from(&mut self, name: &str) -> bool {
        let last = self.next().await.unwrap();
        let end = self.next().await.unwrap_err();
        last.iter()
            .all(|(taken, seen)| taken == name && is_withdrawn(seen))
            && last.len() == 1
            && end.code() == Code::PermissionDenied
    }

    /// Accepts the last response, and says what it wants.
    async fn say(&mut self, names: &[&str]) {
        let request = request(names, &self.version, &self.nonce);
        self.requests.send(request).await.unwrap();
    }
}

fn request(names: &[&str], version: &str, nonce: &str) -> DiscoveryRequest {
    DiscoveryRequest {
        version_info: version.to_owned(),
        resource_names: names.iter().map(ToString::to_string).collect(),
        type_url: SECRET.to_owned(),
        response_nonce: nonce.to_owned(),
        error_detail: None,
    }
}

#[tokio::test]
async fn each_name_has_its_secret_at_once_and_again_when_it_changes() {
    let served = Served::new();
    let (td, other) = (Issuer::new("td.test"), Issuer::new("other.test"));
    let (web, admin) = (td.svid("/web"), td.svid("/admin"));
    served.publish(&[&web, &admin], &[&td, &other]);
    let mut client = served.client().await;
    let (renewed_web, renewed_admin) = (td.svid("/web"), td.svid("/admin"));
    for (name, before, after) in [
        ("spiffe://td.test/web", as_seen(&web), as_seen(&renewed_web)),
        ("spiffe://td.test/admin", as_seen(&admin), as_seen(&renewed_admin)),
        ("default", as_seen(&web), as_seen(&renewed_web)),
    ] {
        served.publish(&[&web, &admin], &[&td, &other]);
        let mut envoy = Envoy::connect(&mut client, "", &[name]).await.unwrap();
        assert_eq!(envoy.one(&[name]).await, before, "{name}");
        served.publish(&[&renewed_web, &renewed_admin], &[&td, &other]);
        assert_eq!(envoy.one(&[name]).await, after, "{name}");
    }
    let new = Issuer::new("other.test");
    for (name, before, after) in [
        ("ROOTCA", trusting(&[&td]), None),
        ("spiffe://td.test", trusting(&[&td]), None),
        (
            "spiffe://other.test",
            trusting(&[&other]),
            Some(trusting(&[&new])),
        ),
        ("ALL", trusting(&[&other, &td]), Some(trusting(&[&new, &td]))),
    ] {
        served.publish(&[&web], &[&td, &other]);
        let mut envoy = Envoy::connect(&mut client, "", &[name]).await.unwrap();
        assert_eq!(envoy.one(&[name]).await, before, "{name}");
        served.publish(&[&web], &[&td, &new]);
        if let Some(after) = after {
            assert_eq!(envoy.one(&[name]).await, after, "{name}");
        }
    }
}

#[tokio::test]
async fn what_is_taken_back_is_overwritten_before_the_stream_ends() {
    let served = Served::new();
    let td = Issuer::new("td.test");
    served.publish(&[&td.svid("/web")], &[&td]);
    let mut client = served.client().await;
    for name in ["default", "spiffe://td.test/web", "ROOTCA", "ALL"] {
        served.publish(&[&td.svid("/web")], &[&td]);
        let mut envoy = Envoy::connect(&mut client, "", &[name]).await.unwrap();
        assert!(!is_withdrawn(&envoy.one(&[name]).await));
        served.publish(&[], &[&td]);
        assert!(envoy.is_taken_from(name).await, "{name}");

        // It comes back, is denied, and has nothing to give back any more.
        let mut again = Envoy::connect(&mut client, &envoy.version, &[name])
            .await
            .unwrap();
        assert_eq!(again.next().await.unwrap_err().code(), Code::PermissionDenied);
    }
}

#[tokio::test]
async fn what_was_taken_back_while_nobody_was_connected_is_overwritten_when_envoy_comes_back() {
    let served = Served::new();
    let td = Issuer::new("td.test");
    served.publish(&[], &[&td]);
    let mut client = served.client().await;
    let mut envoy = Envoy::connect(&mut client, "of-another-day", &["default"])
        .await
        .unwrap();
    assert!(envoy.is_taken_from("default").await);
    let mut fresh = Envoy::connect(&mut client, "", &["default"]).await.unwrap();
    assert_eq!(fresh.next().await.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn an_agent_that_is_not_ready_takes_nothing_back() {
    let served = Served::new();
    let mut client = served.client().await;
    let refused = Envoy::connect(&mut client, "of-another-day", &["default"]).await;
    assert_eq!(refused.err().unwrap().code(), Code::Unavailable);
}

#[tokio::test]
async fn an_svid_that_is_still_to_be_issued_is_waited_for() {
    let served = Served::new();
    let td = Issuer::new("td.test");
    let pending = Offer::pending(for_us(), td.id("/web")).unwrap();
    served.offer(vec![pending], &[&td]);
    let mut client = served.client().await;
    let mut envoy = Envoy::connect(&mut client, "", &["default"]).await.unwrap();
    let web = td.svid("/web");
    served.publish(&[&web], &[&td]);
    assert_eq!(envoy.one(&["default"]).await, as_seen(&web));
}

#[tokio::test]
async fn streams_count_with_those_of_the_workload_api() {
    let served = Served::with(Limits {
        per_process: 2,
        ..Limits::default()
    });
    let td = Issuer::new("td.test");
    served.publish(&[&td.svid("/web")], &[&td]);
    let mut client = served.client().await;
    let _first = Envoy::connect(&mut client, "", &["default"]).await.unwrap();
    let mut workload = SpiffeWorkloadApiClient::new(served.channel().await);
    let mut request = tonic::Request::new(X509svidRequest {});
    let header = "true".parse().unwrap();
    request.metadata_mut().insert("workload.spiffe.io", header);
    let _second = workload.fetch_x509svid(request).await.unwrap();
    let third = Envoy::connect(&mut client, "", &["ROOTCA"]).await;
    assert_eq!(third.err().unwrap().code(), Code::Unavailable);
}

#[tokio::test]
async fn requests_beyond_the_bounds_end_the_stream() {
    let served = Served::new();
    let td = Issuer::new("td.test");
    served.publish(&[&td.svid("/web")], &[&td]);
    let mut client = served.client().await;
    let many: Vec<_> = (0..=crate::MAX_NAMES)
        .map(|n| format!("spiffe://td.test/{n}"))
        .collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let long = format!("spiffe://td.test/{}", "x".repeat(2048));
    for names in [many.as_slice(), &[&long]] {
        let mut envoy = Envoy::connect(&mut client, "", names).await.unwrap();
        assert_eq!(envoy.next().await.unwrap_err().code(), Code::InvalidArgument);
    }
    let huge = "x".repeat(600 * 1024);
    let mut envoy = Envoy::connect(&mut client, &huge, &["default"]).await.unwrap();
    assert!(
        envoy
            .responses
            .message()
            .await
            .is_ok_and(|message| message.is_none())
    );
}

#[tokio::test]
async fn a_client_that_changes_its_mind_all_the_time_is_sent_away() {
    let served = Served::new();
    let td = Issuer::new("td.test");
    served.publish(&[&td.svid("/web")], &[&td]);
    let mut client = served.client().await;
    let mut envoy = Envoy::connect(&mut client, "", &["default"]).await.unwrap();
    let mut asked = 0;
    let end = loop {
        match envoy.next().await {
            Ok(_) => envoy.say(&[["ROOTCA", "default"][asked % 2]]).await,
            Err(status) => break status,
        }
        asked += 1;
        assert!(asked < 100_000, "it is never sent away");
    };
    assert_eq!(end.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn a_client_that_accepts_all_that_it_is_told_is_told_however_much_there_is() {
    let served = Served::new();
    let td = Issuer::new("td.test");
    let svids = [td.svid("/web"), td.svid("/web")];
    served.publish(&[&svids[1]], &[&td]);
    let mut client = served.client().await;
    let mut envoy = Envoy::connect(&mut client, "", &["default"]).await.unwrap();
    envoy.one(&["default"]).await;
    for svid in svids.iter().cycle().take(1000) {
        served.publish(&[svid], &[&td]);
        assert_eq!(envoy.one(&["default"]).await, as_seen(svid));
    }
}

#[tokio::test]
async fn a_client_that_repeats_itself_is_sent_away() {
    let served = Served::new();
    let td = Issuer::new("td.test");
    served.publish(&[&td.svid("/web")], &[&td]);
    let mut client = served.client().await;
    let mut envoy = Envoy::connect(&mut client, "", &["default"]).await.unwrap();
    envoy.next().await.unwrap();
    let again = request(&["default"], &envoy.version, &envoy.nonce);
    let mut said = 0;
    while envoy.requests.send(again.clone()).await.is_ok() {
        said += 1;
        assert!(said < 100_000, "it is never sent away");
    }
    let end = envoy.next().await.unwrap_err();
    assert_eq!(end.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn fetch_tells_the_moment_and_is_paced() {
    let served = Served::with(Limits {
        calls: Pace {
            burst: 2,
            interval: PATIENCE,
        },
        ..Limits::default()
    });
    let td = Issuer::new("td.test");
    let web = td.svid("/web");
    served.publish(&[&web], &[&td]);
    let mut client = served.client().await;
    let fetched = client.fetch_secrets(request(&["default", "spiffe://td.test/nobody"], "", ""));
    let fetched = fetched.await.unwrap().into_inner();
    let secrets: Vec<_> = fetched.resources.iter().map(seen).collect();
    assert_eq!(secrets, [("default".to_owned(), as_seen(&web))]);
    let all = client
        .fetch_secrets(request(&[], "", ""))
        .await
        .unwrap()
        .into_inner();
    let names: Vec<_> = all.resources.iter().map(|any| seen(any).0).collect();
    assert_eq!(names, ["spiffe://td.test", "spiffe://td.test/web"]);
    let third = client.fetch_secrets(request(&[], "", "")).await;
    assert_eq!(third.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn a_rejected_secret_is_not_sent_again_until_it_changes() {
    let served = Served::new();
    let td = Issuer::new("td.test");
    served.publish(&[&td.svid("/web")], &[&td]);
    let mut client = served.client().await;
    let mut envoy = Envoy::connect(&mut client, "", &["default"]).await.unwrap();
    envoy.next().await.unwrap();
    let rejection = DiscoveryRequest {
        error_detail: Some(RpcStatus {
            code: 3,
            message: "no good".to_owned(),
        }),
        ..request(&["default"], "", &envoy.nonce)
    };
    envoy.requests.send(rejection).await.unwrap();
    let better = td.svid("/web");
    served.publish(&[&better], &[&td]);
    assert_eq!(envoy.one(&["default"]).await, as_seen(&better));
}

#[tokio::test]
async fn the_longest_list_reaches_a_client_with_all_that_it_holds() {
    let served = Served::new();
    let td = Issuer::new("td.test");
    let web = td.svid("/web");
    served.publish_with_list(&web, &td, vec![7; crate::LONGEST_LIST]);
    let mut client = served.client().await;
    let mut envoy = Envoy::connect(&mut client, "", &[]).await.unwrap();
    let all = envoy.next().await.unwrap();
    assert_eq!(all.len(), 2, "the bundle with its list, and the identity");
}
