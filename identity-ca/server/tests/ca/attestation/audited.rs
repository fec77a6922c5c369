//! The audit stream has each node that was refused: where it came from, what it said and showed, and why it was refused.

use std::path::Path;

use serde_json::Value;
use signet_ca::{AttestationConfig, AuditLog, Operations, Storage, X509Pop};
use signet_proto::ca::v1::node_evidence::Proof;
use signet_proto::ca::v1::{BanNodeRequest, NodeEvidence};

use super::device::{Device, DeviceAuthority};
use crate::audit::{lines, wait_for};
use crate::running::{Running, request};

async fn audited(machines: &DeviceAuthority, log: &Path) -> Running {
    let directory = tempfile::tempdir().unwrap();
    let authorities = machines.write(directory.path());
    Running::configured(Storage::Memory, directory, |config| {
        config.operations = Operations {
            audit: Some(AuditLog::File(log.to_owned())),
            ..Operations::default()
        };
        config.attestation = AttestationConfig {
            x509pop: Some(X509Pop {
                authorities,
                name: None,
            }),
            ..AttestationConfig::default()
        };
    })
    .await
    .unwrap()
}

impl Running {
    /// Shows something that is good for nothing, in an exchange.
    async fn show(&self, evidence: NodeEvidence) {
        let mut exchange = self.connect().await.begin().await.unwrap();
        exchange.show(evidence).await;
        exchange.next().await.unwrap_err();
    }

    /// An exchange in which the answer is of another key than the certificate's.
    async fn answer_wrongly(&self, device: &Device, node: &str) {
        let connection = self.connect().await;
        let csr = request().1;
        let mut exchange = connection.begin().await.unwrap();
        exchange.show(device.evidence(node, &csr)).await;
        let nonce = exchange.challenge().await.unwrap();
        let answer = DeviceAuthority::new().device("thief.example");
        let thief = Device {
            chain: device.chain.clone(),
            key: answer.key,
        };
        let answer = thief.answer(node, &csr, &nonce, &connection.binding);
        exchange.answer(answer).await.unwrap_err();
    }
}

/// The one refusal of an attestation whose reason has this in it.
async fn refusal(log: &Path, why: &str) -> Value {
    let of_a_node = |line: &Value| line["event"] == "node.call" && line["outcome"] == "refused";
    let told = |line: &Value| line["reason"].as_str().is_some_and(|reason| reason.contains(why));
    wait_for(log, |line| of_a_node(line) && told(line)).await;
    let all: Vec<_> = lines(log)
        .into_iter()
        .filter(|line| of_a_node(line) && told(line))
        .collect();
    let [one] = all.as_slice() else {
        panic!("not one, but {all:#?}")
    };
    assert!(
        one["who"]["address"].as_str().unwrap().starts_with("127.0.0.1:"),
        "{one}"
    );
    one.clone()
}

fn banned(node: &str) -> BanNodeRequest {
    BanNodeRequest {
        node: node.to_owned(),
        reason: "stolen".to_owned(),
        rehearse: false,
    }
}

#[tokio::test]
async fn a_key_that_opens_nothing_is_written_down_with_node_certificate_and_reason() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("audit.log");
    let machines = DeviceAuthority::new();
    let ca = audited(&machines, &log).await;
    let machine = machines.device("n1.example");
    let shown = format!("x509pop {}", signet_log::Hash::sha256(&machine.chain[0]));

    // No entry; an entry for another certificate; one who has not the key; banned; of an authority that nobody believes.
    ca.attest_by(&machine, "n1").await.map(drop).unwrap_err();
    let no_entry = refusal(&log, "may not attest").await;
    ca.allow("n1", &[], &["x509pop dns:other.example"]).await.unwrap();
    ca.attest_by(&machine, "n1").await.map(drop).unwrap_err();
    let other = refusal(&log, "dns:other.example").await;
    ca.allow("n1", &[], &["x509pop dns:n1.example"]).await.unwrap();
    ca.answer_wrongly(&machine, "n1").await;
    let thief = refusal(&log, "signature").await;
    ca.operator.clone().ban_node(banned("n1")).await.unwrap();
    ca.attest_by(&machine, "n1").await.map(drop).unwrap_err();
    let banned = refusal(&log, "banned: stolen").await;
    for (record, code) in [
        (&no_entry, "permission_denied"),
        (&other, "permission_denied"),
        (&thief, "unauthenticated"),
        (&banned, "permission_denied"),
    ] {
        assert_eq!(record["call"], "AttestNode");
        assert_eq!(record["code"], code, "{record}");
        assert_eq!(record["what"]["node"], "n1", "{record}");
        assert_eq!(record["what"]["method"], "x509pop", "{record}");
        assert_eq!(record["what"]["shown"], shown.as_str(), "{record}");
    }
    let stranger = DeviceAuthority::new().device("n2.example");
    ca.show(stranger.evidence("n2", &request().1)).await;
    let strange = refusal(&log, "authorit").await;
    assert_eq!(strange["what"]["node"], "n2");
    ca.stop().await;
}

#[tokio::test]
async fn a_join_token_that_is_no_good_is_written_down_with_what_the_node_is_not_told() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("audit.log");
    let ca = audited(&DeviceAuthority::new(), &log).await;
    let token = ca.token("n1", &[]).await.unwrap();
    let (id, secret) = token
        .strip_prefix("sgn1.")
        .and_then(|rest| rest.split_once('.'))
        .unwrap();
    let evidence = |token: &str| NodeEvidence {
        node: "n9".to_owned(),
        csr: request().1,
        proof: Some(Proof::JoinToken(token.to_owned())),
    };
    let wrong = format!("sgn1.{id}.{}", "0".repeat(64));
    ca.show(evidence(&wrong)).await;
    let wrong = refusal(&log, "the secret does not belong").await;
    ca.attest_with(&token).await.unwrap();
    ca.show(evidence(&token)).await;
    let used = refusal(&log, "used before, for the node n1").await;
    for record in [&wrong, &used] {
        assert_eq!(record["code"], "unauthenticated");
        assert_eq!(record["what"]["shown"], format!("token {id}"), "{record}");
        assert_eq!(record["what"]["method"], "join_token");
        assert_eq!(record["what"]["node"], "n9", "as it says itself");
    }
    // The call of one step says as much, and once.
    let kept_out = ca.token("n3", &[]).await.unwrap();
    ca.operator.clone().ban_node(banned("n1")).await.unwrap();
    let for_n1 = ca.attest_with(&token).await.unwrap_err();
    assert!(!for_n1.message().contains("n1"), "{for_n1}");
    ca.put_clock_ahead(std::time::Duration::from_hours(48));
    let told = ca.attest_with(&kept_out).await.unwrap_err();
    assert!(!told.message().contains("expired"), "{told}");
    let expired = refusal(&log, "n3 has expired").await;
    assert_eq!(expired["call"], "Attest");
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(!text.contains(secret), "the secret is in the audit stream");
    ca.stop().await;
}

#[tokio::test]
async fn an_exchange_that_says_nothing_or_breaks_off_is_written_down_too() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("audit.log");
    let machines = DeviceAuthority::new();
    let ca = audited(&machines, &log).await;
    let mut silent = ca.connect().await.begin().await.unwrap();
    silent.say(None).await;
    silent.next().await.unwrap_err();
    let nothing = refusal(&log, "begins with its evidence").await;
    assert!(nothing.get("what").is_none(), "{nothing}");
    let machine = machines.device("n1.example");
    let mut leaves = ca.connect().await.begin().await.unwrap();
    leaves.show(machine.evidence("n1", &request().1)).await;
    leaves.challenge().await.unwrap();
    leaves.hang_up();
    leaves.next().await.unwrap_err();
    let left = refusal(&log, "answered by an answer").await;
    assert_eq!(left["what"]["node"], "n1");
    ca.stop().await;
}
