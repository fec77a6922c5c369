//! `signet encryption`.

use std::time::{Duration, Instant};

use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use signet_proto::ca::v1::SetEncryptionRequest;
use signet_proto::view::v1::EncryptionMode;
use tokio::time::sleep;

use crate::args::Global;
use crate::clients::Node;
use crate::failure::Failure;
use crate::output::Output;
use crate::target::Target;
use crate::view::encryption::{EncryptionView, NodeEncryption, Settled, mode_name, settled};

/// How often nodes are asked.
const POLL: Duration = Duration::from_millis(100);

/// Shown at the end of the help.
const AFTER: &str = "\
Switching takes three steps between every two nodes (both can receive, both send encrypted, the
old way is retired), so that no connection breaks. `set` waits until every node that it can ask has
taken the last one.

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
pub(crate) async fn run(arguments: &Arguments, global: &Global, output: &Output) -> Result<(), Failure> {
    let target = Target::new(global)?;
    match arguments.command {
        Command::Status => output.show(&EncryptionView {
            nodes: ask_all(&target).await?,
        }),
        Command::Set {
            mode,
            no_wait,
            timeout,
        } => {
            let mode = mode.into();
            set(&target, mode).await?;
            if no_wait {
                output.remark(&format!(
                    "the CA has taken it: encryption is to be {}",
                    mode_name(mode)
                ));
                return Ok(());
            }
            wait(&target, mode, Duration::from_secs(timeout), output).await
        }
    }
}

async fn set(target: &Target, mode: EncryptionMode) -> Result<(), Failure> {
    let request = SetEncryptionRequest { mode: mode.into() };
    target
        .ca
        .daemon
        .answer(target.ca.client.clone().set_encryption(request))
        .await?;
    Ok(())
}

/// Waits for every node at hand, showing how far they are.
async fn wait(
    target: &Target,
    mode: EncryptionMode,
    patience: Duration,
    output: &Output,
) -> Result<(), Failure> {
    let started = Instant::now();
    let bar = bar(target.nodes.len(), output);
    loop {
        let nodes = ask_all(target).await?;
        let behind: Vec<_> = nodes
            .iter()
            .filter_map(|node| match settled(mode, node) {
                Settled::Yes => None,
                Settled::Not(what) => Some(format!("{} {what}", node.node)),
            })
            .collect();
        bar.set_position(u64::try_from(nodes.len() - behind.len()).unwrap_or(0));
        bar.set_message(behind.first().cloned().unwrap_or_default());
        if behind.is_empty() {
            bar.finish_and_clear();
            output.show(&EncryptionView { nodes })?;
            output.remark(&format!(
                "encryption is {} after {:.1?}",
                mode_name(mode),
                started.elapsed()
            ));
            return Ok(());
        }
        if started.elapsed() >= patience {
            bar.finish_and_clear();
            let what = format!(
                "after {} s these are behind: {}",
                patience.as_secs(),
                behind.join("; ")
            );
            return Err(Failure::Failed(what));
        }
        sleep(POLL).await;
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

async fn ask_all(target: &Target) -> Result<Vec<NodeEncryption>, Failure> {
    let mut nodes = Vec::with_capacity(target.nodes.len());
    for node in &target.nodes {
        nodes.push(ask(node).await?);
    }
    Ok(nodes)
}

async fn ask(node: &Node) -> Result<NodeEncryption, Failure> {
    let status = node.keyd_status().await?;
    let view = node.view().await?;
    // Every node of the view but this one.
    let others = view
        .nodes
        .iter()
        .filter(|other| other.name != view.self_node)
        .count();
    Ok(NodeEncryption::new(&node.name().await, others, status))
}
