//! `signet explain`.

use clap::Args;
use signet_proto::agent::v1::{ListProofsRequest, ListSessionsRequest, StatusRequest};
use signet_proto::mesh::v1::{ExplainRequest, ProofKey};

use crate::args::Global;
use crate::clients::Node;
use crate::command::heard::{Heard, any};
use crate::command::identity::is_named;
use crate::failure::{DONE, FAILED, Failure};
use crate::output::Output;
use crate::target::Target;
use crate::view::explain::{ExplainView, NodeExplanation, StepRow, agent_steps};

/// Shown at the end of the help.
const AFTER: &str = "\
Both ends judge: the source's node what leaves it, the destination's what reaches it. In a lab
both are asked; on a real node, run it on each.

Exit codes:
  0 allowed, 1 refused, 3 a daemon that has a say cannot be reached, 4 waiting for a proof or unknown

Examples:
  signet explain shop/client shop/web 8080
  signet explain 10.244.1.10 shop/web 53 --protocol udp";

/// Arguments of `signet explain`.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct Arguments {
    /// Who opens the connection: an address, or namespace/name of a workload.
    source: String,
    /// To whom: an address, or namespace/name of a workload.
    destination: String,
    /// The destination's port; 0 for ICMP.
    port: u16,
    /// tcp, udp or icmp.
    #[arg(short, long, default_value = "tcp", value_parser = ["tcp", "udp", "icmp"])]
    protocol: String,
}

/// Explains.
pub(crate) async fn run(arguments: &Arguments, global: &Global, output: &Output) -> Result<u8, Failure> {
    let target = Target::new(global)?;
    let target = Target {
        nodes: ends(&target, arguments).await?,
        ..target
    };
    let heard = Heard::from(&target, async |node, name| {
        let request = ExplainRequest {
            source: arguments.source.clone(),
            destination: arguments.destination.clone(),
            port: arguments.port.into(),
            protocol: arguments.protocol.clone(),
        };
        let answer = node
            .mesh_daemon
            .answer(node.mesh.clone().explain(request))
            .await?;
        let proofs = answer.proofs.clone();
        let explanation = NodeExplanation::new(name, answer);
        Ok(explanation.with_agent(about(node, proofs).await))
    })
    .await?;
    let missing = heard.tell(output);
    let view = ExplainView::new(heard.answers);
    output.show(&view)?;
    // What one end refuses the other cannot allow; anything else could still be refused by the one that is missing.
    Ok(match view.exit_code() {
        FAILED => FAILED,
        code if missing == DONE => code,
        _ => missing,
    })
}

/// What the node's agent knows of proofs that are asked for. Without it the kernel's maps have said all that counts.
async fn about(node: &Node, asked: Vec<ProofKey>) -> Vec<StepRow> {
    if asked.is_empty() {
        return Vec::new();
    }
    let mut agent = node.agent.clone();
    let proofs = node
        .agent_daemon
        .answer(agent.list_proofs(ListProofsRequest {}))
        .await;
    let mut agent = node.agent.clone();
    let sessions = node
        .agent_daemon
        .answer(agent.list_sessions(ListSessionsRequest {}))
        .await;
    let mut agent = node.agent.clone();
    let status = node.agent_daemon.answer(agent.status(StatusRequest {})).await;
    match (proofs, sessions, status) {
        (Ok(proofs), Ok(sessions), Ok(status)) => asked
            .iter()
            .flat_map(|key| agent_steps(key, &proofs.proofs, &sessions.sessions, &status))
            .collect(),
        (Err(failure), ..) | (_, Err(failure), _) | (.., Err(failure)) => {
            vec![StepRow::silent_agent(&failure.to_string())]
        }
    }
}

/// The nodes that judge: those where one of the two lives. Where neither is known, the first one says so.
async fn ends(target: &Target, arguments: &Arguments) -> Result<Vec<Node>, Failure> {
    if target.nodes.len() == 1 {
        return Ok(target.nodes.clone());
    }
    let (first, endpoints) = any(target, async |node| Ok((node.clone(), node.endpoints().await?))).await?;
    let home = |name: &str| {
        let entry = endpoints.iter().find(|entry| is_named(entry, name))?;
        target
            .nodes
            .iter()
            .find(|node| node.name.as_deref() == Some(&entry.node))
    };
    let mut ends: Vec<Node> = Vec::new();
    for node in [home(&arguments.source), home(&arguments.destination)]
        .into_iter()
        .flatten()
    {
        if !ends.iter().any(|known| known.name == node.name) {
            ends.push(node.clone());
        }
    }
    Ok(if ends.is_empty() { vec![first] } else { ends })
}
