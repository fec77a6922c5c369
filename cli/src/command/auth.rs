//! `signet auth`.

use std::time::Duration;

use clap::{Args, Subcommand};
use signet_proto::agent::v1::{ListLeasesRequest, ListProofsRequest, ListSessionsRequest, ProveRequest};

use crate::args::Global;
use crate::command::heard::{Heard, any};
use crate::command::identity::Directory;
use crate::failure::{DONE, Failure};
use crate::output::Output;
use crate::target::Target;
use crate::view::auth::{ProofRow, ProofsView, ProvenView, SessionRow, SessionsView};
use crate::view::leases::{LeaseRow, LeasesView};

mod flush;
mod watch;

/// A handshake has a deadline of its own in the agent; this one is beyond it.
const PROVE_PATIENCE: Duration = Duration::from_secs(30);

/// Shown at the end of the help.
const AFTER: &str = "\
A proof says that two identities have shown each other their SVIDs in a mutual TLS handshake
between their nodes. Where a rule says `authentication: required`, packets pass only while there
is one, and while the other side's node says over its session that the address is still its
(a lease, renewed every few seconds).

Examples:
  signet auth list                               proofs, and why the last handshake of a pair failed
  signet auth sessions                           the TLS connections between nodes that handshakes run in
  signet auth leases                             which node says what of which address, and whether it is believed
  signet auth prove shop/client shop/web         ask for a proof, as a first packet would
  signet auth watch                              what happens to proofs and leases, as it happens
  signet auth flush --pair shop/client shop/web  drop the proofs of a pair: it is proven anew";

/// Arguments of `signet auth`.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List proofs: held, under way, failed.
    List,
    /// List node sessions.
    Sessions,
    /// List leases: which addresses each node says that it has, and what of it is believed.
    Leases,
    /// Show what happens to proofs and leases, as it happens.
    Watch(watch::Arguments),
    /// Drop proofs, so that whatever needs them is proven anew.
    Flush(flush::Arguments),
    /// Ask for the proof of a pair, and wait for it.
    Prove {
        /// The side on the node that is asked: namespace/name of a workload.
        local: String,
        /// The other side: namespace/name of a workload.
        remote: String,
    },
}

/// Runs a subcommand.
pub(crate) async fn run(arguments: &Arguments, global: &Global, output: &Output) -> Result<u8, Failure> {
    let target = Target::new(global)?;
    match &arguments.command {
        Command::List => list(&target, output).await,
        Command::Sessions => sessions(&target, output).await,
        Command::Leases => leases(&target, output).await,
        Command::Watch(arguments) => watch::run(arguments, &target, output).await,
        Command::Flush(arguments) => flush::run(arguments, &target, output).await,
        Command::Prove { local, remote } => prove(&target, local, remote, output).await,
    }
}

async fn list(target: &Target, output: &Output) -> Result<u8, Failure> {
    let heard = Heard::from(target, async |node, name| {
        let answer = node
            .agent_daemon
            .answer(node.agent.clone().list_proofs(ListProofsRequest {}))
            .await?;
        let rows = answer.proofs.into_iter().map(|proof| ProofRow::new(name, proof));
        Ok(rows.collect::<Vec<_>>())
    })
    .await?;
    let code = heard.tell(output);
    output.show(&ProofsView {
        proofs: heard.answers.into_iter().flatten().collect(),
    })?;
    Ok(code)
}

async fn sessions(target: &Target, output: &Output) -> Result<u8, Failure> {
    let heard = Heard::from(target, async |node, name| {
        let answer = node
            .agent_daemon
            .answer(node.agent.clone().list_sessions(ListSessionsRequest {}))
            .await?;
        let rows = answer.sessions.into_iter();
        Ok(rows
            .map(|session| SessionRow::new(name, session))
            .collect::<Vec<_>>())
    })
    .await?;
    let code = heard.tell(output);
    output.show(&SessionsView {
        sessions: heard.answers.into_iter().flatten().collect(),
    })?;
    Ok(code)
}

async fn leases(target: &Target, output: &Output) -> Result<u8, Failure> {
    let heard = Heard::from(target, async |node, name| {
        let answer = node
            .agent_daemon
            .answer(node.agent.clone().list_leases(ListLeasesRequest {}))
            .await?;
        let rows = answer.held.into_iter().chain(answer.granted);
        Ok(rows.map(|lease| LeaseRow::new(name, lease)).collect::<Vec<_>>())
    })
    .await?;
    let code = heard.tell(output);
    output.show(&LeasesView {
        leases: heard.answers.into_iter().flatten().collect(),
    })?;
    Ok(code)
}

async fn prove(target: &Target, local: &str, remote: &str, output: &Output) -> Result<u8, Failure> {
    let directory = any(target, Directory::fetch).await?;
    let local = directory.workload(local)?;
    let remote = directory.workload(remote)?;
    let node_id = directory.node_id(&remote.node)?;
    let node = match target.nodes.as_slice() {
        [only] => only,
        several => several
            .iter()
            .find(|node| node.name.as_deref() == Some(&local.node))
            .ok_or_else(|| Failure::Failed(format!("node `{}` is not among those asked", local.node)))?,
    };
    let request = ProveRequest {
        local_identity: local.identity,
        remote_identity: remote.identity,
        node_id,
    };
    let call = async { node.agent.clone().prove(request).await };
    let proof = node.agent_daemon.answer_within(PROVE_PATIENCE, call).await?;
    let view = ProvenView {
        proof: ProofRow::new(&local.node, proof),
    };
    output.show(&view)?;
    if view.proof.is_proven() {
        Ok(DONE)
    } else {
        Err(Failure::Failed(view.proof.refusal()))
    }
}
