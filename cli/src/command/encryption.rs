//! `signet encryption`.

use std::time::{Duration, Instant};

use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use signet_proto::ca::v1::{SetEncryptionRequest, StatusRequest};
use signet_proto::view::v1::EncryptionMode;
use tokio::time::sleep;

use crate::args::Global;
use crate::clients::{Ca, Node};
use crate::command::heard::Heard;
use crate::failure::{DONE, FAILED, Failure, UNREACHABLE};
use crate::output::Output;
use crate::target::Target;
use crate::view::encryption::{
    Behind, EncryptionView, NodeEncryption, Settled, mode_name, settled, taken, unfinished,
};

/// How often nodes are asked.
const POLL: Duration = Duration::from_millis(100);

/// How long nodes are waited for that do not answer, when all others are done.
const SILENCE: Duration = Duration::from_secs(10);

/// Shown at the end of the help.
const AFTER: &str = "\
Switching takes three steps between every two nodes (both can receive, both send encrypted, the
old way is retired), so that no connection breaks. `set` tells the CA, which from then on holds the
nodes to it, and waits until every node that it can ask has taken the last step. Exit codes 1 and 3
say that the CA has taken it and that some nodes have not yet, or do not answer; they follow by
themselves.

Examples:
  signet encryption status
  signet --lab demo encryption set wireguard
  signet encryption set off --no-wait";

/// Arguments of `signet encryption`.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show each node's mode, device and peers.
    Status,
    /// Switch encryption of the whole cluster, at the CA.
    Set {
        /// Between nodes.
        mode: Mode,
        /// Return as soon as the CA has taken it.
        #[arg(long)]
        no_wait: bool,
        /// How long to wait for the nodes, seconds.
        #[arg(long, default_value_t = 60)]
        timeout: u64,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Mode {
    /// Plaintext.
    Off,
    /// `WireGuard`, kernel or user space, whichever the node has.
    Wireguard,
}

impl From<Mode> for EncryptionMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Off => Self::Off,
            Mode::Wireguard => Self::Wireguard,
        }
    }
}

/// Runs a subcommand.
pub(crate) async fn run(arguments: &Arguments, global: &Global, output: &Output) -> Result<u8, Failure> {
    let target = Target::new(global)?;
    match arguments.command {
        Command::Status => {
            let heard = Heard::from(&target, ask).await?;
            let code = heard.tell(output);
            output.show(&EncryptionView { nodes: heard.answers })?;
            Ok(code)
        }
        Command::Set {
            mode,
            no_wait,
            timeout,
        } => {
            let mode = mode.into();
            set(&target.ca, mode).await?;
            if no_wait {
                output.remark(&format!("{}; the nodes follow", taken(mode)));
                return Ok(DONE);
            }
            wait(&target, mode, Duration::from_secs(timeout), output).await
        }
    }
}

/// Tells the CA. Where its answer is lost, it is asked what holds now.
async fn set(ca: &Ca, mode: EncryptionMode) -> Result<(), Failure> {
    let request = SetEncryptionRequest { mode: mode.into() };
    let answer = ca.daemon.answer(ca.client.clone().set_encryption(request)).await;
    let Err(failure @ Failure::Unreachable { .. }) = answer else {
        return answer.map(drop);
    };
    let status = ca.daemon.answer(ca.client.clone().status(StatusRequest {})).await;
    match status.map(|status| status.cluster.unwrap_or_default().encryption()) {
        Ok(found) if mode_name(found) == mode_name(mode) => Ok(()),
        Ok(_) | Err(_) => Err(failure),
    }
}

/// Waits for every node at hand, showing how far they are.
async fn wait(
    target: &Target,
    mode: EncryptionMode,
    patience: Duration,
    output: &Output,
) -> Result<u8, Failure> {
    let started = Instant::now();
    let bar = bar(target.nodes.len(), output);
    loop {
        let mut nodes = Vec::with_capacity(target.nodes.len());
        let mut behind = Vec::new();
        for node in &target.nodes {
            let name = node.name().await;
            match ask(node, &name).await {
                Ok(found) => {
                    if let Settled::Not(what) = settled(mode, &found) {
                        behind.push(Behind::waiting(name, what));
                    }
                    nodes.push(found);
                }
                Err(failure) => behind.push(Behind::silent(name, &failure)),
            }
        }
        bar.set_position(u64::try_from(target.nodes.len() - behind.len()).unwrap_or(0));
        bar.set_message(behind.first().map(ToString::to_string).unwrap_or_default());
        let elapsed = started.elapsed();
        // Whoever can be asked is done: the others are not waited for to the end.
        let only_silent = behind.iter().all(|node| node.is_silent) && elapsed >= patience.min(SILENCE);
        if !behind.is_empty() && elapsed < patience && !only_silent {
            sleep(POLL).await;
            continue;
        }
        bar.finish_and_clear();
        if !nodes.is_empty() {
            output.show(&EncryptionView { nodes })?;
        }
        if behind.is_empty() {
            output.remark(&format!("encryption is {} after {elapsed:.1?}", mode_name(mode)));
            return Ok(DONE);
        }
        let done = target.nodes.len() - behind.len();
        output.warn(&unfinished(mode, done, &behind, elapsed.as_secs()));
        return Ok(if behind.iter().any(|node| node.is_silent) {
            UNREACHABLE
        } else {
            FAILED
        });
    }
}

/// A bar on standard error, if that is a terminal.
fn bar(nodes: usize, output: &Output) -> ProgressBar {
    if output.is_json() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(nodes as u64);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} of {len} nodes  {msg}") {
        bar.set_style(style);
    }
    bar
}

async fn ask(node: &Node, name: &str) -> Result<NodeEncryption, Failure> {
    let status = node.keyd_status().await?;
    let view = node.view().await?;
    // Every node of the view but this one.
    let others = view
        .nodes
        .iter()
        .filter(|other| other.name != view.self_node)
        .count();
    Ok(NodeEncryption::new(name, others, status))
}
