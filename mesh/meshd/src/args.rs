//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use signet_datapath::Capacities;
use signet_endpoints::InterfaceName;
use signet_spiffe::NodeName;
use signet_telemetry::LogFormat;

/// Enforces workload identity and policy in the kernel of one node.
#[derive(Debug, Parser)]
#[command(name = "signet-meshd", version, about)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the mesh daemon of one node.
    #[command(
        after_long_help = "Needs root, or CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN, and Linux 6.6 or newer, as Signet's other daemons do. (Its \
        programs alone load from 5.15 on; before 6.6 they are attached as classic tc filters and not as tcx links.)\n\n\
        The configuration directory holds Workload and Policy documents, `*.yaml`; see `signet-meshd schema` and \
        `signet policy check FILE`. Changes are taken as they are written; a file with an error changes nothing, and \
        `signet policy list` shows the error.\n\n\
        Interfaces, signet-agent and signet-keyd may come before or after. Stopping or killing the daemon leaves what \
        it enforces in force; `signet-meshd cleanup` takes it away.\n\n\
        Example:\n  signet-meshd run --node n1 --uplink eth0 --config-dir /etc/signet/mesh"
    )]
    Run(RunArgs),
    /// Print the JSON Schema of Workload and Policy documents, for editors.
    Schema,
    /// Detach all programs and remove all maps of this node. Nothing is judged or enforced afterwards.
    Cleanup(CleanupArgs),
}

/// Settings of `run`.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunArgs {
    /// Check the configuration, and everything that it names as far as that can be without side effects; then end: 0 it is
    /// good, 1 it is not, 2 the command line cannot be understood. It may be run beside the running daemon.
    #[arg(long)]
    pub(crate) validate: bool,
    /// This node's name, as the CA knows it.
    #[arg(long, value_name = "NAME", env = "SIGNET_NODE", value_parser = node_name)]
    pub(crate) node: NodeName,
    /// Directory of Workload and Policy documents.
    #[arg(long, value_name = "DIR", default_value = "/etc/signet/mesh")]
    pub(crate) config_dir: PathBuf,
    /// Directory of the node's sockets: makes meshd.sock, follows agent.sock.
    #[arg(
        long,
        value_name = "DIR",
        env = "SIGNET_RUN_DIR",
        default_value = "/run/signet"
    )]
    pub(crate) run_dir: PathBuf,
    /// Directory, on a bpf file system, in which maps and attachments are pinned.
    #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf/signet")]
    pub(crate) bpffs: PathBuf,
    /// Interface towards the other nodes; may be given several times.
    #[arg(long = "uplink", value_name = "IFACE", required = true, value_parser = interface_name)]
    pub(crate) uplinks: Vec<InterfaceName>,
    /// How many flow events are kept for `signet flows`.
    #[arg(long, value_name = "N", default_value_t = 8192, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub(crate) flow_log: u32,
    /// Where Prometheus finds metrics, at /metrics, in plaintext and for whoever can connect: an address of the node's own
    /// (127.0.0.1:4253) or of a management network. Off unless given.
    #[arg(long, value_name = "IP:PORT", env = "SIGNET_MESHD_METRICS")]
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// `text` or `json`.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// What to log, e.g. `info` or `signet_meshd=debug`.
    #[arg(long, value_name = "FILTER", env = "SIGNET_LOG")]
    pub(crate) log: Option<String>,
    // Last: its heading is for all that follows.
    /// Sizes of the kernel maps.
    #[command(flatten)]
    pub(crate) maps: MapArgs,
}

/// Entries of the kernel maps. Another size is another, empty map at the next start: proofs are made anew, connections
/// are judged anew.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Sizes of kernel maps (another one empties the map)")]
pub(crate) struct MapArgs {
    /// Addresses and address blocks of the cluster.
    #[arg(long = "map-ipcache", value_name = "N", default_value_t = Capacities::default().ipcache, value_parser = entries())]
    pub(crate) ipcache: u32,
    /// Addresses of this node's workloads.
    #[arg(long = "map-endpoints", value_name = "N", default_value_t = Capacities::default().endpoints, value_parser = entries())]
    pub(crate) endpoints: u32,
    /// Compiled rules of this node's workloads.
    #[arg(long = "map-policy", value_name = "N", default_value_t = Capacities::default().policy, value_parser = entries())]
    pub(crate) policy: u32,
    /// Proofs of pairs. Where it is full, those give way that no packet has passed for longest, and for 30 s at least.
    #[arg(long = "map-auth", value_name = "N", default_value_t = Capacities::default().auth, value_parser = proofs())]
    pub(crate) auth: u32,
    /// Addresses of workloads on other nodes, by what these nodes say.
    #[arg(long = "map-leases", value_name = "N", default_value_t = Capacities::default().leases, value_parser = entries())]
    pub(crate) leases: u32,
    /// Other nodes.
    #[arg(long = "map-nodes", value_name = "N", default_value_t = Capacities::default().nodes, value_parser = entries())]
    pub(crate) nodes: u32,
    /// Tracked connections, of IPv4 and of IPv6 each.
    #[arg(long = "map-connections", value_name = "N", default_value_t = Capacities::default().connections, value_parser = entries())]
    pub(crate) connections: u32,
}

impl MapArgs {
    pub(crate) fn capacities(&self) -> Capacities {
        Capacities {
            ipcache: self.ipcache,
            endpoints: self.endpoints,
            policy: self.policy,
            auth: self.auth,
            leases: self.leases,
            nodes: self.nodes,
            connections: self.connections,
            ..Capacities::default()
        }
    }
}

/// Settings of `cleanup`.
#[derive(Debug, Clone, Args)]
pub(crate) struct CleanupArgs {
    /// Directory of the node's sockets, in which no signet-meshd may be running.
    #[arg(
        long,
        value_name = "DIR",
        env = "SIGNET_RUN_DIR",
        default_value = "/run/signet"
    )]
    pub(crate) run_dir: PathBuf,
    /// Directory of the pins.
    #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf/signet")]
    pub(crate) bpffs: PathBuf,
}

/// At most what a node's memory could hold.
fn entries() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(256..=4_194_304)
}

/// A few are enough to see in a lab what comes of a full map.
fn proofs() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(4..=4_194_304)
}

fn node_name(text: &str) -> Result<NodeName, String> {
    NodeName::parse(text).map_err(|error| error.to_string())
}

fn interface_name(text: &str) -> Result<InterfaceName, String> {
    InterfaceName::parse(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_uplink_is_needed_and_several_are_taken() {
        assert!(Cli::try_parse_from(["signet-meshd", "run", "--node", "n1"]).is_err());
        let cli = Cli::try_parse_from([
            "signet-meshd",
            "run",
            "--node",
            "n1",
            "--uplink",
            "a",
            "--uplink",
            "b",
        ]);
        assert!(matches!(cli.unwrap().command, Command::Run(args) if args.uplinks.len() == 2));
        assert!(Cli::try_parse_from(["signet-meshd", "run", "--node", "N_1", "--uplink", "a"]).is_err());
    }

    #[test]
    fn maps_have_their_sizes_unless_told() {
        let parse = |arguments: &[&str]| {
            let run = ["signet-meshd", "run", "--node", "n1", "--uplink", "eth0"];
            Cli::try_parse_from(run.iter().chain(arguments)).map(|cli| match cli.command {
                Command::Run(run) => run.maps.capacities(),
                Command::Schema | Command::Cleanup(_) => panic!("`run` expected"),
            })
        };
        assert_eq!(parse(&[]).unwrap(), Capacities::default());
        let larger = parse(&["--map-auth", "131072"]).unwrap();
        assert_eq!(
            (larger.auth, larger.policy),
            (131_072, Capacities::default().policy)
        );
        assert!(parse(&["--map-auth", "0"]).is_err());
    }
}
