//! `signet-ca`: arguments, logs, signals.

mod attestation_args;
mod key_args;
mod rotation_args;
mod upstream_args;
mod validate;

mod operations_args;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use attestation_args::AttestationArgs;
use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::SignedDuration;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signet_ca::{
    BundleEndpoint, Clock, Config, Database, EndpointIdentity, JwtIssuer, MAX_JWT_SVID_TTL,
    MAX_NODE_SVID_TTL, MAX_SVID_TTL, MIN_SVID_TTL, Server, Storage,
};
use signet_privileges::Capabilities;
use signet_spiffe::TrustDomain;
use signet_telemetry::LogFormat;
use tikv_jemallocator::Jemalloc;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use operations_args::OperationsArgs;

use crate::key_args::{KeyArgs, RewrapArgs};
use crate::rotation_args::RotationArgs;
use crate::upstream_args::UpstreamArgs;

/// After a storm of connections glibc's allocator keeps, in pieces between what lives on, half as much again as is in use: this one gives it
/// back within seconds.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Signet's SPIFFE CA: gives every node and workload of a trust domain its X.509-SVID, and workloads JWT-SVIDs.
///
/// Agents connect over TLS; the operator uses a Unix socket that only root and the CA's own user can open, with
/// `signet ca token`, `signet ca register` and `signet ca list`.
#[derive(Debug, Parser)]
#[command(name = "signet-ca", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the CA until it is told to end (SIGTERM or SIGINT).
    Run(Box<RunArgs>),
    /// Seal the CA's private keys under another key or passphrase.
    RewrapKeys(RewrapArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  signet-ca run --trust-domain cluster.local --data-dir /var/lib/signet-ca --listen 192.0.2.1:4240
  signet-ca run --trust-domain test.local --in-memory --listen 127.0.0.1:4240 --socket /tmp/ca.sock

Next: make a join token for the first node with
  signet ca token n1 --pod-cidr 10.244.1.0/24
and hand it to `signet-agent run` there, together with the trust bundle from `signet ca bundle`.")]
struct RunArgs {
    /// Check the configuration, and everything that it names as far as that can be without side effects; then end: 0 it is
    /// good, 1 it is not, 2 the command line cannot be understood. It may be run beside the running daemon.
    #[arg(long)]
    validate: bool,
    /// Name of the trust domain: lower-case letters, digits and . - _
    #[arg(long, value_name = "NAME")]
    trust_domain: TrustDomain,

    #[command(flatten)]
    storage: StorageArgs,

    /// Database of the registry, `sqlite:PATH` or `postgres://USER@HOST/DATABASE` [default: registry.db in the data directory].
    /// Several CAs on one PostgreSQL are one CA: give each a copy of the key files in the data directory of the first.
    #[arg(
        long,
        value_name = "URL",
        env = "SIGNET_CA_DATABASE",
        hide_env_values = true,
        requires = "data_dir",
        conflicts_with = "in_memory"
    )]
    database: Option<Database>,

    /// Address and port where agents connect.
    #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:4240")]
    listen: SocketAddr,

    /// The operator's Unix socket [default: ca.sock in the run directory].
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,

    /// Directory for sockets.
    #[arg(
        long,
        value_name = "DIR",
        env = "SIGNET_RUN_DIR",
        default_value = "/run/signet"
    )]
    run_dir: PathBuf,

    /// Life of SVIDs where a registration says nothing else, 10s to 24h.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = svid_ttl)]
    svid_ttl: Duration,

    /// Life of nodes' own SVIDs, 10s to 168h. Agents renew them at half of it, so that much outage ends no node.
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = node_svid_ttl)]
    node_svid_ttl: Duration,

    /// Life of JWT-SVIDs, 10s to 1h; shorter for a registration whose SVIDs are.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = jwt_svid_ttl)]
    jwt_svid_ttl: Duration,

    /// How long SVIDs should outlast the CA at least: agents renew early enough that this much life is always left, where it
    /// has room for it (nine tenths at most). Without it they renew at half. All replicas need the same.
    #[arg(long, value_name = "DURATION", value_parser = availability_target)]
    availability_target: Option<Duration>,

    /// Where Prometheus finds metrics, at /metrics, in plaintext and for whoever can connect: an address of the node's own
    /// (127.0.0.1:4241) or of a management network. Off unless given.
    #[arg(long, value_name = "IP:PORT", env = "SIGNET_CA_METRICS")]
    metrics_listen: Option<SocketAddr>,

    /// Start although the registry is older than what this CA has signed, because it was restored on purpose. The issuance log
    /// says so from then on, and whoever kept a later checkpoint sees it. Say it once, not in a unit file.
    #[arg(long)]
    accept_restored_registry: bool,

    #[command(flatten)]
    keys: KeyArgs,

    #[command(flatten)]
    rotation: RotationArgs,

    #[command(flatten)]
    upstream: UpstreamArgs,

    #[command(flatten)]
    endpoint: EndpointArgs,

    #[command(flatten)]
    attestation: AttestationArgs,

    /// What JWT-SVIDs have as `iss`: an https URL, below which validators that know OIDC (clouds, Vault) find the
    /// keys. A bundle endpoint with `https_web` serves both documents there; all replicas need the same.
    #[arg(long, value_name = "URL")]
    jwt_issuer: Option<JwtIssuer>,

    #[command(flatten)]
    operations: OperationsArgs,

    /// How log lines look: text or json.
    #[arg(
        long,
        value_name = "FORMAT",
        env = "SIGNET_LOG_FORMAT",
        default_value = "text"
    )]
    log_format: LogFormat,

    /// What is logged, as in `debug` or `info,signet_ca=debug`.
    #[arg(long, value_name = "FILTER", env = "SIGNET_LOG")]
    log: Option<String>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct StorageArgs {
    /// Keep the signing key and the registry in this directory. It is made with mode 0700; a looser one is refused.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Keep everything in memory. After a restart every node has to attest anew.
    #[arg(long)]
    in_memory: bool,
}

#[derive(Debug, Args)]
struct EndpointArgs {
    /// Address and port where other trust domains get the bundle.
    #[arg(id = "bundle_endpoint", long = "bundle-endpoint", value_name = "IP:PORT")]
    listen: Option<SocketAddr>,

    /// How the bundle endpoint shows who it is: by an SVID (`spiffe://NAME/signet/ca`), or by a web certificate.
    #[arg(
        id = "bundle_endpoint_profile",
        long = "bundle-endpoint-profile",
        value_enum,
        value_name = "PROFILE",
        requires = "bundle_endpoint",
        default_value_t = EndpointProfile::HttpsSpiffe
    )]
    profile: EndpointProfile,

    /// Web certificate of the bundle endpoint, PEM, leaf first; read again when it changes.
    #[arg(
        id = "bundle_endpoint_cert",
        long = "bundle-endpoint-cert",
        value_name = "FILE",
        requires = "bundle_endpoint",
        required_if_eq("bundle_endpoint_profile", "https_web")
    )]
    certificate: Option<PathBuf>,

    /// Private key of that certificate, PEM.
    #[arg(
        id = "bundle_endpoint_key",
        long = "bundle-endpoint-key",
        value_name = "FILE",
        requires = "bundle_endpoint_cert",
        required_if_eq("bundle_endpoint_profile", "https_web")
    )]
    key: Option<PathBuf>,
}

/// Profiles of bundle endpoints, as the standard calls them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum EndpointProfile {
    /// By the CA's own SVID.
    HttpsSpiffe,
    /// By a certificate of the web PKI.
    HttpsWeb,
}

impl EndpointArgs {
    fn config(self) -> anyhow::Result<Option<BundleEndpoint>> {
        let Some(listen) = self.listen else {
            return Ok(None);
        };
        let files = self.certificate.zip(self.key);
        let identity = match (self.profile, files) {
            (EndpointProfile::HttpsSpiffe, None) => EndpointIdentity::Spiffe,
            (EndpointProfile::HttpsWeb, Some((certificate, key))) => {
                EndpointIdentity::Web { certificate, key }
            }
            (EndpointProfile::HttpsSpiffe, Some(_)) => bail!(
                "with https_spiffe the bundle endpoint shows the CA's own SVID: leave --bundle-endpoint-cert and \
                 --bundle-endpoint-key out, or use --bundle-endpoint-profile https_web"
            ),
            (EndpointProfile::HttpsWeb, None) => bail!(
                "https_web needs a certificate for the endpoint's host name: --bundle-endpoint-cert and --bundle-endpoint-key"
            ),
        };
        Ok(Some(BundleEndpoint { listen, identity }))
    }
}

fn svid_ttl(text: &str) -> Result<Duration, String> {
    ttl(text, MAX_SVID_TTL).ok_or_else(|| "SVIDs live 10s to 24h; write it as 30s, 15m or 1h".to_owned())
}

fn node_svid_ttl(text: &str) -> Result<Duration, String> {
    ttl(text, MAX_NODE_SVID_TTL)
        .ok_or_else(|| "nodes' SVIDs live 10s to 168h; write it as 30s, 15m or 24h".to_owned())
}

fn jwt_svid_ttl(text: &str) -> Result<Duration, String> {
    ttl(text, MAX_JWT_SVID_TTL).ok_or_else(|| "JWT-SVIDs live 10s to 1h; write it as 30s or 5m".to_owned())
}

fn availability_target(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<SignedDuration>().ok();
    parsed
        .and_then(|parsed| Duration::try_from(parsed).ok())
        .filter(|target| *target <= MAX_NODE_SVID_TTL)
        .ok_or_else(|| "a target is a time such as 30m, 2h or 12h; 0s: none".to_owned())
}

fn ttl(text: &str, most: Duration) -> Option<Duration> {
    let parsed: SignedDuration = text.parse().ok()?;
    let ttl = Duration::try_from(parsed).ok()?;
    (MIN_SVID_TTL..=most).contains(&ttl).then_some(ttl)
}

impl RunArgs {
    fn config(self, credentials: Option<&Path>) -> anyhow::Result<Config> {
        let operations = self.operations.config(&self.trust_domain)?;
        Ok(Config {
            keys: self.keys.options(self.storage.in_memory, credentials)?,
            rotation: self.rotation.rotation(),
            upstream: self.upstream.upstream()?,
            trust_domain: self.trust_domain,
            storage: match (self.storage.data_dir, self.database) {
                (None, _) => Storage::Memory,
                (Some(directory), None) => Storage::Directory(directory),
                (Some(directory), Some(database)) => Storage::Database { directory, database },
            },
            listen: self.listen,
            socket: self.socket.unwrap_or_else(|| self.run_dir.join("ca.sock")),
            svid_ttl: self.svid_ttl,
            node_svid_ttl: self.node_svid_ttl,
            jwt_svid_ttl: self.jwt_svid_ttl,
            availability_target: self.availability_target.unwrap_or_default(),
            metrics: self.metrics_listen,
            accept_restored_registry: self.accept_restored_registry,
            bundle_endpoint: self.endpoint.config()?,
            attestation: self.attestation.config(),
            jwt_issuer: self.jwt_issuer,
            operations,
            clock: Clock::system(),
        })
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let command = Cli::parse().command;
    // Before the signing key is read: it must not end up in a core dump, nor be read by a debugger of the same user.
    signet_privileges::confine(Capabilities::empty()).context("failed to drop privileges")?;
    open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // Where systemd has put this service's credentials.
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let done = match command {
        Command::Run(run) if run.validate => return Ok(validate::run(*run, credentials.as_deref())),
        Command::Run(run) => runtime.block_on(serve(*run, credentials.as_deref())),
        Command::RewrapKeys(rewrap) => {
            signet_telemetry::init("signet-ca", LogFormat::Text, None)?;
            runtime.block_on(rewrap.run(credentials.as_deref()))
        }
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// Each agent is a connection: as many as this process may have.
fn open_files() {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // With fewer it serves fewer agents: the listener tells of each that it cannot take.
    let _ = setrlimit(Resource::Nofile, most);
}

async fn serve(run: RunArgs, credentials: Option<&Path>) -> anyhow::Result<()> {
    signet_telemetry::init("signet-ca", run.log_format, run.log.as_deref())?;
    let mut terminate = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
    let mut hangup = signal(SignalKind::hangup()).context("failed to listen for SIGHUP")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to listen for SIGINT")?;
    let mut server = Server::start(run.config(credentials)?)
        .await
        .context("the CA could not start")?;
    let failure = loop {
        tokio::select! {
            error = server.failed() => break Some(error),
            _ = terminate.recv() => break None,
            _ = interrupt.recv() => break None,
            // After a rotation.
            _ = hangup.recv() => server.reopen_audit_log(),
        }
    };
    info!("shutting down");
    server.shutdown().await;
    failure.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(arguments: &[&str]) -> Result<RunArgs, clap::Error> {
        let all = ["signet-ca", "run", "--trust-domain", "td"]
            .iter()
            .chain(arguments);
        Cli::try_parse_from(all).map(|cli| match cli.command {
            Command::Run(run) => *run,
            Command::RewrapKeys(_) => panic!("another command"),
        })
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn storage_is_chosen_and_chosen_once() {
        assert!(parse(&[]).is_err());
        assert!(parse(&["--in-memory", "--data-dir", "/x"]).is_err());
        assert_eq!(
            parse(&["--in-memory"]).unwrap().config(None).unwrap().storage,
            Storage::Memory
        );
        let directory = parse(&["--data-dir", "/x"]).unwrap().config(None).unwrap();
        assert_eq!(directory.storage, Storage::Directory("/x".into()));
        let elsewhere = ["--data-dir", "/x", "--database", "sqlite:/y"];
        let elsewhere = parse(&elsewhere).unwrap().config(None).unwrap();
        assert!(matches!(elsewhere.storage, Storage::Database { .. }));
        assert!(parse(&["--in-memory", "--database", "sqlite:/y"]).is_err());
    }

    #[test]
    fn the_library_has_the_same_lives_where_nothing_is_said() {
        let run = parse(&["--in-memory"]).unwrap().config(None).unwrap();
        let library = Config::new(run.trust_domain.clone(), Storage::Memory, "/s");
        let lives = |config: &Config| {
            let Config {
                svid_ttl,
                node_svid_ttl,
                jwt_svid_ttl,
                availability_target,
                ..
            } = config;
            [*svid_ttl, *node_svid_ttl, *jwt_svid_ttl, *availability_target]
        };
        assert_eq!(lives(&library), lives(&run));
        assert_eq!(library.rotation, run.rotation);
    }

    #[test]
    fn the_socket_is_in_the_run_directory_unless_told() {
        let default = parse(&["--in-memory", "--run-dir", "/r"])
            .unwrap()
            .config(None)
            .unwrap();
        assert_eq!(default.socket, PathBuf::from("/r/ca.sock"));
        let told = parse(&["--in-memory", "--socket", "/s"])
            .unwrap()
            .config(None)
            .unwrap();
        assert_eq!(told.socket, PathBuf::from("/s"));
    }

    #[test]
    fn a_bundle_endpoint_shows_its_own_svid_or_the_certificate_that_it_is_given() {
        let endpoint = |more: &[&str]| {
            let arguments = ["--in-memory"].iter().chain(more).copied().collect::<Vec<_>>();
            let run = parse(&arguments).map_err(|error| error.to_string())?;
            let config = run.config(None).map_err(|error| error.to_string())?;
            Ok::<_, String>(config.bundle_endpoint.map(|endpoint| endpoint.identity))
        };
        let listen = ["--bundle-endpoint", "127.0.0.1:8443"];
        let web = ["--bundle-endpoint-profile", "https_web"];
        let files = ["--bundle-endpoint-cert", "/c", "--bundle-endpoint-key", "/k"];
        assert_eq!(endpoint(&[]), Ok(None));
        assert_eq!(endpoint(&listen), Ok(Some(EndpointIdentity::Spiffe)));
        let both = [&listen[..], &web, &files].concat();
        assert!(matches!(endpoint(&both), Ok(Some(EndpointIdentity::Web { .. }))));
        assert!(endpoint(&[&listen[..], &web].concat()).is_err());
        assert!(endpoint(&[&listen[..], &web, &files[..2]].concat()).is_err());
        assert!(
            endpoint(&[&listen[..], &files].concat())
                .unwrap_err()
                .contains("own SVID")
        );
        assert!(endpoint(&files).is_err() && endpoint(&web).is_err());
    }

    #[test]
    fn keys_are_sealed_under_what_is_named_or_what_systemd_hands_over() {
        let directory = tempfile::tempdir().unwrap();
        let kek = |more: &[&str]| {
            let arguments = ["--data-dir", "/x"]
                .iter()
                .chain(more)
                .copied()
                .collect::<Vec<_>>();
            let run = parse(&arguments).map_err(|error| error.to_string())?;
            let config = run.config(Some(directory.path()));
            config
                .map(|config| config.keys.kek.to_string())
                .map_err(|error| error.to_string())
        };
        assert_eq!(kek(&[]).unwrap(), "the key in the data directory");
        assert_eq!(
            kek(&["--key-encryption-key-file", "/k"]).unwrap(),
            "the key in /k"
        );
        assert_eq!(
            kek(&["--key-passphrase-file", "/p"]).unwrap(),
            "the passphrase in /p"
        );
        assert!(kek(&["--key-passphrase-file", "/p", "--key-encryption-key-file", "/k"]).is_err());
        assert!(kek(&["--key-manager", "memory"]).is_err());
        assert!(parse(&["--in-memory", "--key-passphrase-file", "/p"]).is_err());
        std::fs::write(directory.path().join("signet-ca.passphrase"), "words").unwrap();
        assert!(kek(&[]).unwrap().starts_with("the passphrase in"));
        assert_eq!(
            kek(&["--key-encryption-key-file", "/k"]).unwrap(),
            "the key in /k"
        );
        std::fs::write(directory.path().join("signet-ca.kek"), "key").unwrap();
        assert!(kek(&[]).unwrap_err().contains("one of them"));
    }

    #[test]
    fn the_life_of_svids_is_bounded() {
        for (text, seconds) in [("10s", 10), ("15m", 900), ("24h", 86_400)] {
            assert_eq!(svid_ttl(text), Ok(Duration::from_secs(seconds)));
        }
        for bad in ["9s", "25h", "-1h", "x", "1", ""] {
            assert!(svid_ttl(bad).is_err(), "{bad}");
        }
        assert!(node_svid_ttl("168h").is_ok() && node_svid_ttl("169h").is_err());
        assert_eq!(availability_target("45m"), Ok(Duration::from_mins(45)));
        assert!(availability_target("-1m").is_err() && availability_target("45").is_err());
        assert_eq!(jwt_svid_ttl("1h"), Ok(Duration::from_hours(1)));
        assert!(jwt_svid_ttl("61m").is_err());
    }
}
