//! `signet auth flush`.

use clap::{ArgGroup, Args};
use signet_proto::agent::v1::FlushRequest;

use crate::command::heard::{Heard, any};
use crate::command::identity::Directory;
use crate::failure::Failure;
use crate::output::Output;
use crate::target::Target;
use crate::view::auth_events::{FlushedRow, FlushedView};

/// Shown at the end of the help.
const AFTER: &str = "\
What needs a proof that is gone waits until the pair is proven anew, also in the middle of a connection: nothing is lost unless the
proof cannot be had any more. Each node has its own proofs: in a lab all are asked, on real nodes run it on each. The agent writes
down who asked for it. It takes root, as everything on the agent's socket does. To keep an identity out, revoke it
(`signet ca revoke`): this does not.

Examples:
  signet auth flush --pair shop/client shop/web
  signet auth flush --of spiffe://cluster.local/ns/shop/sa/web
  signet auth flush --all";

/// Arguments of `signet auth flush`.
#[derive(Debug, Args)]
#[command(after_help = AFTER, group(ArgGroup::new("which").required(true)))]
pub(crate) struct Arguments {
    /// The proofs between two workloads (namespace/name, SPIFFE ID or number of the identity), on whichever nodes.
    #[arg(long, num_args = 2, value_names = ["SRC", "DST"], group = "which")]
    pair: Vec<String>,
    /// The proofs in which an identity has a part: its SPIFFE ID, its number, or namespace/name of a workload.
    #[arg(long, value_name = "ID", group = "which")]
    of: Option<String>,
    /// All of them.
    #[arg(long, group = "which")]
    all: bool,
}

/// Drops proofs.
pub(super) async fn run(arguments: &Arguments, target: &Target, output: &Output) -> Result<u8, Failure> {
    let request = request(arguments, target).await?;
    let heard = Heard::from(target, async |node, name| {
        let mut agent = node.agent.clone();
        let answer = node.agent_daemon.answer(agent.flush(request)).await?;
        Ok(FlushedRow {
            node: name.to_owned(),
            proofs: answer.proofs,
        })
    })
    .await?;
    let code = heard.tell(output);
    output.show(&FlushedView { nodes: heard.answers })?;
    Ok(code)
}

async fn request(arguments: &Arguments, target: &Target) -> Result<FlushRequest, Failure> {
    if arguments.all {
        return Ok(FlushRequest {
            all: true,
            ..FlushRequest::default()
        });
    }
    let directory = any(target, Directory::fetch).await?;
    match (&arguments.of, arguments.pair.as_slice()) {
        (Some(identity), _) => Ok(FlushRequest {
            identity: directory.identity(identity)?,
            ..FlushRequest::default()
        }),
        (None, [one, other]) => Ok(FlushRequest {
            local_identity: directory.identity(one)?,
            remote_identity: directory.identity(other)?,
            ..FlushRequest::default()
        }),
        (None, _) => Err(Failure::Usage("a pair has two sides".to_owned())),
    }
}
