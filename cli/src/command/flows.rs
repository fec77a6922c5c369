//! `signet flows`.

use clap::Args;
use signet_proto::mesh::v1::{FlowEvent, FlowsRequest};
use tokio::sync::mpsc;

use crate::args::Global;
use crate::clients::Node;
use crate::failure::Failure;
use crate::output::Output;
use crate::target::Target;
use crate::view::flows::FlowView;

/// Events that wait for a slow terminal before the nodes are read no further.
const QUEUE: usize = 1024;

/// Shown at the end of the help.
const AFTER: &str = "\
A flow event is the first packet of a connection, its end, or a drop. Times are UTC.

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
pub(crate) async fn run(arguments: &Arguments, global: &Global, output: &Output) -> Result<(), Failure> {
    let target = Target::new(global)?;
    let request = FlowsRequest {
        last: arguments.last,
        follow: false,
        dropped: arguments.dropped,
    };
    let mut past = Vec::new();
    if !arguments.follow || target.nodes.len() > 1 {
        for node in &target.nodes {
            past.extend(collect(node, request).await?);
        }
    }
    past.sort_by_key(|flow| flow.at);
    for flow in past {
        output.show_line(&FlowView::from(flow))?;
    }
    if !arguments.follow {
        return Ok(());
    }
    // Several nodes were asked for the past above, so that it could be put in order.
    let last = if target.nodes.len() > 1 { 0 } else { arguments.last };
    follow(
        &target,
        FlowsRequest {
            last,
            follow: true,
            ..request
        },
        output,
    )
    .await
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

/// Shows the events of all nodes until one of them ends, or the reader goes away.
async fn follow(target: &Target, request: FlowsRequest, output: &Output) -> Result<(), Failure> {
    let (sender, mut receiver) = mpsc::channel(QUEUE);
    for node in &target.nodes {
        tokio::spawn(forward(node.clone(), request, sender.clone()));
    }
    drop(sender);
    while let Some(flow) = receiver.recv().await {
        output.show_line(&FlowView::from(flow?))?;
    }
    Ok(())
}

async fn forward(node: Node, request: FlowsRequest, sender: mpsc::Sender<Result<FlowEvent, Failure>>) {
    let mut client = node.mesh.clone();
    let mut stream = match node.mesh_daemon.answer(client.flows(request)).await {
        Ok(stream) => stream,
        Err(failure) => {
            // Nobody reads any more: nothing to tell.
            let _ = sender.send(Err(failure)).await;
            return;
        }
    };
    loop {
        let event = match stream.message().await {
            Ok(Some(flow)) => Ok(flow),
            Ok(None) => return,
            Err(status) => Err(node.mesh_daemon.failure(&status)),
        };
        let ended = event.is_err();
        if sender.send(event).await.is_err() || ended {
            return;
        }
    }
}
