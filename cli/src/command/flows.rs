//! `signet flows`.

use clap::Args;
use signet_proto::mesh::v1::{FlowEvent, FlowsRequest};

use crate::args::Global;
use crate::clients::Node;
use crate::command::following::follow;
use crate::command::heard::Heard;
use crate::failure::{DONE, Failure};
use crate::output::Output;
use crate::target::Target;
use crate::view::flows::FlowView;

/// Shown at the end of the help.
const AFTER: &str = "\
A flow event is the first packet of a connection (opened), its end (closed), or a drop; at both ends, as each sees it.
What it says last is the reason with its number: `encrypted` went into the tunnel to the other node, `decrypted` came
out of it, `forwarded` passed as it was. docs/reference/reasons.md has all of them. Times are UTC.

Examples:
  signet flows                                   the last 20
  signet flows --follow --dropped                what is being refused, as it happens
  signet --lab demo flows -o json --last 100 | jq .reason_text";

/// Arguments of `signet flows`.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct Arguments {
    /// Go on showing events as they happen.
    #[arg(short, long)]
    follow: bool,
    /// How many past events of each node.
    #[arg(short = 'n', long, default_value_t = 20)]
    last: u32,
    /// Only packets that were refused.
    #[arg(short, long)]
    dropped: bool,
}

/// Shows events: past ones in order of time, new ones as they come.
pub(crate) async fn run(arguments: &Arguments, global: &Global, output: &Output) -> Result<u8, Failure> {
    let target = Target::new(global)?;
    let request = FlowsRequest {
        last: arguments.last,
        follow: false,
        dropped: arguments.dropped,
    };
    if arguments.follow && target.nodes.len() == 1 {
        return go_on(&target, request, output).await;
    }
    let heard = Heard::from(&target, async |node, _| collect(node, request).await).await?;
    let code = if arguments.follow {
        DONE
    } else {
        heard.tell(output)
    };
    let mut past: Vec<_> = heard.answers.into_iter().flatten().collect();
    past.sort_by_key(|flow| flow.at);
    for flow in past {
        output.show_line(&FlowView::from(flow))?;
    }
    if !arguments.follow {
        return Ok(code);
    }
    // The past was asked for above, so that it could be put in order.
    go_on(&target, FlowsRequest { last: 0, ..request }, output).await
}

async fn collect(node: &Node, request: FlowsRequest) -> Result<Vec<FlowEvent>, Failure> {
    let mut stream = node.mesh_daemon.answer(node.mesh.clone().flows(request)).await?;
    let mut flows = Vec::new();
    while let Some(flow) = stream
        .message()
        .await
        .map_err(|status| node.mesh_daemon.failure(&status))?
    {
        flows.push(flow);
    }
    Ok(flows)
}

/// Shows new events of all nodes.
async fn go_on(target: &Target, request: FlowsRequest, output: &Output) -> Result<u8, Failure> {
    let request = FlowsRequest {
        follow: true,
        ..request
    };
    let open = |node: Node| async move {
        let (daemon, mut client) = (node.mesh_daemon, node.mesh);
        let stream = daemon.answer(client.flows(request)).await?;
        Ok((daemon, stream))
    };
    follow(target, output, open, |_, flow| FlowView::from(flow)).await
}
