//! `signet identity`, and finding a workload by its name for other commands.

use clap::{Args, Subcommand};
use signet_proto::mesh::v1::EndpointEntry;
use signet_proto::view::v1::Update;

use crate::args::Global;
use crate::clients::Node;
use crate::command::heard::{Heard, any};
use crate::failure::Failure;
use crate::output::Output;
use crate::target::Target;
use crate::view::identity::{IdentitiesView, NodeKnowledge};

/// Shown at the end of the help.
const AFTER: &str = "\
Examples:
  signet identity list                           SPIFFE IDs, their numbers, where they run, who holds an SVID
  signet --lab demo identity list -o json";

/// Arguments of `signet identity`.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List security identities and the workloads that have them.
    List,
}

/// Runs a subcommand.
pub(crate) async fn run(arguments: &Arguments, global: &Global, output: &Output) -> Result<u8, Failure> {
    let target = Target::new(global)?;
    match arguments.command {
        Command::List => list(&target, output).await,
    }
}

async fn list(target: &Target, output: &Output) -> Result<u8, Failure> {
    let directory = any(target, Directory::fetch).await?;
    let heard = Heard::from(target, async |node, name| {
        Ok(NodeKnowledge {
            node: name.to_owned(),
            svids: node.svids().await?,
        })
    })
    .await?;
    let code = heard.tell(output);
    output.show(&IdentitiesView::new(
        &directory.view.identities,
        &directory.endpoints,
        &heard.answers,
    ))?;
    Ok(code)
}

/// What a node knows of names and numbers.
pub(crate) struct Directory {
    view: Update,
    endpoints: Vec<EndpointEntry>,
}

/// A workload, found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Workload {
    /// Security identity.
    pub(crate) identity: u32,
    /// Its node's name.
    pub(crate) node: String,
}

impl Directory {
    /// Asks a node.
    pub(crate) async fn fetch(node: &Node) -> Result<Self, Failure> {
        Ok(Self {
            view: node.view().await?,
            endpoints: node.endpoints().await?,
        })
    }

    /// The workload with this name; the namespace may be left out where that is unambiguous.
    pub(crate) fn workload(&self, name: &str) -> Result<Workload, Failure> {
        let found: Vec<_> = self
            .endpoints
            .iter()
            .filter(|entry| is_named(entry, name))
            .collect();
        match found.as_slice() {
            [entry] => {
                let identity = entry.endpoint.as_ref().map_or(0, |endpoint| endpoint.identity);
                Ok(Workload {
                    identity,
                    node: entry.node.clone(),
                })
            }
            [] => Err(Failure::Failed(format!(
                "no workload `{name}`; `signet identity list` shows them"
            ))),
            _ => Err(Failure::Usage(format!(
                "`{name}` is ambiguous: give namespace/name"
            ))),
        }
    }

    /// The number of an identity: of its SPIFFE ID, of a workload that has it, or as it is.
    pub(crate) fn identity(&self, name: &str) -> Result<u32, Failure> {
        if let Ok(number) = name.parse() {
            return Ok(number);
        }
        if name.starts_with("spiffe://") {
            let identity = self.view.identities.iter().find(|known| known.spiffe_id == name);
            let unknown = || Failure::Failed(format!("`{name}` is not registered; `signet identity list`"));
            return identity.map(|identity| identity.number).ok_or_else(unknown);
        }
        Ok(self.workload(name)?.identity)
    }

    /// The number of a node.
    pub(crate) fn node_id(&self, name: &str) -> Result<u32, Failure> {
        let node = self.view.nodes.iter().find(|node| node.name == name);
        let unknown = || Failure::Failed(format!("node `{name}` has not attested to the CA"));
        node.map(|node| node.id).ok_or_else(unknown)
    }
}

/// Whether an endpoint goes by this name or address.
pub(crate) fn is_named(entry: &EndpointEntry, name: &str) -> bool {
    let Some(endpoint) = &entry.endpoint else {
        return false;
    };
    match name.split_once('/') {
        Some((namespace, name)) => endpoint.namespace == namespace && endpoint.name == name,
        None => endpoint.name == name || endpoint.addresses.iter().any(|address| address == name),
    }
}

#[cfg(test)]
mod tests {
    use signet_proto::mesh::v1::LocalEndpoint;
    use signet_proto::view::v1;

    use super::*;

    fn entry(namespace: &str, name: &str, identity: u32) -> EndpointEntry {
        let endpoint = LocalEndpoint {
            namespace: namespace.into(),
            name: name.into(),
            identity,
            addresses: vec!["10.0.0.1".into()],
            ..LocalEndpoint::default()
        };
        EndpointEntry {
            endpoint: Some(endpoint),
            node: "n1".into(),
            ..EndpointEntry::default()
        }
    }

    #[test]
    fn a_workload_is_found_by_its_full_name_and_an_ambiguous_one_is_refused() {
        let view = Update {
            nodes: vec![v1::Node {
                name: "n1".into(),
                id: 4,
                ..v1::Node::default()
            }],
            ..Update::default()
        };
        let directory = Directory {
            view,
            endpoints: vec![entry("a", "web", 256), entry("b", "web", 257)],
        };
        assert_eq!(
            directory.workload("b/web").unwrap(),
            Workload {
                identity: 257,
                node: "n1".into()
            }
        );
        assert!(
            directory
                .workload("web")
                .unwrap_err()
                .to_string()
                .contains("ambiguous")
        );
        assert!(
            directory
                .workload("a/nobody")
                .unwrap_err()
                .to_string()
                .contains("no workload")
        );
        assert_eq!(directory.node_id("n1").unwrap(), 4);
    }
}
