//! The audit stream: nothing is done that it lacks, and nothing in it is a secret.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::Value;
use signet_ca::{AuditLog, Operations, Storage};
use signet_proto::ca::v1::{
    IssueX509SvidRequest, ListNodesRequest, RegisterRequest, RevokeRequest, StatusRequest,
    revoke_request::Subject,
};
use tempfile::TempDir;
use tonic::Code;

use crate::running::{Running, request};

const WEB: &str = "spiffe://td/ns/shop/sa/web";

async fn audited(log: &Path) -> Running {
    let operations = Operations {
        audit: Some(AuditLog::File(log.to_owned())),
        ..Operations::default()
    };
    let directory = tempfile::tempdir().unwrap();
    Running::configured(Storage::Memory, directory, |config| {
        config.operations = operations;
    })
    .await
    .unwrap()
}

pub(crate) fn lines(log: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(log).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "half a line");
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Until a record is there: those that nobody waits for come a little later.
pub(crate) async fn wait_for(log: &Path, is: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..500 {
        if let Some(found) = lines(log).into_iter().find(|line| is(line)) {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it is not there: {:#?}", lines(log));
}

fn of(lines: &[Value], call: &str, outcome: &str) -> Value {
    let found = lines
        .iter()
        .find(|line| line["call"] == call && line["outcome"] == outcome);
    found
        .unwrap_or_else(|| panic!("no {call} {outcome} in {lines:#?}"))
        .clone()
}

#[tokio::test]
async fn a_change_is_written_down_before_and_after_with_who_and_what() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("audit.log");
    let ca = audited(&log).await;
    let token = ca.token("n1", &[]).await.unwrap();
    ca.attest_with(&token).await.unwrap();
    ca.register(WEB, "n1", "unix:uid:1000").await.unwrap();
    // On the disk by the time of the answer, without any waiting.
    let there = lines(&log);
    let begun = of(&there, "Register", "begun");
    let done = of(&there, "Register", "done");
    assert_eq!(begun["event"], "operator.call");
    assert_eq!(begun["id"], done["id"]);
    assert!(begun["seq"].as_u64() < done["seq"].as_u64());
    assert_eq!(begun["who"]["uid"], rustix::process::geteuid().as_raw());
    assert_eq!(begun["who"]["role"], "admin");
    assert_eq!(begun["what"]["spiffe_id"], WEB);
    assert_eq!(begun["what"]["selectors"][0], "unix:uid:1000");
    let attested = there
        .iter()
        .find(|line| line["event"] == "node.attested")
        .unwrap();
    assert_eq!(attested["what"]["node"], "n1");
    assert!(attested["who"]["caller"].as_str().unwrap().starts_with("token "));
    let change = wait_for(&log, |line| line["what"]["kind"] == "registration").await;
    assert_eq!(change["event"], "registry.change");
    assert_eq!(change["who"]["uid"], begun["who"]["uid"]);
    assert!(change["what"]["before"].is_null() && change["what"]["after"].is_string());
    let node = wait_for(&log, |line| line["what"]["kind"] == "node").await;
    assert!(node["who"]["caller"].as_str().unwrap().starts_with("token "));
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(!text.contains(&token), "the token is a secret");
    let opened = &lines(&log)[0];
    assert_eq!(
        (&opened["event"], &opened["seq"]),
        (&"audit.opened".into(), &1.into())
    );
    ca.stop().await;
    assert_eq!(lines(&log).last().unwrap()["event"], "audit.closed");
}

#[tokio::test]
async fn refusals_are_written_down_with_their_reason() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("audit.log");
    let ca = audited(&log).await;
    let mut node = ca.node("n1", &[]).await;
    let other = ca.node("n2", &[]).await;
    let registration = ca.register(WEB, "n2", "unix:uid:1000").await.unwrap();
    let call = IssueX509SvidRequest {
        registration: registration.id,
        csr: request().1,
    };
    node.client.issue_x509_svid(call).await.unwrap_err();
    let refused = wait_for(&log, |line| line["call"] == "IssueX509Svid").await;
    assert_eq!(
        (&refused["outcome"], &refused["code"]),
        (&"refused".into(), &"permission_denied".into())
    );
    assert_eq!(refused["who"]["spiffe_id"], "spiffe://td/signet/node/n1");
    assert!(refused["reason"].as_str().unwrap().contains("not of the node n1"));
    ca.register("spiffe://td/signet/x", "n1", "unix:uid:1")
        .await
        .unwrap_err();
    let refused = of(&lines(&log), "Register", "refused");
    assert_eq!(refused["code"], "invalid_argument");
    let mut operator = ca.operator.clone();
    let revoke = RevokeRequest {
        subject: Some(Subject::SpiffeId(WEB.to_owned())),
        reason: "key-compromise".to_owned(),
        ..RevokeRequest::default()
    };
    operator.revoke(revoke).await.unwrap();
    assert_eq!(of(&lines(&log), "Revoke", "done")["what"]["spiffe_id"], WEB);
    operator.list_nodes(ListNodesRequest {}).await.unwrap();
    wait_for(&log, |line| {
        line["call"] == "ListNodes" && line["outcome"] == "done"
    })
    .await;
    ca.attest_with("garbage").await.unwrap_err();
    let stranger = wait_for(&log, |line| {
        line["call"] == "Attest" && line["outcome"] == "refused"
    })
    .await;
    assert!(stranger["who"].get("spiffe_id").is_none());
    let of_the_stranger = |line: &&Value| line["call"] == "Attest" && line["outcome"] == "refused";
    assert_eq!(lines(&log).iter().filter(of_the_stranger).count(), 1);
    drop(other);
}

#[tokio::test]
async fn a_log_that_was_renamed_goes_on_in_a_new_file() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("audit.log");
    let ca = audited(&log).await;
    ca.node("n1", &[]).await;
    let old = directory.path().join("audit.log.1");
    std::fs::rename(&log, &old).unwrap();
    ca.server.reopen_audit_log();
    ca.register(WEB, "n1", "unix:uid:1000").await.unwrap();
    let there = lines(&log);
    assert_eq!(there[0]["event"], "audit.opened");
    of(&there, "Register", "done");
    assert!(lines(&old).iter().all(|line| line["call"] != "Register"));
    // The numbers go on: nothing is missing between the two.
    let last = lines(&old).last().unwrap()["seq"].as_u64().unwrap();
    assert_eq!(there[0]["seq"].as_u64().unwrap(), last + 1);
}

/// A file system of a few kilobytes.
struct Small(TempDir);

impl Small {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        mount(
            "tmpfs",
            directory.path(),
            "tmpfs",
            MountFlags::empty(),
            c"size=64k,mode=0700",
        )
        .unwrap();
        Self(directory)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn fill(&self) -> PathBuf {
        let path = self.path().join("filler");
        let _full = std::fs::write(&path, vec![0; 1024 * 1024]);
        path
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = unmount(self.path(), UnmountFlags::DETACH);
    }
}

#[tokio::test]
async fn what_cannot_be_written_down_is_not_done_and_looking_goes_on() {
    let small = Small::new();
    let log = small.path().join("audit.log");
    let ca = audited(&log).await;
    ca.node("n1", &[]).await;
    let token = ca.token("n2", &[]).await.unwrap();
    let filler = small.fill();
    // What is left of the last page of the file may take a few more.
    let mut refused = None;
    for number in 0..50 {
        let made = ca
            .register(&format!("spiffe://td/w{number}"), "n1", "unix:uid:1")
            .await;
        if let Err(status) = made {
            refused = Some((number, status));
            break;
        }
    }
    let Some((made, status)) = refused else {
        panic!("all calls were written down")
    };
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("audit log"), "{status}");
    let mut operator = ca.operator.clone();
    let status = operator.status(StatusRequest {}).await.unwrap().into_inner();
    assert_eq!(status.registrations, made, "the refused one was not made");
    // What a smaller record could still take is no matter: the last write failed, so nobody is admitted.
    ca.register(WEB, "n1", "unix:uid:1").await.unwrap_err();
    let attest = ca.attest_with(&token).await.unwrap_err();
    assert_eq!(attest.code(), Code::Unavailable);
    lines(&log);
    std::fs::remove_file(filler).unwrap();
    let late = RegisterRequest {
        spiffe_id: WEB.to_owned(),
        node: "n1".to_owned(),
        selectors: vec!["unix:uid:1".to_owned()],
        ..RegisterRequest::default()
    };
    operator.register(late).await.unwrap();
    of(&lines(&log), "Register", "done");
    let lost = wait_for(&log, |line| line["event"] == "audit.lost").await;
    assert!(lost["what"]["records"].as_u64().unwrap() >= 1, "{lost}");
    ca.attest_with(&token).await.unwrap(); // It was not used up.
}

#[tokio::test]
async fn a_ca_whose_audit_log_cannot_be_opened_does_not_start() {
    let directory = tempfile::tempdir().unwrap();
    let operations = Operations {
        audit: Some(AuditLog::File("/nonexistent/audit.log".into())),
        ..Operations::default()
    };
    let started = Running::configured(Storage::Memory, directory, |config| {
        config.operations = operations;
    })
    .await;
    let Err(error) = started else {
        panic!("it started");
    };
    assert!(format!("{error:#}").contains("audit log"), "{error:#}");
}
