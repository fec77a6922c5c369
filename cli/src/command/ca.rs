//! `signet ca`.

use clap::{Args, Subcommand, ValueEnum};
use signet_proto::ca::v1::{
    BundleRequest, CreateJoinTokenRequest, ListIdentitiesRequest, ListNodesRequest, ListRevocationsRequest,
    StatusRequest,
};

use crate::args::Global;
use crate::command::authority;
use crate::command::ca_log;
use crate::command::federation;
use crate::command::import;
use crate::command::node_entries;
use crate::command::registrations;
use crate::command::revocation;
use crate::command::watch;
use crate::failure::Failure;
use crate::output::Output;
use crate::target::Target;
use crate::view::ca::{
    IdentitiesView, NodesView, RegistrationView, RegistrationsView, StatusView, TokenView,
};

/// Shown at the end of the help.
const AFTER: &str = "\
These commands speak to the CA's operator socket: run them where signet-ca runs, as its user or root.

Examples:
  signet ca token n3 --pod-cidr 10.244.3.0/24 --pod-cidr fd00:244:3::/64
  signet ca node allow n3 --x509pop dns:n3.example --pod-cidr 10.244.3.0/24
  signet ca register spiffe://cluster.local/ns/shop/sa/web --on n2 --selector endpoint:shop/web
  signet ca register spiffe://cluster.local/ns/shop/sa/web --on n2 --selector unix:uid:33 \\
      --dns-name web.shop.example --key-type rsa2048 --ttl 900
  signet ca update spiffe://cluster.local/ns/shop/sa/web --hint public --jwt-ttl 60
  signet ca list
  signet ca deregister spiffe://cluster.local/ns/shop/sa/web
  signet ca bundle > bundle.pem                  what an agent is started with
  signet ca bundle --format spiffe               what another trust domain is given
  signet ca revoke --serial 3fa9… --reason key-compromise
  signet ca ban n3 --reason stolen               keep a node out
  signet ca register spiffe://cluster.local/ca/west --on n9 --selector unix:uid:990 --downstream
                                                 let that process run a CA below this one
  signet ca watch -o json                        changes as they happen

Selectors: endpoint:<namespace>/<name>, unix:uid:<n>, unix:gid:<n>, unix:supplementary_gid:<n>,
unix:path:<file>, unix:sha256:<hex>, unix:parent:path:<file>, cgroup:path:<path>,
systemd:unit:<unit>; see docs/attestation.md";

/// Arguments of `signet ca`.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the trust domain, its root, and what has been issued.
    Status,
    /// Write the trust bundle.
    Bundle {
        /// In which form.
        #[arg(long, value_enum, default_value_t = Format::Pem)]
        format: Format,
    },
    /// Make a single-use token with which a node's agent attests.
    Token {
        /// The node's name.
        name: String,
        /// A range of its workloads' addresses; may be given several times.
        #[arg(long = "pod-cidr", value_name = "CIDR")]
        pod_cidrs: Vec<String>,
        /// An address that the node may announce to other nodes beside the one that the CA sees; may be given several
        /// times. None leaves those that it may already.
        #[arg(long = "address", value_name = "IP")]
        addresses: Vec<std::net::IpAddr>,
        /// Life of the token, seconds, at most 86400.
        #[arg(long, default_value_t = 600, value_parser = token_life)]
        ttl: u32,
    },
    /// Say that workloads which match all selectors have a SPIFFE ID.
    Register {
        /// The SPIFFE ID.
        spiffe_id: String,
        /// The node it runs on.
        #[arg(long = "on", value_name = "NODE")]
        on: String,
        /// What a workload must be; may be given several times.
        #[arg(long = "selector", value_name = "SELECTOR", required = true)]
        selectors: Vec<String>,
        #[command(flatten)]
        terms: registrations::Terms,
    },
    /// Change a registration in place: what is not given stays as it is.
    Update(registrations::Update),
    /// Register what SPIRE's registration entries say.
    Import(import::Import),
    /// Delete registrations: their SVIDs are given up and their traffic stops.
    Deregister {
        /// A registration's id or the beginning of it, or a SPIFFE ID for all of its registrations.
        what: String,
    },
    /// List registrations, or nodes or identities.
    List {
        /// Nodes instead.
        #[arg(long, conflicts_with = "identities")]
        nodes: bool,
        /// Security identities instead.
        #[arg(long)]
        identities: bool,
    },
    /// Show registrations in full.
    Show {
        /// A registration's id or the beginning of it, or a SPIFFE ID.
        what: String,
    },
    #[command(flatten)]
    Revocation(revocation::Command),
    /// The life of the signing keys: prepare, activate, taint, retire, revoke.
    Authority(authority::Arguments),
    /// Follow the bundles of other trust domains.
    Federation(federation::Arguments),
    /// Say which nodes may attest without a join token, and with what.
    Node(node_entries::Arguments),
    /// Read and check the log of all that was issued and changed.
    Log(ca_log::Arguments),
    /// Show changes of registrations, nodes, authorities, revocations and settings as they happen.
    Watch(watch::Arguments),
}

fn token_life(text: &str) -> Result<u32, String> {
    registrations::life(text, 1..=86_400)
        .ok_or_else(|| "a token lives 1 to 86400 seconds; write a whole number".to_owned())
}

/// Forms of the trust bundle.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// X.509 authorities as PEM: what an agent is started with.
    Pem,
    /// X.509 authorities and JWT keys, a JWK set in SPIFFE's format: what another trust domain is given.
    Spiffe,
    /// JWT keys alone, a plain JWK set: for those who check JWT-SVIDs.
    Jwks,
}

/// Runs a subcommand.
pub(crate) async fn run(arguments: &Arguments, global: &Global, output: &Output) -> Result<(), Failure> {
    // The CA is not of a node: for `revoke`, --node says what is revoked.
    let ca = Target::ca(&global.without_node())?;
    let mut client = ca.client.clone();
    match &arguments.command {
        Command::Status => output.show(&StatusView::from(
            ca.daemon.answer(client.status(StatusRequest {})).await?,
        )),
        Command::Bundle { format } => {
            let bundle = ca.daemon.answer(client.bundle(BundleRequest {})).await?;
            match format {
                Format::Pem => output.write(&bundle.pem),
                Format::Spiffe => output.write(&format!("{}\n", bundle.spiffe)),
                Format::Jwks => output.write(&format!("{}\n", bundle.jwks)),
            }
        }
        Command::Token {
            name,
            pod_cidrs,
            addresses,
            ttl,
        } => {
            let request = CreateJoinTokenRequest {
                node: name.clone(),
                pod_cidrs: pod_cidrs.clone(),
                ttl: *ttl,
                addresses: addresses.iter().map(ToString::to_string).collect(),
            };
            let answer = ca.daemon.answer(client.create_join_token(request)).await?;
            let view = TokenView {
                node: name.clone(),
                token: answer.token,
                expires: answer.expires,
            };
            output.show(&view)?;
            output.hint(|now| view.hint(now));
            Ok(())
        }
        Command::Register {
            spiffe_id,
            on,
            selectors,
            terms,
        } => {
            let request = terms.request(spiffe_id, on, selectors);
            output.show(&RegistrationView::from(
                ca.daemon.answer(client.register(request)).await?,
            ))
        }
        Command::Update(update) => registrations::update(update, &ca, output).await,
        Command::Authority(arguments) => authority::run(arguments, &ca, output).await,
        Command::Import(import) => import::run(import, &ca, output).await,
        Command::Federation(arguments) => federation::run(arguments, &ca, output).await,
        Command::Node(arguments) => node_entries::run(arguments, &ca, output).await,
        Command::Log(arguments) => ca_log::run(arguments, &ca, output).await,
        Command::Watch(arguments) => watch::run(arguments, &ca, output).await,
        Command::Deregister { what } => registrations::deregister(&ca, what, output).await,
        Command::List { nodes: true, .. } => {
            let nodes = ca.daemon.answer(client.list_nodes(ListNodesRequest {})).await?;
            let revocations = client.list_revocations(ListRevocationsRequest {});
            let revocations = ca.daemon.answer(revocations).await?.revocations;
            output.show(&NodesView::new(nodes, &revocations))
        }
        Command::List { identities: true, .. } => {
            let answer = ca
                .daemon
                .answer(client.list_identities(ListIdentitiesRequest {}))
                .await?;
            output.show(&IdentitiesView::from(answer))
        }
        Command::List { .. } => output.show(&RegistrationsView::from(registrations::all(&ca).await?)),
        Command::Revocation(command) => revocation::run(command, &ca, global, output).await,
        Command::Show { what } => {
            for registration in registrations::find(registrations::all(&ca).await?, what)? {
                output.show_line(&RegistrationView::from(registration))?;
            }
            Ok(())
        }
    }
}
