//! Looks at files, without a daemon, as one set.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use signet_endpoints::{Desired, Inputs, Problem};
use signet_policy::{Direction, Peer, Policy};

use crate::document::{Document, pieces};
use crate::error::Errors;
use crate::files::{list, read, read_all};
use crate::set::Set;

/// What is looked at.
#[derive(Clone, Debug)]
pub enum Input {
    /// A file, or a directory with its `*.yaml` and `*.yml`.
    Path(PathBuf),
    /// A text that came another way.
    Text {
        /// What errors call it.
        name: String,
        /// YAML.
        text: String,
    },
}

/// What is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// All workloads and policies.
    pub set: Set,
    /// The files that were read.
    pub files: Vec<String>,
    /// What signet-meshd would take and leave out: addresses and interfaces that several workloads claim.
    pub conflicts: Vec<String>,
    /// What may be a slip of the pen: policies that select, and rules that name, none of these workloads. Empty where there
    /// are no workloads: then they are somewhere else.
    pub remarks: Vec<String>,
}

/// Why there is no set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckError {
    /// Something could not be read.
    Unreadable(Errors),
    /// What was read is refused.
    Refused(Errors),
}

impl CheckError {
    /// What is wrong.
    pub fn errors(&self) -> &Errors {
        match self {
            Self::Unreadable(errors) | Self::Refused(errors) => errors,
        }
    }
}

/// Checks files and directories together, as signet-meshd would if they were one directory; says everything that is wrong.
/// A file that is named twice is read once.
pub fn check(inputs: &[Input]) -> Result<Checked, CheckError> {
    let texts = texts(inputs).map_err(CheckError::Unreadable)?;
    let files = || texts.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    let set = Set::parse(files()).map_err(CheckError::Refused)?;
    let places = places(files());
    Ok(Checked {
        files: texts.iter().map(|(name, _)| name.clone()).collect(),
        conflicts: conflicts(&set),
        remarks: remarks(&set, &places),
        set,
    })
}

fn texts(inputs: &[Input]) -> Result<Vec<(String, String)>, Errors> {
    let mut seen = BTreeSet::new();
    let mut is_new = |path: &Path| path.canonicalize().is_ok_and(|path| seen.insert(path));
    let mut errors = Errors::default();
    let mut texts = Vec::new();
    for input in inputs {
        match input {
            Input::Text { name, text } => texts.push((name.clone(), text.clone())),
            Input::Path(path) if path.is_dir() => {
                match list(path).map_err(Errors::from).and_then(|all| read_all(&all)) {
                    Ok(found) => texts.extend(found.into_iter().filter(|(name, _)| is_new(Path::new(name)))),
                    Err(found) => errors.extend(found.iter().cloned()),
                }
            }
            Input::Path(path) => match read(path) {
                Ok(text) if is_new(path) => texts.push((path.display().to_string(), text)),
                Ok(_) => {}
                Err(error) => errors.push(error),
            },
        }
    }
    if errors.is_empty() { Ok(texts) } else { Err(errors) }
}

/// `file:line` of each policy, by its full name.
fn places<'a>(files: impl Iterator<Item = (&'a str, &'a str)>) -> BTreeMap<String, String> {
    let mut places = BTreeMap::new();
    for (file, text) in files {
        for piece in pieces(file, text).unwrap_or_default() {
            if let Ok(Document::Policy(policy)) = piece.parse(file) {
                let (namespace, name) = (&policy.metadata.namespace.value, &policy.metadata.name.value);
                places.insert(
                    format!("{namespace}/{name}"),
                    format!("{file}:{}", piece.first_line()),
                );
            }
        }
    }
    places
}

fn conflicts(set: &Set) -> Vec<String> {
    let nodes: BTreeSet<_> = set.workloads().iter().map(|workload| &workload.node).collect();
    let mut found = BTreeSet::new();
    for own in nodes {
        let desired = Desired::new(&Inputs {
            own,
            view: None,
            workloads: set.workloads(),
            policies: set.policies(),
            table: set.table(),
            interfaces: &BTreeMap::new(),
            through: &BTreeMap::new(),
            own_addresses: &[],
            parking: None,
        });
        for problem in desired.problems {
            if matches!(problem, Problem::InterfaceConflict { .. }) {
                found.insert(format!("on node {own} {problem}"));
            } else {
                found.insert(problem.to_string());
            }
        }
    }
    found.into_iter().collect()
}

fn remarks(set: &Set, places: &BTreeMap<String, String>) -> Vec<String> {
    if set.workloads().is_empty() {
        return Vec::new();
    }
    let of = |policy: &Policy| remarks_of(policy, set);
    let remarks = set.policies().iter().flat_map(|policy| {
        let name = policy.name.to_string();
        let place = places.get(&name).cloned().unwrap_or_default();
        of(policy)
            .into_iter()
            .map(move |what| format!("{place}: policy {name}: {what}"))
    });
    remarks.collect()
}

fn remarks_of(policy: &Policy, set: &Set) -> Vec<String> {
    let mut remarks = Vec::new();
    let selects =
        |workload: &signet_endpoints::Workload| policy.selects(&workload.name.namespace, &workload.labels);
    if !set.workloads().iter().any(selects) {
        remarks.push("selects none of the workloads here".to_owned());
    }
    for (direction, word) in [(Direction::Ingress, "ingress"), (Direction::Egress, "egress")] {
        for (index, rule) in policy.rules(direction).unwrap_or_default().iter().enumerate() {
            for peer in rule.peers() {
                let Peer::Workload {
                    namespace,
                    service_account,
                } = peer
                else {
                    continue;
                };
                let is_it = |workload: &signet_endpoints::Workload| {
                    workload.name.namespace == *namespace && workload.service_account == *service_account
                };
                if !set.workloads().iter().any(is_it) {
                    remarks.push(format!(
                        "{word}[{index}] names service account {namespace}/{service_account}, which none of the workloads here has"
                    ));
                }
            }
        }
    }
    remarks
}
