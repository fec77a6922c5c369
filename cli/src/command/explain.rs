//! `signet explain`.

use clap::Args;
use signet_proto::mesh::v1::ExplainRequest;

use crate::args::Global;
use crate::clients::Node;
use crate::command::identity::is_named;
use crate::failure::Failure;
use crate::output::Output;
use crate::target::Target;
use crate::view::explain::{ExplainView, NodeExplanation};

/// Shown at the end of the help.
const AFTER: &str = "\
Both ends judge: the source's node what leaves it, the destination's what reaches it. In a lab
both are asked; on a real node, run it on each.

Exit codes:
  0 allowed, 1 refused, 4 waiting for a proof or unknown, 3 a daemon cannot be reached

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
    let mut explanations = Vec::new();
    for node in ends(&target, arguments).await? {
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
        explanations.push(NodeExplanation::new(&node.name().await, answer));
    }
    let view = ExplainView::new(explanations);
    output.show(&view)?;
    Ok(view.exit_code())
}

/// The nodes that judge: those where one of the two lives. Where neither is known, the first one says so.
async fn ends<'a>(target: &'a Target, arguments: &Arguments) -> Result<Vec<&'a Node>, Failure> {
    let first = target.any_node()?;
    if target.nodes.len() == 1 {
        return Ok(vec![first]);
    }
    let endpoints = first.endpoints().await?;
    let home = |name: &str| {
        let entry = endpoints.iter().find(|entry| is_named(entry, name))?;
        target
            .nodes
            .iter()
            .find(|node| node.name.as_deref() == Some(&entry.node))
    };
    let mut ends: Vec<&Node> = Vec::new();
    for node in [home(&arguments.source), home(&arguments.destination)]
        .into_iter()
        .flatten()
    {
        if !ends.iter().any(|known| known.name == node.name) {
            ends.push(node);
        }
    }
    Ok(if ends.is_empty() { vec![first] } else { ends })
}
