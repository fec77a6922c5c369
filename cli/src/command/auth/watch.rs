//! `signet auth watch`.

use clap::{Args, ValueEnum};
use signet_proto::agent::v1::WatchRequest;

use crate::args::name_of;
use crate::clients::Node;
use crate::command::following::follow;
use crate::failure::Failure;
use crate::output::Output;
use crate::target::Target;
use crate::view::auth_events::EventView;

/// Shown at the end of the help.
const AFTER: &str = "\
Each line is one event at one node: a proof was made, renewed, or is gone; a handshake failed, with its cause; another node's
word of its addresses (its leases) counts again, or lapsed. It goes on until it is stopped. How a proof came about: `cold` (the
nodes had no session), `warm` (they had one), `local` (both sides are on the node), `preauth` (nobody had asked yet), `renewal`,
`peer` (the other node began). Times are UTC. Causes: docs/authentication.md.

Examples:
  signet auth watch
  signet auth watch --kind failed --kind gone
  signet auth watch -o json | jq -c 'select(.cause == \"peer-no-endpoint\")'";

/// Arguments of `signet auth watch`.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct Arguments {
    /// Only these; may be given several times.
    #[arg(long = "kind", value_enum, value_name = "KIND")]
    kinds: Vec<Kind>,
}

/// What happens.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// A pair has a proof that had none.
    Proven,
    /// A pair has a newer proof.
    Renewed,
    /// A proof is gone.
    Gone,
    /// A handshake gave no proof.
    Failed,
    /// What a node says of its addresses counts, after it did not.
    LeaseGranted,
    /// What a node said of its addresses does not count any more.
    LeaseLapsed,
}

/// Shows the events of all nodes until the last of them ends, or the reader goes away.
pub(super) async fn run(arguments: &Arguments, target: &Target, output: &Output) -> Result<u8, Failure> {
    let kinds: Vec<String> = arguments.kinds.iter().map(name_of).collect();
    let open = |node: Node| {
        let request = WatchRequest { kinds: kinds.clone() };
        async move {
            let (daemon, mut client) = (node.agent_daemon, node.agent);
            let stream = daemon.answer(client.watch(request)).await?;
            Ok((daemon, stream))
        }
    };
    follow(target, output, open, EventView::new).await
}
