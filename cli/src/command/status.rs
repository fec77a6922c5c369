//! `signet status`.

use clap::Args;
use signet_proto::ca::v1::StatusRequest;

use crate::args::Global;
use crate::clients::{Ca, Node};
use crate::command::heard::Missing;
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
    let mut missing = Missing::default();
    let ca = match ask_ca(&target.ca).await {
        Ok(ca) => Some(ca),
        // Most nodes have no CA, and that is no fault. A lab has one.
        Err(_) if global.lab().is_none() && !target.ca.daemon.has_socket() => None,
        Err(failure) => {
            missing.push("signet-ca".to_owned(), failure);
            None
        }
    };
    answered |= ca.is_some();
    match first_failure {
        Some(failure) if !answered => Err(failure),
        failure => {
            output.show(&StatusView { nodes, ca })?;
            let of_nodes = failure.map_or(DONE, |failure| failure.exit_code());
            Ok(missing.tell(output).max(of_nodes))
        }
    }
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

async fn ask_ca(ca: &Ca) -> Result<CaPart, Failure> {
    let mut client = ca.client.clone();
    let status = ca.daemon.answer(client.status(StatusRequest {})).await?;
    Ok(CaPart::from(status))
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
