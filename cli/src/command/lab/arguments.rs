//! What `signet lab` takes.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use signet_lab::Role;

/// Shown at the end of the help.
const AFTER: &str = "\
A lab is a cluster of network namespaces on this machine: nodes on an underlay bridge, workloads
behind veths, the real daemons in each node. Several labs run side by side; where one is up, its
name may be left out.

Examples:
  signet lab up demo.yaml
  signet lab status
  signet lab exec client -- curl -s http://10.244.2.10:8080/     in a workload's namespace
  signet lab exec n1 -- tcpdump -ni eth0                         in a node's
  signet lab kill n1 meshd                                       traffic goes on, and meshd comes back
  signet lab logs n1 agent
  signet lab down --all";

/// Arguments of `signet lab`.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a lab and wait until it is ready.
    Up(Up),
    /// Remove a lab: processes, namespaces, pins, files. Works whatever state it is in.
    Down {
        /// The lab.
        name: Option<String>,
        /// Every lab of this machine.
        #[arg(long, conflicts_with = "name")]
        all: bool,
    },
    /// List labs.
    List,
    /// Show a lab's nodes, workloads and processes.
    Status {
        /// The lab.
        name: Option<String>,
    },
    /// Run a command in the namespace of a node, a workload, `ca` or `net` (the underlay).
    Exec {
        /// Where.
        place: String,
        /// What; put `--` before it.
        #[arg(required = true, last = true)]
        command: Vec<String>,
    },
    /// Write a process' log.
    Logs {
        /// Node, workload or `ca`.
        place: String,
        /// agent, meshd or keyd; not needed for `ca` and workloads.
        role: Option<Role>,
    },
    /// Kill a process with SIGKILL; it is started again.
    Kill {
        /// Node, workload or `ca`.
        place: String,
        /// ca, agent, meshd, keyd or workload.
        role: Role,
        /// Keep it down until `signet lab release`.
        #[arg(long)]
        hold: bool,
    },
    /// Let a process that is kept down run again.
    Release {
        /// Node, workload or `ca`.
        place: String,
        /// ca, agent, meshd, keyd or workload.
        role: Role,
    },
    /// Write the JSON Schema of lab files.
    Schema,
    /// Keep a lab's processes running.
    #[command(hide = true)]
    Supervise {
        /// The lab.
        name: String,
    },
    /// Serve lines, pages and datagrams, with IPv4 and IPv6.
    #[command(hide = true)]
    Serve {
        /// Stands in every answer.
        #[arg(long, default_value = "signet")]
        name: String,
        /// A TCP port; may be given several times.
        #[arg(long)]
        tcp: Vec<u16>,
        /// A UDP port; may be given several times.
        #[arg(long)]
        udp: Vec<u16>,
    },
    /// Ask a server once, and measure the first contact; exits with 1 without an answer.
    #[command(hide = true)]
    Probe(Probe),
    /// Transfer blocks that come back, and check them; exits with 1 if one does not.
    #[command(hide = true)]
    Stream(Stream),
}

#[derive(Debug, Args)]
pub(super) struct Up {
    /// The lab file.
    pub(super) file: PathBuf,
    /// Another name than the file's.
    #[arg(long)]
    pub(super) name: Option<String>,
    /// Folder of the daemons' binaries; default: that of this program.
    #[arg(long)]
    pub(super) bin_dir: Option<PathBuf>,
    /// How long the daemons may take to get ready, seconds.
    #[arg(long, default_value_t = 60)]
    pub(super) deadline: u64,
    /// Remove a lab of that name first.
    #[arg(long)]
    pub(super) replace: bool,
    /// Leave what was made when it does not get ready.
    #[arg(long)]
    pub(super) keep_failed: bool,
    /// Plain networking only.
    #[arg(long)]
    pub(super) no_daemons: bool,
}

#[derive(Debug, Args)]
pub(super) struct Probe {
    /// address:port.
    pub(super) target: SocketAddr,
    /// Datagrams instead of a connection.
    #[arg(long)]
    pub(super) udp: bool,
    /// What is sent.
    #[arg(long, default_value = "hello")]
    pub(super) text: String,
    /// Give up after so many milliseconds.
    #[arg(long, default_value_t = 5000)]
    pub(super) timeout_ms: u64,
    /// Try anew after so many milliseconds; default for TCP: as the kernel does (1 s, 2 s, 4 s).
    #[arg(long)]
    pub(super) retry_ms: Option<u64>,
}

#[derive(Debug, Args)]
pub(super) struct Stream {
    /// address:port.
    pub(super) target: SocketAddr,
    /// Stands in every block.
    #[arg(long, default_value = "signet")]
    pub(super) text: String,
    /// How long, milliseconds.
    #[arg(long, default_value_t = 5000)]
    pub(super) duration_ms: u64,
    /// Time between two blocks, microseconds.
    #[arg(long, default_value_t = 1000)]
    pub(super) interval_us: u64,
    /// Broken once nothing comes back for so many milliseconds.
    #[arg(long, default_value_t = 10_000)]
    pub(super) patience_ms: u64,
}
