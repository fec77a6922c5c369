//! `signet ca revoke`, `ban`, `evict` and what belongs to them.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use signet_proto::ca::v1::revoke_request::Subject;
use signet_proto::ca::v1::{
    BanNodeRequest, EvictNodeRequest, GetCrlRequest, ListRevocationsRequest, ReopenRequest, RevokeRequest,
    RevokeResponse,
};

use crate::args::Global;
use crate::clients::Ca;
use crate::failure::Failure;
use crate::output::Output;
use crate::view::revocation::{CrlView, Deed, EffectView, ReopenedView, RevocationsView};

/// Shown at the end of the help of `revoke`.
const AFTER: &str = "\
Give one of --serial, --spiffe-id, --authority, or --node (the global option).

What it does, within a moment on every node that follows the CA's view: keys of revoked SVIDs are
wiped, the Workload API withdraws them, proofs made with them are deleted, so that live
connections stop, and handshakes and sessions with them are refused. Nodes that are away hear of it
when they come back.

  --serial      one certificate; its workload gets a new one at once
  --spiffe-id   all that was issued to the ID so far; nothing new until `signet ca reopen`, or at once
                with --reissue
  --node        the node's SVID and every certificate that was issued to it; it may attest anew
  --authority   all that a signing key has signed which the CA does not publish any more; for those that it does there is
                `signet ca authority revoke`

Examples:
  signet ca revoke --serial 3fa9… --reason key-compromise
  signet ca revoke --spiffe-id spiffe://cluster.local/ns/shop/sa/web --reason 'image was tampered with'
  signet ca revoke --node n2 --reason 'disk was copied' --yes";

/// The part of `signet ca` that takes back.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Revoke certificates: they count no more, and traffic that rests on them stops.
    Revoke(RevokeArguments),
    /// Let a revoked SPIFFE ID have new certificates; what was revoked stays so.
    Reopen {
        /// The SPIFFE ID.
        spiffe_id: String,
    },
    /// List revocations and bans.
    Revocations,
    /// Revoke a node and keep it out until it is evicted.
    Ban(NodeArguments),
    /// Revoke a node and forget it: it may attest anew with a new token. Lifts a ban.
    Evict(NodeArguments),
    /// Write the certificate revocation list (RFC 5280) as PEM, for those who do not run an agent.
    Crl {
        /// Write it as DER into this file instead.
        #[arg(long, value_name = "FILE")]
        der: Option<PathBuf>,
    },
}

/// Arguments of `signet ca revoke`.
#[derive(Debug, Args)]
#[command(after_help = AFTER, group = ArgGroup::new("subject").args(["serial", "spiffe_id", "authority"]))]
pub(crate) struct RevokeArguments {
    /// A certificate's serial number, hexadecimal.
    #[arg(long, value_name = "HEX")]
    serial: Option<String>,
    /// A SPIFFE ID.
    #[arg(long, value_name = "ID")]
    spiffe_id: Option<String>,
    /// Subject key identifier of a signing certificate, hexadecimal.
    #[arg(long, value_name = "HEX")]
    authority: Option<String>,
    /// With --spiffe-id: new certificates may be issued at once.
    #[arg(long, requires = "spiffe_id")]
    reissue: bool,
    /// Also what the CA knows nothing of: after its database was put back to an earlier state, or of an earlier authority.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    why: Why,
}

/// Arguments of `signet ca ban` and `signet ca evict`.
#[derive(Debug, Args)]
pub(crate) struct NodeArguments {
    /// The node's name.
    name: String,
    #[command(flatten)]
    why: Why,
}

#[derive(Debug, Args)]
struct Why {
    /// Why: others will see it. A reason code of RFC 5280 (key-compromise, superseded, …) also stands in the list.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

/// Runs a subcommand.
pub(crate) async fn run(command: &Command, ca: &Ca, global: &Global, output: &Output) -> Result<(), Failure> {
    let mut client = ca.client.clone();
    match command {
        Command::Revoke(arguments) => revoke(ca, arguments, global, output).await,
        Command::Ban(arguments) => ban(ca, arguments, output).await,
        Command::Evict(arguments) => evict(ca, arguments, output).await,
        Command::Reopen { spiffe_id } => {
            let request = ReopenRequest {
                spiffe_id: spiffe_id.clone(),
            };
            let entry = ca.daemon.answer(client.reopen(request)).await?;
            output.show(&ReopenedView::from(entry))
        }
        Command::Revocations => {
            let answer = ca
                .daemon
                .answer(client.list_revocations(ListRevocationsRequest {}))
                .await?;
            output.show(&RevocationsView::from(answer))
        }
        Command::Crl { der } => {
            let list = ca.daemon.answer(client.get_crl(GetCrlRequest {})).await?;
            if let Some(path) = der {
                std::fs::write(path, &list.der)
                    .map_err(|error| Failure::Failed(format!("cannot write {}: {error}", path.display())))?;
            }
            if output.is_json() || der.is_some() {
                return output.show(&CrlView::from(list));
            }
            output.write(&list.pem)
        }
    }
}

async fn revoke(
    ca: &Ca,
    arguments: &RevokeArguments,
    global: &Global,
    output: &Output,
) -> Result<(), Failure> {
    let subjects = [
        arguments.serial.clone().map(Subject::Serial),
        arguments.spiffe_id.clone().map(Subject::SpiffeId),
        arguments.authority.clone().map(Subject::Authority),
        global.node.clone().map(Subject::Node),
    ];
    let mut given = subjects.into_iter().flatten();
    let (Some(subject), None) = (given.next(), given.next()) else {
        return Err(Failure::Usage(
            "give one of --serial, --spiffe-id, --node and --authority".to_owned(),
        ));
    };
    let request = |rehearse| RevokeRequest {
        subject: Some(subject.clone()),
        reason: arguments.why.reason.clone(),
        reissue: arguments.reissue,
        rehearse,
        force: arguments.force,
    };
    let call = async |rehearse| {
        ca.daemon
            .answer(ca.client.clone().revoke(request(rehearse)))
            .await
    };
    carry_out(Deed::Revoke, &arguments.why, output, call).await
}

async fn ban(ca: &Ca, arguments: &NodeArguments, output: &Output) -> Result<(), Failure> {
    let request = |rehearse| BanNodeRequest {
        node: arguments.name.clone(),
        reason: arguments.why.reason.clone(),
        rehearse,
    };
    let call = async |rehearse| {
        ca.daemon
            .answer(ca.client.clone().ban_node(request(rehearse)))
            .await
    };
    carry_out(Deed::Ban, &arguments.why, output, call).await
}

async fn evict(ca: &Ca, arguments: &NodeArguments, output: &Output) -> Result<(), Failure> {
    let request = |rehearse| EvictNodeRequest {
        node: arguments.name.clone(),
        reason: arguments.why.reason.clone(),
        rehearse,
    };
    let call = async |rehearse| {
        ca.daemon
            .answer(ca.client.clone().evict_node(request(rehearse)))
            .await
    };
    carry_out(Deed::Evict, &arguments.why, output, call).await
}

/// Says what will happen, asks a person, and does it.
async fn carry_out(
    deed: Deed,
    why: &Why,
    output: &Output,
    call: impl AsyncFn(bool) -> Result<RevokeResponse, Failure>,
) -> Result<(), Failure> {
    if !why.yes {
        let plan = EffectView::new(deed, call(true).await?);
        confirm(&plan.announcement())?;
    }
    output.show(&EffectView::new(deed, call(false).await?))
}

pub(crate) fn confirm(announcement: &str) -> Result<(), Failure> {
    let mut err = std::io::stderr().lock();
    // Standard error may be closed: then nobody reads the question, and the answer decides.
    let _ = writeln!(err, "{announcement}");
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::Usage(
            "nothing was done: there is no terminal to ask on; say --yes".to_owned(),
        ));
    }
    let _ = write!(err, "Type `yes` to go on: ").and_then(|()| err.flush());
    let mut answer = String::new();
    let read = stdin.lock().read_line(&mut answer);
    read.map_err(|error| Failure::Failed(format!("nothing was done: cannot read the answer: {error}")))?;
    if answer.trim() == "yes" {
        Ok(())
    } else {
        Err(Failure::Failed("nothing was done".to_owned()))
    }
}
