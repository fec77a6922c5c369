//! `signet ca watch`.

use clap::{Args, ValueEnum};
use signet_proto::ca::v1::WatchRequest;

use crate::args::name_of;
use crate::clients::Ca;
use crate::failure::Failure;
use crate::output::Output;
use crate::view::watch::EventView;

/// Shown at the end of the help.
const AFTER: &str = "\
Each event is an entry of the issuance log that is no issuance: who changed what, of whichever replica, once it is
committed. Nodes appear when they attest. It goes on until it is stopped; a reader may watch. Times are UTC. What happened
before: `signet ca log show`.

Examples:
  signet ca watch
  signet ca watch --kind authority --kind revocation
  signet ca watch -o json | jq -c 'select(.kind == \"node\")'";

/// Arguments of `signet ca watch`.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct Arguments {
    /// Only these; may be given several times.
    #[arg(long = "kind", value_enum, value_name = "KIND")]
    kinds: Vec<Kind>,
}

/// What changes.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// Which workloads have which SPIFFE ID.
    Registration,
    /// Nodes: attested, reached elsewhere, gone.
    Node,
    /// Join tokens.
    JoinToken,
    /// Settings of the trust domain, its bundle among them.
    Setting,
    /// Revocations.
    Revocation,
    /// Other trust domains.
    Federation,
    /// Signing keys, and those of CAs below.
    Authority,
    /// What nodes may attest with.
    NodeEntry,
}

/// Shows events as they happen.
pub(crate) async fn run(arguments: &Arguments, ca: &Ca, output: &Output) -> Result<(), Failure> {
    let kinds = arguments.kinds.iter().map(name_of).collect();
    let mut client = ca.watch.clone();
    let mut stream = ca.daemon.answer(client.watch(WatchRequest { kinds })).await?;
    loop {
        match stream.message().await {
            Ok(Some(event)) => output.show_line(&EventView::from(event))?,
            Ok(None) => return Ok(()),
            Err(status) => return Err(ca.daemon.failure(&status)),
        }
    }
}
