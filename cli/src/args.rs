//! The command line's shape.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use signet_spiffe::SpiffeId;

use crate::command::{auth, ca, completions, encryption, explain, flows, identity, lab, policy, status};
use crate::remote::Remote;

/// Shown at the end of `signet --help`.
const AFTER: &str = "\
Examples:
  signet status                                  how this node does, in one screen
  signet --lab demo status                       the same for every node of a lab
  signet explain shop/client shop/web 8080       why traffic passes or not, and what to do next
  signet flows --follow --dropped                what is being refused right now
  signet encryption set wireguard                encrypt between nodes, without losing a connection
  signet lab up demo.yaml                        a cluster on this machine, to try things

Exit codes of every command:
  0  done, and the answer is yes: allowed, proven, verified, good
  1  the answer is no: refused, not there, a problem found, or failed; standard error says which
  2  the command line, or a file or text that it names, cannot be understood or makes no sense
  3  a daemon cannot be reached; what the others said is shown, and who is missing is named
  4  explain only: waiting for a proof, or unknown
`signet lab exec` ends with the code of the command that it runs.";

/// See and steer Signet: identities, proofs, policies, encryption, flows.
#[derive(Debug, Parser)]
#[command(name = "signet", version, after_help = AFTER, propagate_version = true)]
#[command(arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Tables for people, or JSON with stable field names for programs.
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value_t,
        help_heading = "Global options"
    )]
    pub(crate) output: Format,
    /// Folder of the node's daemon sockets.
    #[arg(long, global = true, help_heading = "Global options")]
    #[arg(help = "Folder of the node's daemon sockets [env: SIGNET_RUN_DIR] [default: /run/signet]")]
    run_dir: Option<PathBuf>,
    /// The CA's operator socket.
    #[arg(long, global = true, help_heading = "Global options")]
    #[arg(help = "The CA's operator socket [env: SIGNET_CA_SOCKET] [default: /run/signet/ca.sock]")]
    ca_socket: Option<PathBuf>,
    /// Speak to the CA over mutual TLS at this address, with this process's own SVID from the Workload API.
    #[arg(long, global = true, value_name = "IP:PORT", help_heading = "Global options")]
    #[arg(conflicts_with_all = ["ca_socket", "lab"])]
    ca_address: Option<SocketAddr>,
    /// Which of this process's identities to show the CA of --ca-address [default: its default identity].
    #[arg(
        long = "as",
        global = true,
        value_name = "SPIFFE-ID",
        help_heading = "Global options"
    )]
    #[arg(requires = "ca_address", value_parser = spiffe_id)]
    identity: Option<SpiffeId>,
    /// Ask the daemons of this lab: all its nodes, or the one of --node.
    #[arg(long, global = true, help_heading = "Global options")]
    #[arg(help = "Ask the daemons of this lab: all its nodes, or the one of --node [env: SIGNET_LAB]")]
    lab: Option<String>,
    /// One node of the lab; for `ca revoke` the node to revoke.
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) node: Option<String>,
}

/// What the environment says is looked up here and not by clap, which would put it into every "Usage:" as if it had to be
/// written.
impl Global {
    /// Where the node's daemons are.
    pub(crate) fn run_dir(&self) -> PathBuf {
        path(self.run_dir.as_ref(), "SIGNET_RUN_DIR", "/run/signet")
    }

    /// Where the CA is.
    pub(crate) fn ca_socket(&self) -> PathBuf {
        path(self.ca_socket.as_ref(), "SIGNET_CA_SOCKET", "/run/signet/ca.sock")
    }

    /// The CA from afar, if that is meant.
    pub(crate) fn remote_ca(&self) -> Option<Remote> {
        let endpoint = std::env::var("SPIFFE_ENDPOINT_SOCKET").ok();
        let endpoint = endpoint.as_deref().and_then(|text| text.strip_prefix("unix://"));
        self.ca_address.map(|address| Remote {
            address,
            workload_api: endpoint.map_or_else(|| self.run_dir().join("workload.sock"), PathBuf::from),
            identity: self.identity.clone(),
        })
    }

    /// The same, where --node means something else than whom to ask.
    pub(crate) fn without_node(&self) -> Self {
        Self {
            node: None,
            ..self.clone()
        }
    }

    /// The lab that is meant, if one is.
    pub(crate) fn lab(&self) -> Option<String> {
        let variable = || std::env::var("SIGNET_LAB").ok();
        self.lab.clone().or_else(variable).filter(|lab| !lab.is_empty())
    }
}

fn spiffe_id(text: &str) -> Result<SpiffeId, String> {
    SpiffeId::parse(text).map_err(|error| error.to_string())
}

fn path(given: Option<&PathBuf>, variable: &str, default: &str) -> PathBuf {
    let from_environment = || std::env::var_os(variable).filter(|value| !value.is_empty());
    given.map_or_else(
        || from_environment().map_or_else(|| PathBuf::from(default), PathBuf::from),
        PathBuf::clone,
    )
}

/// What somebody types for it, which is also what daemons call it.
pub(crate) fn name_of(kind: &impl ValueEnum) -> String {
    let value = kind.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

/// How results are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns; colour on a terminal.
    #[default]
    Table,
    /// One JSON value; `flows` writes one per line.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show every daemon, map fill, certificate ages and encryption.
    Status(status::Arguments),
    /// Look at proofs and node sessions, or ask for a proof.
    Auth(auth::Arguments),
    /// List security identities: who they are, where they run.
    Identity(identity::Arguments),
    /// List the policies in force, or check a file before it is.
    Policy(policy::Arguments),
    /// See or change encryption between nodes.
    Encryption(encryption::Arguments),
    /// Show connections and drops, with identities and reasons.
    Flows(flows::Arguments),
    /// Explain whether traffic passes: which rule, which proof, what is missing.
    Explain(explain::Arguments),
    /// Operate the CA: join tokens, registrations, revocation.
    Ca(ca::Arguments),
    /// Clusters of network namespaces on this machine.
    Lab(lab::Arguments),
    /// Write a completion script for a shell.
    Completions(completions::Arguments),
}
