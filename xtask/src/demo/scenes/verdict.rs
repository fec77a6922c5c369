//! Who passes, and who does not.

use std::time::Duration;

use anyhow::{Context as _, bail};
use signet_proto::agent::v1::ListProofsRequest;
use signet_proto::mesh::v1::{FlowEvent, FlowsRequest};

use crate::demo::narrator::Narrator;
use crate::demo::stage::Stage;

/// Longer than TCP's first three repetitions of a SYN.
const PATIENCE: Duration = Duration::from_secs(10);
/// For one that is to be refused: long enough for two SYNs.
const SHORT: Duration = Duration::from_millis(1500);
/// Drop reasons (docs/reference/reasons.md).
const POLICY_DENIED: u32 = 133;
const ALWAYS_FAILS: u32 = 220;

pub(in crate::demo) async fn allowed(stage: &Stage, narrator: &mut Narrator) -> anyhow::Result<()> {
    narrator.chapter("client -> web: allowed, once both have proven who they are");
    narrator.say(
        "The rule says `authentication: required`. The first packet finds no proof: the kernel parks it and signals the\n\
         agent; the two nodes' agents let the workloads' SVIDs meet in a mutual TLS 1.3 handshake; both kernels are told;\n\
         the packet goes on.",
    );
    let web = stage.address("web", 8080)?;
    let before = stage.agent("n1").await?;
    narrator.command(&format!("signet lab exec client -- signet lab probe {web}"));
    let first = stage.ask("client", web, "first contact", PATIENCE)?;
    let connected = millis(first.contact_us);
    narrator.output(&format!("{}\nconnected after {connected}", first.answer));
    narrator.check(
        first.answered,
        "the connection is made, and web answers",
        first.error.as_deref().unwrap_or_default(),
    )?;
    let after = stage.agent("n1").await?;
    let handshakes = after.handshakes_ok - before.handshakes_ok;
    let failed = after.handshakes_failed - before.handshakes_failed;
    let took = proof_took(stage, "client", "web").await?;
    let sentence = format!(
        "first contact took {connected}, the proof in it {}; handshakes: {handshakes}",
        millis(took)
    );
    narrator.check(
        handshakes == 1 && failed == 0,
        &sentence,
        &format!("{handshakes} handshakes, {failed} failed"),
    )?;
    let second = stage.ask("client", web, "second contact", PATIENCE)?;
    let more = stage.agent("n1").await?.handshakes_ok - after.handshakes_ok;
    let sentence = format!(
        "the next connection takes {}, and no handshake",
        millis(second.contact_us)
    );
    narrator.check(
        second.answered && more == 0,
        &sentence,
        &format!("{second:?}, {more} handshakes"),
    )?;
    stage.show(narrator, &["auth", "list"])?;
    stage.show(narrator, &["auth", "sessions"])?;
    Ok(())
}

pub(in crate::demo) async fn no_rule(stage: &Stage, narrator: &mut Narrator) -> anyhow::Result<()> {
    narrator.chapter("guest -> web: no rule names it");
    refused(
        stage,
        narrator,
        "guest",
        ("web", 8080),
        POLICY_DENIED,
        "policy denied",
    )
    .await
}

pub(in crate::demo) async fn always_fail(stage: &Stage, narrator: &mut Narrator) -> anyhow::Result<()> {
    narrator.chapter("client -> vault: `authentication: always-fail`");
    refused(
        stage,
        narrator,
        "client",
        ("vault", 8200),
        ALWAYS_FAILS,
        "always fails",
    )
    .await
}

/// Asks, is refused, and finds the reason in the flows and in the explanation.
async fn refused(
    stage: &Stage,
    narrator: &mut Narrator,
    from: &str,
    (to, port): (&str, u16),
    reason: u32,
    words: &str,
) -> anyhow::Result<()> {
    let target = stage.address(to, port)?;
    narrator.command(&format!("signet lab exec {from} -- signet lab probe {target}"));
    let report = stage.ask(from, target, "let me in", SHORT)?;
    narrator.output(report.error.as_deref().unwrap_or(&report.answer));
    narrator.check(
        !report.answered,
        &format!("{from} does not get through to {to}"),
        &report.answer,
    )?;
    let node = stage
        .lab()
        .plan()
        .workload(to)
        .map(|workload| workload.node.clone())
        .context("no such workload")?;
    stage.show(narrator, &["--node", &node, "flows", "--dropped", "--last", "1"])?;
    let flow = last_drop(stage, &node, target.port()).await?;
    let seen = flow.as_ref().map_or_else(
        || "no drop".to_owned(),
        |flow| format!("{} {}", flow.reason, flow.reason_text),
    );
    let holds = flow.is_some_and(|flow| flow.reason == reason);
    narrator.check(
        holds,
        &format!("the kernel at {node} says why: {words} ({reason})"),
        &seen,
    )?;
    let (source, destination, port) = (
        format!("shop/{from}"),
        format!("shop/{to}"),
        target.port().to_string(),
    );
    let said = stage.perform(narrator, &["explain", &source, &destination, &port])?;
    narrator.check(
        said.code == 1,
        "`signet explain` says the same, and what would change it",
        &said.code.to_string(),
    )
}

/// The last packet that a node dropped on its way to a port.
async fn last_drop(stage: &Stage, node: &str, port: u16) -> anyhow::Result<Option<FlowEvent>> {
    let mut client = stage.client(node)?;
    let request = FlowsRequest {
        last: 50,
        follow: false,
        dropped: true,
    };
    let mut flows = client
        .mesh
        .flows(request)
        .await
        .context("signet-meshd does not answer")?
        .into_inner();
    let mut last = None;
    while let Some(flow) = flows.message().await.context("the flows ended")? {
        if flow.destination_port == u32::from(port) {
            last = Some(flow);
        }
    }
    Ok(last)
}

/// Microseconds from the signal to the proof of two workloads: the node that was signalled knows.
async fn proof_took(stage: &Stage, one: &str, other: &str) -> anyhow::Result<u64> {
    let plan = stage.lab().plan();
    let id = |name: &str| {
        plan.workload(name)
            .map(|workload| workload.spiffe_id(&plan.trust_domain))
    };
    for (local, remote) in [(one, other), (other, one)] {
        let (local_id, remote_id) = (id(local), id(remote));
        let node = plan
            .workload(local)
            .map(|workload| workload.node.clone())
            .unwrap_or_default();
        let mut client = stage.client(&node)?;
        let proofs = client
            .agent
            .list_proofs(ListProofsRequest {})
            .await
            .context("signet-agent does not answer")?;
        let proof = proofs.into_inner().proofs.into_iter().find(|proof| {
            Some(&proof.local) == local_id.as_ref()
                && Some(&proof.remote) == remote_id.as_ref()
                && proof.latency > 0
        });
        if let Some(proof) = proof {
            return Ok(proof.latency / 1000);
        }
    }
    bail!("neither node lists a proof of {one} and {other}")
}

fn millis(micros: u64) -> String {
    format!("{}.{} ms", micros / 1000, micros % 1000 / 100)
}
