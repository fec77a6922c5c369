//! `signet ca authority`: the life of the CA's signing keys.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use signet_proto::ca::v1::{
    ActivateAuthorityRequest, AuthorityStepResponse, ListAuthoritiesRequest, PrepareAuthorityRequest,
    RetireAuthorityRequest, RevokeAuthorityRequest, TaintAuthorityRequest,
};

use crate::args::name_of;
use crate::clients::Ca;
use crate::command::authority_files;
use crate::command::revocation::confirm;
use crate::failure::Failure;
use crate::output::Output;
use crate::view::authority::{AuthoritiesView, Step, StepView};

const AFTER: &str = "\
An authority is prepared (published, signs nothing), active (signs; there is one of each kind), old (what it signed
counts), tainted (what it signed is being replaced), and at its end retired, or revoked together with all that it signed.
The CA takes the steps of a planned rotation by itself; these are for those who cannot wait.

A planned rotation by hand:
  signet ca authority prepare x509
  signet ca authority list                       who lacks it, and when it may sign
  signet ca authority activate x509
Signed by another CA (--upstream files):
  signet ca authority csr ca.csr                 have it signed, with the root's certificate at the chain's end
  signet ca authority import chain.pem
  signet ca authority activate x509
A key that others may know:
  signet ca authority prepare x509
  signet ca authority activate x509 --now-that-nodes-know
  signet ca authority taint x509 3fa9…           nodes replace at once what it signed
  signet ca authority revoke x509 3fa9… --reason key-compromise

See docs/rotation.md.";

/// Arguments of `signet ca authority`.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List authorities: what each does, who lacks it, what comes next.
    List,
    /// Make another authority and publish it. It signs nothing yet.
    Prepare {
        /// What it is to sign.
        kind: Kind,
    },
    /// Make a key, and write a request for its certificate, for another CA to sign (PKCS #10, PEM).
    Csr {
        /// Where to; standard output without it.
        file: Option<PathBuf>,
    },
    /// Take the certificate that another CA has made of such a request, as a prepared authority.
    Import {
        /// Certificates, PEM: the authority's own first, those above it in order, the self-signed root last.
        chain: PathBuf,
    },
    /// Let one sign from now on, in place of the one that does. Refused before it has been published for long enough.
    Activate {
        /// What it signs.
        kind: Kind,
        /// Which one [default: the prepared one].
        id: Option<String>,
        /// As soon as every node says that it has it, although those who poll the bundle (federated trust domains, validators of
        /// JWT-SVIDs) may not have it yet.
        #[arg(long)]
        now_that_nodes_know: bool,
        /// Only say what would happen.
        #[arg(long)]
        rehearse: bool,
    },
    /// Have nodes replace at once all that one signed. It still counts.
    Taint {
        /// What it signs.
        kind: Kind,
        /// Which one.
        id: String,
        #[command(flatten)]
        how: How,
    },
    /// Take one out of the bundle after all that it signed has ended.
    Retire {
        /// What it signs.
        kind: Kind,
        /// Which one.
        id: String,
        #[command(flatten)]
        how: How,
    },
    /// Take one out of the bundle at once: nothing that it signed counts any more.
    Revoke {
        /// What it signs.
        kind: Kind,
        /// Which one.
        id: String,
        /// Why: others will see it.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Although nodes still have SVIDs that it signed: those have to attest anew.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        how: How,
    },
}

/// How a step is taken that cannot be undone.
#[derive(Debug, Args)]
struct How {
    /// Only say what would happen.
    #[arg(long)]
    rehearse: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

/// What an authority signs.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// X.509-SVIDs.
    X509,
    /// JWT-SVIDs.
    Jwt,
    /// WIT-SVIDs (signet-ca run --experimental-wit-svid).
    Wit,
}

/// Runs a subcommand.
pub(crate) async fn run(arguments: &Arguments, ca: &Ca, output: &Output) -> Result<(), Failure> {
    let client = ca.authorities.clone();
    match &arguments.command {
        Command::List => {
            let call = client.clone().list_authorities(ListAuthoritiesRequest {}).await;
            let list = ca.daemon.answer(async { call }).await?;
            output.show(&AuthoritiesView::from(list))
        }
        Command::Prepare { kind } => {
            let request = PrepareAuthorityRequest { kind: name_of(kind) };
            let done = ca
                .daemon
                .answer(client.clone().prepare_authority(request))
                .await?;
            output.show(&StepView::new(Step::Prepare, false, done))
        }
        Command::Csr { file } => authority_files::csr(file.as_deref(), ca, output).await,
        Command::Import { chain } => authority_files::import(chain, ca, output).await,
        Command::Activate {
            kind,
            id,
            now_that_nodes_know,
            rehearse,
        } => {
            let request = ActivateAuthorityRequest {
                kind: name_of(kind),
                id: id.clone().unwrap_or_default(),
                acknowledged: *now_that_nodes_know,
                rehearse: *rehearse,
            };
            let done = ca
                .daemon
                .answer(client.clone().activate_authority(request))
                .await?;
            output.show(&StepView::new(Step::Activate, *rehearse, done))
        }
        Command::Taint { kind, id, how } => {
            let call = async |rehearse| {
                let request = TaintAuthorityRequest {
                    kind: name_of(kind),
                    id: id.clone(),
                    rehearse,
                };
                ca.daemon.answer(client.clone().taint_authority(request)).await
            };
            carry_out(Step::Taint, how, output, call).await
        }
        Command::Retire { kind, id, how } => {
            let call = async |rehearse| {
                let request = RetireAuthorityRequest {
                    kind: name_of(kind),
                    id: id.clone(),
                    rehearse,
                };
                ca.daemon.answer(client.clone().retire_authority(request)).await
            };
            carry_out(Step::Retire, how, output, call).await
        }
        Command::Revoke {
            kind,
            id,
            reason,
            force,
            how,
        } => {
            let call = async |rehearse| {
                let request = RevokeAuthorityRequest {
                    kind: name_of(kind),
                    id: id.clone(),
                    reason: reason.clone(),
                    rehearse,
                    force: *force,
                };
                ca.daemon.answer(client.clone().revoke_authority(request)).await
            };
            carry_out(Step::Revoke, how, output, call).await
        }
    }
}

/// Says what will happen, asks a person, and does it.
async fn carry_out(
    step: Step,
    how: &How,
    output: &Output,
    call: impl AsyncFn(bool) -> Result<AuthorityStepResponse, Failure>,
) -> Result<(), Failure> {
    if how.rehearse {
        return output.show(&StepView::new(step, true, call(true).await?));
    }
    if !how.yes {
        let plan = StepView::new(step, true, call(true).await?);
        confirm(&plan.announcement())?;
    }
    output.show(&StepView::new(step, false, call(false).await?))
}
