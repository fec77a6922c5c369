//! The command line.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};
use signet_spiffe::{NodeName, SpiffeId, TrustDomain};
use signet_telemetry::LogFormat;

use crate::ahead::Mode;
use crate::devid::{DevidArgs, TpmArgs};

/// Gives the workloads of this node their identity, and proves pairs of them to the kernel.
#[derive(Debug, Parser)]
#[command(name = "signet-agent", version, about)]
pub struct Program {
    /// What to do.
    #[command(subcommand)]
    pub task: Task,
}

/// The daemon, or something for people.
#[derive(Debug, Subcommand)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one, and it is taken apart at once"
)]
pub enum Task {
    /// The daemon.
    #[command(flatten)]
    Daemon(Command),
    /// Device identities in this machine's TPM, to attest with.
    Devid(DevidArgs),
}

/// The daemon's part of the command line alone.
#[derive(Debug, Parser)]
#[command(name = "signet-agent")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the agent of one node.
    #[command(
        after_long_help = "The first start trades a join token (`signet ca token NODE`), the proof that it has a \
        certificate's key, or a device identity in its TPM, for the node's SVID, which is kept in --data-dir; later starts need none of them while it is \
        valid.\n\nAll other daemons may start before, after or \
        never: the agent keeps trying."
    )]
    Run(RunArgs),
}

/// Where the key of the kept state is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KeepState {
    /// In the kernel's keyring of the agent's user.
    Keyring,
    /// Nothing is kept.
    None,
}

/// Settings of `run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Check the configuration, and everything that it names as far as that can be without side effects; then end: 0 it is
    /// good, 1 it is not, 2 the command line cannot be understood. It may be run beside the running daemon.
    #[arg(long)]
    pub validate: bool,
    /// This node's name, a DNS label; the join token is for it.
    #[arg(long, value_name = "NAME", env = "SIGNET_NODE")]
    pub node: NodeName,
    /// Where signet-ca listens for agents; of several (separated by commas) any that answers. Host names are not
    /// looked up.
    #[arg(
        long,
        value_name = "IP:PORT",
        env = "SIGNET_CA",
        value_delimiter = ',',
        required = true
    )]
    pub ca: Vec<SocketAddr>,
    /// The trust domain's root certificates, PEM (`signet ca bundle`).
    #[arg(long, value_name = "FILE")]
    pub trust_bundle: PathBuf,
    /// The trust domain; by default the one in the first root certificate's SPIFFE ID.
    #[arg(long, value_name = "NAME")]
    pub trust_domain: Option<TrustDomain>,
    /// A file with a join token, needed while there is no valid node SVID in --data-dir. Read anew at every attempt.
    #[arg(long, value_name = "FILE")]
    pub join_token_file: Option<PathBuf>,
    /// A certificate (PEM, leaf first) of this machine's own, to attest with in place of a join token: the CA believes its
    /// authority (signet-ca run --x509pop-ca), and the operator allows it (signet ca node allow). Read anew at every attempt.
    #[arg(
        long,
        value_name = "FILE",
        requires = "x509pop_key",
        conflicts_with = "join_token_file"
    )]
    pub x509pop_cert: Option<PathBuf>,
    /// The private key of that certificate, PEM.
    #[arg(long, value_name = "FILE", requires = "x509pop_cert")]
    pub x509pop_key: Option<PathBuf>,
    /// A directory with a device identity (`signet-agent devid create`) and its certificate, to attest with by this machine's TPM:
    /// the CA believes its authority and the TPM's maker (signet-ca run --tpm-devid-ca --tpm-ek-ca), and the operator allows it
    /// (signet ca node allow --tpm-devid). Read anew at every attempt.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["join_token_file", "x509pop_cert"])]
    pub tpm_devid: Option<PathBuf>,
    /// The TPM.
    #[command(flatten)]
    pub tpm: TpmArgs,
    /// Directory for the node's own key and SVID, and for the sealed state of --keep-state (mode 0700).
    #[arg(long, value_name = "DIR", default_value = "/var/lib/signet/agent")]
    pub data_dir: PathBuf,
    /// Where the key is that the view and workloads' SVIDs are sealed under for the agent's next life, so that one that is
    /// restarted while no CA can be reached serves what is still valid: in the kernel's keyring, which no reboot leaves; or nowhere,
    /// then nothing is kept.
    #[arg(long, value_name = "WHERE", value_enum, default_value_t = KeepState::Keyring)]
    pub keep_state: KeepState,
    /// Directory of the node's sockets: makes agent.sock and workload.sock, uses meshd.sock and keyd.sock.
    #[arg(
        long,
        value_name = "DIR",
        env = "SIGNET_RUN_DIR",
        default_value = "/run/signet"
    )]
    pub run_dir: PathBuf,
    /// Directory in which signet-meshd pins the kernel maps.
    #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf/signet")]
    pub bpffs: PathBuf,
    /// Where other agents reach this one.
    #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:4250")]
    pub listen: SocketAddr,
    /// Address that other nodes dial, best first; by default that of --listen, or the one that the CA is reached from.
    #[arg(long, value_name = "IP")]
    pub advertise: Vec<IpAddr>,
    /// Which pairs are proven before their first packet: those for which a rule asks for a proof, all of them, or none. What is
    /// not proven ahead is proven by its first packet, which waits meanwhile.
    #[arg(
        long,
        value_name = "WHICH",
        env = "SIGNET_PREAUTH",
        value_enum,
        default_value_t
    )]
    pub preauth: Mode,
    /// Most pairs that are proven ahead; those that were used last are first.
    #[arg(
        long,
        value_name = "COUNT",
        env = "SIGNET_PREAUTH_PAIRS",
        default_value_t = 4096,
        value_parser = value_parser!(u32).range(1..=32_768)
    )]
    pub preauth_pairs: u32,
    /// Where Prometheus finds metrics, at /metrics, in plaintext and for whoever can connect: an address of the node's own
    /// (127.0.0.1:4251) or of a management network. Off unless given.
    #[arg(long, value_name = "IP:PORT", env = "SIGNET_AGENT_METRICS")]
    pub metrics_listen: Option<SocketAddr>,
    /// Who may act for any workload of this node, over the SPIFFE Broker API: a proxy of the node, by its SPIFFE ID. Give it
    /// several times for several. Without it the Broker API is not served.
    #[arg(long, value_name = "SPIFFE-ID")]
    pub broker: Vec<SpiffeId>,
    /// Socket of the Broker API; by default broker/broker.sock in --run-dir, in a directory that only root can enter.
    #[arg(long, value_name = "PATH")]
    pub broker_socket: Option<PathBuf>,
    /// Give workloads WIT-SVIDs, too: tokens that are bound to a key of theirs, by the Workload API's third profile. An experiment,
    /// for which signet-ca needs the same flag.
    #[arg(long)]
    pub experimental_wit_svid: bool,
    /// `text` or `json`.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// What to log, e.g. `info` or `signet_agent=debug`.
    #[arg(long, value_name = "FILTER", env = "SIGNET_LOG")]
    pub log: Option<String>,
}
