//! An agent that is killed and restarted while no CA can be reached: real daemons, and the kernel's keyring.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]

#[path = "support/daemons.rs"]
mod daemons;

use std::fs;
use std::time::Duration;

use daemons::{DOMAIN, Daemons, PATIENCE, until};
use signet_proto::agent::v1::agent_service_client::AgentServiceClient;
use signet_proto::agent::v1::custody::State;
use signet_proto::agent::v1::{StatusRequest, StatusResponse};
use signet_proto::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use signet_proto::workload::{JwtBundlesRequest, X509svid, X509svidRequest, X509svidResponse};
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tonic::{Request, Status, Streaming};

/// A CA and an agent, and this process as a workload of it.
struct Site {
    daemons: Daemons,
    runtime: Runtime,
}

impl Site {
    /// With so many identities, `/w0` and so on, whose SVIDs are all kept.
    fn with(identities: usize, ca_options: &[&str]) -> Self {
        let mut site = Self {
            daemons: Daemons::new(ca_options),
            runtime: Runtime::new().unwrap(),
        };
        site.daemons.start_ca();
        site.daemons.start_agent();
        for number in 0..identities {
            site.register(&format!("/w{number}"));
        }
        site.keeps(identities);
        site
    }

    fn register(&self, path: &str) {
        self.daemons.register(path, rustix::process::getgid().as_raw());
    }

    fn keeps(&self, svids: usize) {
        until("it is kept", || {
            let custody = self.status().and_then(|status| status.custody);
            custody.is_some_and(|custody| custody.state() == State::Kept && custody.svids as usize == svids)
        });
    }

    fn status(&self) -> Option<StatusResponse> {
        let socket = self.daemons.path("run/agent.sock");
        self.runtime.block_on(async {
            let mut client = AgentServiceClient::new(signet_uds::connect(&socket).ok()?);
            Some(client.status(StatusRequest {}).await.ok()?.into_inner())
        })
    }

    fn client(&self) -> SpiffeWorkloadApiClient<tonic::transport::Channel> {
        let _within = self.runtime.enter();
        SpiffeWorkloadApiClient::new(signet_uds::connect(&self.daemons.path("run/workload.sock")).unwrap())
    }

    fn stream(&self) -> Result<Streaming<X509svidResponse>, Status> {
        let mut client = self.client();
        let answer = client.fetch_x509svid(with_header(X509svidRequest {}));
        Ok(self.runtime.block_on(answer)?.into_inner())
    }

    fn next(&self, stream: &mut Streaming<X509svidResponse>) -> Result<Vec<X509svid>, Status> {
        let next = self
            .runtime
            .block_on(async { timeout(PATIENCE, stream.message()).await });
        Ok(next.unwrap()?.unwrap().svids)
    }

    /// What a workload that asks now gets.
    fn fetch(&self) -> Result<Vec<X509svid>, Status> {
        self.next(&mut self.stream()?)
    }

    /// What it gets from an agent that has just been restarted, with something for it.
    fn fetch_again(&self) -> Vec<X509svid> {
        let mut got = Vec::new();
        until("the agent has something", || {
            got = self.fetch().unwrap_or_default();
            !got.is_empty()
        });
        got
    }

    /// SIGKILL for both; the agent comes back alone.
    fn restart_alone(&mut self) {
        self.daemons.kill_ca();
        self.restart();
    }

    fn restart(&mut self) {
        self.daemons.kill_agent();
        self.daemons.start_agent();
        until("the agent answers", || self.status().is_some());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.daemons.path("signet-agent.log")).unwrap()
    }
}

fn with_header<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request
        .metadata_mut()
        .insert("workload.spiffe.io", "true".parse().unwrap());
    request
}

fn id(path: &str) -> String {
    format!("spiffe://{DOMAIN}{path}")
}

fn ids(svids: &[X509svid]) -> Vec<&str> {
    svids.iter().map(|svid| svid.spiffe_id.as_str()).collect()
}

#[test]
fn a_restarted_agent_serves_what_is_still_valid_while_there_is_no_ca_and_goes_on_with_it_afterwards() {
    let mut site = Site::with(2, &[]);
    let before = site.fetch_again();
    let revision = site.status().unwrap().revision;
    for _ in 0..2 {
        site.restart_alone();
        assert_eq!(site.fetch_again(), before, "certificates and keys");
    }
    let status = site.status().unwrap();
    assert!(!status.ca_connected && status.svids == 2 && status.custody.unwrap().restored == 2);
    assert_eq!(status.revision, revision);
    let bundles = site.runtime.block_on(async {
        let mut client = SpiffeWorkloadApiClient::new(
            signet_uds::connect(&site.daemons.path("run/workload.sock")).unwrap(),
        );
        let stream = client.fetch_jwt_bundles(with_header(JwtBundlesRequest {})).await;
        stream.unwrap().into_inner().message().await.unwrap().unwrap()
    });
    assert!(bundles.bundles.contains_key(&format!("spiffe://{DOMAIN}")));

    let mut stream = site.stream().unwrap();
    assert_eq!(site.next(&mut stream).unwrap(), before);
    site.daemons.start_ca();
    site.register("/later");
    let mut now = site.next(&mut stream).unwrap();
    while now.len() < 3 {
        now = site.next(&mut stream).unwrap();
    }
    assert_eq!(now[..2], before[..], "nothing was issued anew");
    assert_eq!(now[2].spiffe_id, id("/later"));
    let log = site.log();
    assert!(!log.contains("panicked") && log.contains("going on with the state of the life before"));
}

#[test]
fn an_identity_that_was_removed_meanwhile_is_redacted_when_the_ca_is_back_and_never_comes_again() {
    let mut site = Site::with(2, &[]);
    site.daemons.kill_agent();
    site.daemons.signet(&["ca", "deregister", &id("/w0")]);
    site.restart_alone();
    let mut stream = site.stream();
    until("the agent has something", || {
        stream = site.stream();
        stream.is_ok()
    });
    let mut stream = stream.unwrap();
    assert_eq!(
        ids(&site.next(&mut stream).unwrap()),
        [id("/w0"), id("/w1")],
        "nobody could tell it"
    );
    site.daemons.start_ca();
    assert_eq!(ids(&site.next(&mut stream).unwrap()), [id("/w1")]);
    site.keeps(1);
    site.restart_alone();
    assert_eq!(ids(&site.fetch_again()), [id("/w1")]);
}

#[test]
fn what_was_revoked_before_stays_revoked_in_the_next_life() {
    let mut site = Site::with(2, &[]);
    site.daemons.signet(&[
        "ca",
        "revoke",
        "--spiffe-id",
        &id("/w0"),
        "--reason",
        "leaked",
        "--yes",
    ]);
    until("it is withdrawn", || {
        site.fetch().is_ok_and(|svids| svids.len() == 1)
    });
    // Without waiting for the state: what is revoked is written down before that.
    site.restart_alone();
    assert_eq!(ids(&site.fetch_again()), [id("/w1")]);
    site.restart();
    assert_eq!(ids(&site.fetch_again()), [id("/w1")]);
}

#[test]
fn a_state_that_was_tampered_with_is_refused_with_its_reason_and_removed_and_the_ca_mends_it() {
    let mut site = Site::with(1, &[]);
    let before = site.fetch_again();
    let file = site.daemons.path("agent/kept-state");
    site.daemons.kill_ca();
    site.daemons.kill_agent();
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    site.restart();
    site.fetch().unwrap_err();
    assert!(!file.exists());
    let log = site.log();
    assert!(log.contains("it is not what this agent wrote last"), "{log}");
    site.daemons.start_ca();
    assert_ne!(site.fetch_again(), before);
    site.keeps(1);
}

#[test]
fn what_has_ended_is_not_served_by_the_next_life() {
    let mut site = Site::with(1, &["--svid-ttl=10s"]);
    site.daemons.kill_ca();
    site.daemons.kill_agent();
    site.runtime
        .block_on(async { tokio::time::sleep(Duration::from_secs(11)).await });
    site.restart();
    site.fetch().unwrap_err();
    // The kernel has dropped the key by itself.
    let log = site.log();
    assert!(log.contains("what it is sealed under has gone"), "{log}");
    assert!(!site.daemons.path("agent/kept-state").exists());
}

#[test]
fn an_agent_that_is_to_keep_nothing_has_nothing_in_its_next_life() {
    let mut site = Site::with(1, &[]);
    let file = site.daemons.path("agent/kept-state");
    assert!(file.exists());
    site.daemons.agent_options.push("--keep-state=none".to_owned());
    site.restart();
    assert!(!file.exists());
    site.fetch_again();
    site.restart_alone();
    site.fetch().unwrap_err();
    assert!(!file.exists() && site.status().unwrap().custody.unwrap().state() == State::Off);
}
