//! `signet ca federation`: whose bundles are followed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use signet_proto::ca::v1::{
    DefederateRequest, FederateRequest, FederationEntry, ListFederationRequest, RefreshFederationRequest,
};

use crate::clients::Ca;
use crate::failure::Failure;
use crate::output::Output;
use crate::view::federation::{FederationView, RemovedView, TrustDomainView};

/// How long the CA may take to ask an endpoint: longer than it gives that one.
const PATIENCE: Duration = Duration::from_secs(20);

/// Largest file that is read, bytes: as much as the CA takes.
const LONGEST: u64 = 1024 * 1024;

const AFTER: &str = "\
Examples:
  signet ca federation add b.example --url https://bundle.b.example/ --profile https_web
  signet ca federation add c.example --url https://192.0.2.7:8443/ --profile https_spiffe \\
      --endpoint-spiffe-id spiffe://c.example/signet/ca --bundle c.json
  signet ca register spiffe://a.example/web --on n1 --selector unix:uid:33 --federates-with b.example
  signet ca federation list
  signet ca federation remove b.example

The first bundle of a Signet is what `signet ca bundle --format spiffe` says there. See docs/federation.md.";

/// Arguments of `signet ca federation`.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Follow the bundle of another trust domain, for workloads that are registered with --federates-with.
    Add {
        /// The trust domain.
        #[arg(value_name = "TRUST-DOMAIN")]
        trust_domain: String,
        /// Its bundle endpoint: https, without a user.
        #[arg(long, value_name = "URL")]
        url: String,
        /// How the endpoint shows that it is the right one.
        #[arg(long, value_enum, value_name = "PROFILE")]
        profile: Profile,
        /// Whose SVID the endpoint shows (`https_spiffe`).
        #[arg(
            long,
            value_name = "SPIFFE-ID",
            required_if_eq("profile", "https_spiffe"),
            conflicts_with = "web_ca"
        )]
        endpoint_spiffe_id: Option<String>,
        /// A first bundle in SPIFFE's format (a JWK set). With `https_spiffe` it is what the endpoint is believed by.
        #[arg(long, value_name = "FILE")]
        bundle: Option<PathBuf>,
        /// Certificate authorities of a private web PKI, PEM, in place of those that the CA's system trusts (`https_web`).
        #[arg(long, value_name = "FILE")]
        web_ca: Option<PathBuf>,
    },
    /// List the trust domains that are followed.
    List,
    /// Show a trust domain that is followed in full.
    Show {
        /// The trust domain.
        #[arg(value_name = "TRUST-DOMAIN")]
        trust_domain: String,
        /// Write its bundle instead, as it was fetched.
        #[arg(long)]
        bundle: bool,
    },
    /// Stop following a trust domain: its bundle is taken from all workloads at once.
    Remove {
        /// The trust domain.
        #[arg(value_name = "TRUST-DOMAIN")]
        trust_domain: String,
    },
    /// Ask a trust domain's endpoint now.
    Refresh {
        /// The trust domain.
        #[arg(value_name = "TRUST-DOMAIN")]
        trust_domain: String,
    },
}

/// Profiles of bundle endpoints, as the standard calls them.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Profile {
    /// By a web certificate for its host name.
    HttpsWeb,
    /// By an X.509-SVID.
    HttpsSpiffe,
}

impl Profile {
    fn as_str(self) -> &'static str {
        match self {
            Self::HttpsWeb => "https_web",
            Self::HttpsSpiffe => "https_spiffe",
        }
    }
}

/// Runs a subcommand.
pub(crate) async fn run(arguments: &Arguments, ca: &Ca, output: &Output) -> Result<(), Failure> {
    let mut client = ca.client.clone();
    match &arguments.command {
        Command::Add {
            trust_domain,
            url,
            profile,
            endpoint_spiffe_id,
            bundle,
            web_ca,
        } => {
            let request = FederateRequest {
                trust_domain: trust_domain.clone(),
                url: url.clone(),
                profile: profile.as_str().to_owned(),
                endpoint_spiffe_id: endpoint_spiffe_id.clone().unwrap_or_default(),
                web_ca: match web_ca {
                    Some(path) => String::from_utf8(read(path)?)
                        .map_err(|_| Failure::Usage(format!("{} is not PEM", path.display())))?,
                    None => String::new(),
                },
                bundle: match bundle {
                    Some(path) => read(path)?,
                    None => Vec::new(),
                },
            };
            let made = ca.daemon.answer(client.federate(request)).await?;
            output.show(&TrustDomainView::from(made))
        }
        Command::List => output.show(&FederationView::from(list(ca, "").await?)),
        Command::Show { trust_domain, bundle } => {
            let found = list(ca, trust_domain).await?.pop().unwrap_or_default();
            match (bundle, found.document.is_empty()) {
                (false, _) => output.show(&TrustDomainView::from(found)),
                (true, false) => output.write(&format!("{}\n", found.document.trim_end())),
                (true, true) => Err(Failure::Failed(format!(
                    "there is no bundle of `{trust_domain}` yet; `signet ca federation refresh {trust_domain}` asks for it"
                ))),
            }
        }
        Command::Remove { trust_domain } => {
            let request = DefederateRequest {
                trust_domain: trust_domain.clone(),
            };
            let gone = ca.daemon.answer(client.defederate(request)).await?;
            output.show(&RemovedView::from(gone))
        }
        Command::Refresh { trust_domain } => {
            let request = RefreshFederationRequest {
                trust_domain: trust_domain.clone(),
            };
            let asked = client.refresh_federation(request);
            let fetched = ca.daemon.answer_within(PATIENCE, asked).await?;
            output.show(&TrustDomainView::from(fetched))
        }
    }
}

/// One in full, or all (an empty name).
async fn list(ca: &Ca, trust_domain: &str) -> Result<Vec<FederationEntry>, Failure> {
    let request = ListFederationRequest {
        trust_domain: trust_domain.to_owned(),
    };
    Ok(ca
        .daemon
        .answer(ca.client.clone().list_federation(request))
        .await?
        .entries)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed =
        |error: std::io::Error| Failure::Usage(format!("{} cannot be read: {error}", path.display()));
    let size = path.metadata().map_err(failed)?.len();
    if size > LONGEST {
        return Err(Failure::Usage(format!(
            "{} has {size} bytes, at most {LONGEST} are read",
            path.display()
        )));
    }
    std::fs::read(path).map_err(failed)
}
