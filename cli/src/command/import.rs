//! `signet ca import`: SPIRE's registration entries.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use signet_proto::ca::v1::{ListNodesRequest, RegisterAllRequest, RegisterOutcome};
use signet_spiffe::NodeName;

use crate::clients::Ca;
use crate::failure::Failure;
use crate::output::Output;
use crate::spire::{self, Rules};
use crate::view::import::ImportView;

/// Largest file that is read, bytes.
const LONGEST: u64 = 32 * 1024 * 1024;

/// How long the CA may take for all of them.
const PATIENCE: Duration = Duration::from_secs(20);

const AFTER: &str = "\
All entries become registrations, or none does. An entry that is registered already is passed over, so that the same file can be
imported again. What has no counterpart here is named, entry by entry; --skip goes on without such entries.

The parent of an entry says on which node it is. A parent whose path ends with the name of a node that the CA knows
(spiffe://example.org/host/n1) is that node; what others stand for, --node-map says.

Examples:
  spire-server entry show -output json > entries.json
  signet ca import entries.json --rehearse
  signet ca import entries.json --node-map spiffe://example.org/spire/agent/join_token/0f3a…=n1 \\
      --node-map spiffe://example.org/fleet/db=n2,n3
  signet ca import entries.json --skip

See docs/migrating-from-spire.md.";

/// Arguments of `signet ca import`.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct Import {
    /// What `spire-server entry show -output json` wrote, or a file for `entry create -data`; `-` is standard input.
    file: PathBuf,
    /// Show what would happen, and change nothing.
    #[arg(long)]
    rehearse: bool,
    /// Which nodes a parent ID stands for; may be given several times.
    #[arg(long = "node-map", value_name = "PARENT=NODE[,NODE]", value_parser = node_map)]
    node_map: Vec<(String, BTreeSet<NodeName>)>,
    /// Leave out entries that have no counterpart, and import the others.
    #[arg(long)]
    skip: bool,
    /// Make `admin` entries operators of the CA (--role admin).
    #[arg(long)]
    with_admin: bool,
}

fn node_map(text: &str) -> Result<(String, BTreeSet<NodeName>), String> {
    let (parent, nodes) = text
        .rsplit_once('=')
        .ok_or("write it as <parent SPIFFE ID>=<node>, or =<node>,<node>")?;
    let nodes = nodes
        .split(',')
        .map(NodeName::parse)
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())?;
    Ok((parent.to_owned(), nodes))
}

/// Runs it.
pub(crate) async fn run(import: &Import, ca: &Ca, output: &Output) -> Result<(), Failure> {
    let text = read(&import.file)?;
    let entries = spire::read(&text).map_err(|error| Failure::Usage(error.to_string()))?;
    let mut client = ca.client.clone();
    let known = ca.daemon.answer(client.list_nodes(ListNodesRequest {})).await?;
    let mut nodes = BTreeMap::<String, BTreeSet<NodeName>>::new();
    for (parent, more) in import.node_map.iter().cloned() {
        nodes.entry(parent).or_default().extend(more);
    }
    let rules = Rules {
        nodes,
        known: known
            .nodes
            .iter()
            .filter_map(|entry| NodeName::parse(&entry.node.as_ref()?.name).ok())
            .collect(),
        with_admin: import.with_admin,
    };
    let mapped: Vec<_> = entries.iter().map(|entry| spire::map(entry, &rules)).collect();
    let unmapped = mapped.iter().any(|one| one.result.is_err());
    let wanted = mapped.iter().flat_map(|one| one.result.iter().flatten()).cloned();
    let request = RegisterAllRequest {
        registrations: wanted.collect(),
        // Even if nothing comes of it, the user learns at once what else is wrong.
        rehearse: import.rehearse || (unmapped && !import.skip),
    };
    let answer = ca
        .daemon
        .answer_within(PATIENCE, client.register_all(request))
        .await?;
    let refused = |outcome: &RegisterOutcome| !outcome.refused.is_empty();
    let good = !answer.outcomes.iter().any(refused) && (import.skip || !unmapped);
    let view = ImportView::new(&mapped, answer.outcomes, answer.committed);
    output.show(&view)?;
    match (good, answer.committed || import.rehearse) {
        (true, true) => Ok(()),
        (true, false) => Err(Failure::Failed(
            "the CA did not take them, and gave no reason".to_owned(),
        )),
        (false, _) => Err(Failure::Failed(
            "nothing was imported: not all entries can be (the table says why)".to_owned(),
        )),
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    let failed =
        |error: std::io::Error| Failure::Usage(format!("{} cannot be read: {error}", path.display()));
    let mut text = String::new();
    let source: Box<dyn std::io::Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path).map_err(failed)?)
    };
    let read = source
        .take(LONGEST + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if u64::try_from(read).unwrap_or(u64::MAX) > LONGEST {
        return Err(Failure::Usage(format!(
            "{} is longer than {LONGEST} bytes: split it",
            path.display()
        )));
    }
    Ok(text)
}
