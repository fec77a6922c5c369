//! `signet ca`.

use clap::{Args, Subcommand, ValueEnum};
use signet_proto::ca::v1::{
    BundleRequest, CreateJoinTokenRequest, DeregisterRequest, ListIdentitiesRequest, ListNodesRequest,
    ListRegistrationsRequest, ListRevocationsRequest, RegisterRequest, StatusRequest,
};
use signet_proto::view::v1::Registration;

use crate::args::Global;
use crate::clients::Ca;
use crate::command::ca_log;
use crate::command::federation;
use crate::command::revocation;
use crate::failure::Failure;
use crate::output::Output;
use crate::target::Target;
use crate::view::ca::{
    DeregisteredView, IdentitiesView, NodesView, RegistrationView, RegistrationsView, StatusView, TokenView,
};

/// Shown at the end of the help.
const AFTER: &str = "\
These commands speak to the CA's operator socket: run them where signet-ca runs, as its user or root.

Examples:
  signet ca token n3 --pod-cidr 10.244.3.0/24 --pod-cidr fd00:244:3::/64
  signet ca register spiffe://cluster.local/ns/shop/sa/web --on n2 --selector endpoint:shop/web
  signet ca list
  signet ca deregister spiffe://cluster.local/ns/shop/sa/web
  signet ca bundle > bundle.pem                  what an agent is started with
  signet ca bundle --format spiffe               what another trust domain is given
  signet ca revoke --serial 3fa9… --reason key-compromise
  signet ca ban n3 --reason stolen               keep a node out

Selectors: endpoint:<namespace>/<name>, unix:uid:<n>, unix:gid:<n>, unix:path:<file>, unix:sha256:<hex>";

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
        /// Life of its SVIDs, seconds, 10 to 86400 [default: the CA's --svid-ttl].
        #[arg(long, value_parser = svid_life)]
        ttl: Option<u32>,
        /// Another trust domain whose bundle these workloads get, to check its members with; may be given several times.
        #[arg(long, value_name = "TRUST-DOMAIN")]
        federates_with: Vec<String>,
    },
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
    /// Follow the bundles of other trust domains.
    Federation(federation::Arguments),
    /// Read and check the log of all that was issued and changed.
    Log(ca_log::Arguments),
}

fn token_life(text: &str) -> Result<u32, String> {
    life(text, 1).ok_or_else(|| "a token lives 1 to 86400 seconds; write a whole number".to_owned())
}

fn svid_life(text: &str) -> Result<u32, String> {
    let why = "SVIDs live 10 to 86400 seconds; write a whole number, or leave --ttl out for the CA's default";
    life(text, 10).ok_or_else(|| why.to_owned())
}

/// Seconds, at most a day.
fn life(text: &str, least: u32) -> Option<u32> {
    text.parse().ok().filter(|ttl| (least..=86_400).contains(ttl))
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
            ttl,
            federates_with,
        } => {
            let request = RegisterRequest {
                spiffe_id: spiffe_id.clone(),
                node: on.clone(),
                selectors: selectors.clone(),
                ttl: ttl.unwrap_or(0),
                federates_with: federates_with.clone(),
            };
            output.show(&RegistrationView::from(
                ca.daemon.answer(client.register(request)).await?,
            ))
        }
        Command::Federation(arguments) => federation::run(arguments, &ca, output).await,
        Command::Log(arguments) => ca_log::run(arguments, &ca, output).await,
        Command::Deregister { what } => deregister(&ca, what, output).await,
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
        Command::List { .. } => output.show(&RegistrationsView::from(registrations(&ca).await?)),
        Command::Revocation(command) => revocation::run(command, &ca, global, output).await,
        Command::Show { what } => {
            for registration in find(registrations(&ca).await?, what)? {
                output.show_line(&RegistrationView::from(registration))?;
            }
            Ok(())
        }
    }
}

async fn deregister(ca: &Ca, what: &str, output: &Output) -> Result<(), Failure> {
    let found = find(registrations(ca).await?, what)?;
    for registration in &found {
        let request = DeregisterRequest {
            id: registration.id.clone(),
        };
        ca.daemon.answer(ca.client.clone().deregister(request)).await?;
    }
    output.show(&DeregisteredView::from(found))
}

async fn registrations(ca: &Ca) -> Result<Vec<Registration>, Failure> {
    let request = ListRegistrationsRequest {};
    Ok(ca
        .daemon
        .answer(ca.client.clone().list_registrations(request))
        .await?
        .registrations)
}

/// The registrations that a user means: all of a SPIFFE ID, or the one whose id begins so.
fn find(all: Vec<Registration>, what: &str) -> Result<Vec<Registration>, Failure> {
    let matches = |registration: &Registration| {
        registration.spiffe_id == what || (!what.is_empty() && registration.id.starts_with(what))
    };
    let found: Vec<_> = all.into_iter().filter(matches).collect();
    let ids = found
        .iter()
        .filter(|registration| registration.spiffe_id != what)
        .count();
    match (found.len(), ids) {
        (0, _) => Err(Failure::Failed(format!(
            "no registration `{what}`; `signet ca list` shows them"
        ))),
        (_, 2..) => Err(Failure::Usage(format!(
            "`{what}` is the beginning of several ids: give more of it"
        ))),
        _ => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Registration> {
        let one = |id: &str, spiffe_id: &str| Registration {
            id: id.into(),
            spiffe_id: spiffe_id.into(),
            ..Registration::default()
        };
        vec![
            one("aa-1", "spiffe://td/a"),
            one("aa-2", "spiffe://td/b"),
            one("bb-1", "spiffe://td/b"),
        ]
    }

    #[test]
    fn an_id_may_be_shortened_while_it_is_unambiguous_and_a_spiffe_id_means_all_of_its_registrations() {
        assert_eq!(find(all(), "aa-1").unwrap().len(), 1);
        assert_eq!(find(all(), "b").unwrap().first().unwrap().id, "bb-1");
        assert_eq!(find(all(), "spiffe://td/b").unwrap().len(), 2);
        assert!(find(all(), "aa").unwrap_err().to_string().contains("several"));
        assert!(
            find(all(), "")
                .unwrap_err()
                .to_string()
                .contains("no registration")
        );
    }
}
