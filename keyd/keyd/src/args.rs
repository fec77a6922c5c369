//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use signet_abi::MARK_TUNNEL;
use signet_telemetry::LogFormat;
use signet_wireguard::{Choice, DeviceConfig, DeviceName};

/// MTU of the tunnel, bytes: an underlay of 1500 less WireGuard over IPv6 (40 + 8 + 32).
const MTU: u16 = 1420;

/// Holds the node's transport keys and its encrypted tunnel.
#[derive(Debug, Parser)]
#[command(name = "signet-keyd", version, about)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the key daemon of one node.
    #[command(
        after_long_help = "signet-agent is the daemon's one client for changes; `signet encryption status` reads it.\n\n\
        All other daemons may start before, after or never. A killed key daemon leaves the tunnel as it is: the \
        kernel's WireGuard goes on working, the user-space one holds packets back until the daemon runs again."
    )]
    Run(RunArgs),
}

/// Settings of `run`.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunArgs {
    /// Check the configuration, and everything that it names as far as that can be without side effects; then end: 0 it is
    /// good, 1 it is not, 2 the command line cannot be understood. It may be run beside the running daemon.
    #[arg(long)]
    pub(crate) validate: bool,
    /// Directory of the node's sockets: makes keyd.sock, and keyd.json to know its peers again after a restart.
    #[arg(
        long,
        value_name = "DIR",
        env = "SIGNET_RUN_DIR",
        default_value = "/run/signet"
    )]
    pub(crate) run_dir: PathBuf,
    /// Directory in which signet-meshd pins the kernel maps.
    #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf/signet")]
    pub(crate) bpffs: PathBuf,
    /// Which WireGuard: `auto` (the kernel's if it has one), `kernel` or `userspace`.
    #[arg(long, value_name = "WHICH", default_value = "auto")]
    pub(crate) implementation: Choice,
    /// Name of the tunnel's interface; signet-meshd looks for `sgwg0`.
    #[arg(long, value_name = "NAME", default_value = "sgwg0")]
    pub(crate) device: DeviceName,
    /// UDP port of the tunnel.
    #[arg(long, value_name = "PORT", default_value_t = 51871, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: u16,
    /// Where Prometheus finds metrics, at /metrics, in plaintext and for whoever can connect: an address of the node's own
    /// (127.0.0.1:4252) or of a management network. Off unless given.
    #[arg(long, value_name = "IP:PORT", env = "SIGNET_KEYD_METRICS")]
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// `text` or `json`.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// What to log, e.g. `info` or `signet_keyd=debug`.
    #[arg(long, value_name = "FILTER", env = "SIGNET_LOG")]
    pub(crate) log: Option<String>,
}

impl RunArgs {
    /// What the device should be.
    pub(crate) fn device(&self) -> DeviceConfig {
        DeviceConfig {
            name: self.device.clone(),
            port: self.port,
            fwmark: MARK_TUNNEL,
            mtu: MTU,
        }
    }

    /// The wanted filter, with the WireGuard engine held to warnings whatever was asked for: some of its types print
    /// preshared keys.
    pub(crate) fn log_filter(&self) -> String {
        format!("{},gotatun=warn", self.log.as_deref().unwrap_or("info"))
    }
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
    fn the_engine_never_logs_more_than_warnings() {
        let Command::Run(args) = Cli::try_parse_from(["signet-keyd", "run", "--log", "trace"])
            .unwrap()
            .command;
        assert!(args.log_filter().ends_with(",gotatun=warn"));
    }
}
