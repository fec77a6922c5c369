//! Whom a command talks to: this node, or the nodes of a lab.

use std::path::{Path, PathBuf};

use signet_lab::{LabName, LabPaths, LabState};

use crate::args::Global;
use crate::clients::{Ca, Node};
use crate::failure::Failure;

/// The daemons that a command asks.
#[derive(Debug)]
pub(crate) struct Target {
    /// At least one.
    pub(crate) nodes: Vec<Node>,
    /// The CA, where its socket is at hand.
    pub(crate) ca: Ca,
}

impl Target {
    /// Follows the global options.
    pub(crate) fn new(global: &Global) -> Result<Self, Failure> {
        let Some(lab) = global.lab() else {
            if global.node.is_some() {
                return Err(Failure::Usage(
                    "--node chooses a node of a lab: give --lab too".to_owned(),
                ));
            }
            return Ok(Self {
                nodes: vec![Node::new(None, &global.run_dir())?],
                ca: match global.remote_ca() {
                    Some(remote) => Ca::remote(remote),
                    None => Ca::new(&global.ca_socket())?,
                },
            });
        };
        let lab = LabName::parse(&lab).map_err(|error| Failure::Usage(error.to_string()))?;
        let paths = LabPaths::new(&lab);
        let names = nodes(&paths, global.node.as_deref())?;
        let nodes = names
            .iter()
            .map(|name| Node::new(Some(name), &paths.node_run(name)));
        Ok(Self {
            nodes: nodes.collect::<Result<_, _>>()?,
            ca: Ca::new(&paths.ca_socket())?,
        })
    }

    /// The CA alone.
    pub(crate) fn ca(global: &Global) -> Result<Ca, Failure> {
        Ok(Self::new(global)?.ca)
    }
}

/// The lab's nodes, or the one asked for.
fn nodes(paths: &LabPaths, wanted: Option<&str>) -> Result<Vec<String>, Failure> {
    let all: Vec<_> = LabState::read(paths)?
        .plan
        .nodes
        .into_iter()
        .map(|node| node.name)
        .collect();
    let Some(wanted) = wanted else { return Ok(all) };
    if all.iter().any(|name| name == wanted) {
        return Ok(vec![wanted.to_owned()]);
    }
    Err(Failure::Failed(format!(
        "lab `{}` has no node `{wanted}`; it has {}",
        paths.lab(),
        all.join(", ")
    )))
}

/// What to do when a daemon of this socket does not answer.
pub(crate) fn hint(daemon: &str, socket: &Path) -> String {
    let lab = socket
        .strip_prefix("/run/signet-lab")
        .ok()
        .and_then(|rest| rest.components().next());
    if let Some(lab) = lab {
        let lab = PathBuf::from(lab.as_os_str());
        return format!(
            "`signet lab status {}` shows whether it runs, `signet lab logs` why not",
            lab.display()
        );
    }
    // No lab can be listed: then there is none to point to.
    match signet_lab::labs().unwrap_or_default().as_slice() {
        [] => {
            format!("is {daemon} running, and is this its socket? --run-dir and --ca-socket choose another")
        }
        labs => {
            let labs = labs
                .iter()
                .map(|lab| format!("--lab {lab}"))
                .collect::<Vec<_>>()
                .join(" or ");
            format!("is {daemon} running here? For a lab, add {labs}")
        }
    }
}
