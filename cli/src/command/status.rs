//! `signet status`.

use clap::Args;
use signet_proto::ca::v1::StatusRequest;

use crate::args::Global;
use crate::clients::{Ca, Node};
use crate::failure::{DONE, Failure};
use crate::output::Output;
use crate::target::Target;
use crate::view::status::{CaPart, NodePart, Part, StatusView};

/// Shown at the end of the help.
const AFTER: &str = "\
A daemon that does not answer is shown as down, with what to do, and the exit code is 3.

Examples:
  signet status
  signet --lab demo status
  signet --lab demo --node n1 status -o json";

/// Arguments of `signet status`.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct Arguments {}

/// Asks every daemon and shows all of them.
pub(crate) async fn run(_: &Arguments, global: &Global, output: &Output) -> Result<u8, Failure> {
    let target = Target::new(global)?;
    let mut nodes = Vec::with_capacity(target.nodes.len());
    let mut first_failure: Option<Failure> = None;
    let mut answered = false;
    for node in &target.nodes {
        let part = ask(node, &mut first_failure).await;
        answered |= part.any_up();
        nodes.push(part);
    }
    let ca = ask_ca(&target.ca).await;
    answered |= ca.is_some();
    let code = match first_failure {
        Some(failure) if !answered => return Err(failure),
        Some(failure) => failure.exit_code(),
        None => DONE,
    };
    output.show(&StatusView { nodes, ca })?;
    Ok(code)
}

async fn ask(node: &Node, first_failure: &mut Option<Failure>) -> NodePart {
    let (agent, meshd, keyd) = tokio::join!(node.agent_status(), node.mesh_status(), node.keyd_status());
    let agent = part(agent, first_failure);
    let meshd = part(meshd, first_failure);
    let keyd = part(keyd, first_failure);
    let svids = if agent.is_up() {
        node.svids().await.unwrap_or_default()
    } else {
        Vec::new()
    };
    NodePart::new(node.name.clone(), agent, meshd, keyd, &svids)
}

/// The CA is shown where its socket is at hand: on most nodes it is not, and that is no fault.
async fn ask_ca(ca: &Ca) -> Option<CaPart> {
    let status = ca
        .daemon
        .answer(ca.client.clone().status(StatusRequest {}))
        .await
        .ok()?;
    Some(CaPart::from(status))
}

fn part<T>(answer: Result<T, Failure>, first_failure: &mut Option<Failure>) -> Part<T> {
    match answer {
        Ok(status) => Part::Up(status),
        Err(failure) => {
            let why = failure.to_string();
            first_failure.get_or_insert(failure);
            Part::Down(why)
        }
    }
}
