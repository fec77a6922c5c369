//! Workloads and policies that belong together.

use std::collections::BTreeMap;

use signet_endpoints::{Workload, WorkloadName};
use signet_policy::{Policy, PolicyName, RuleTable};

use crate::convert::Converter;
use crate::document::{Document, pieces};
use crate::error::{Errors, SourceError};
use crate::{policy, workload};

/// Most workloads in a set.
pub const MAX_WORKLOADS: usize = 20_000;
/// Most policies in a set.
pub const MAX_POLICIES: usize = 5_000;

/// Workloads and policies, each name once. Made whole or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    workloads: Vec<Workload>,
    policies: Vec<Policy>,
    table: RuleTable,
    policy_files: BTreeMap<PolicyName, String>,
}

impl Set {
    /// All workloads, by name.
    pub fn workloads(&self) -> &[Workload] {
        &self.workloads
    }

    /// All policies, by name.
    pub fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// The numbers of the policies' rules.
    pub fn table(&self) -> &RuleTable {
        &self.table
    }

    /// The file that a policy is in.
    pub fn policy_file(&self, name: &PolicyName) -> Option<&str> {
        self.policy_files.get(name).map(String::as_str)
    }

    /// Parses files, given as name and text.
    pub fn parse<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, Errors> {
        Self::parse_with_found(files).map_err(|(errors, _)| errors)
    }

    /// The same; where something is wrong, also the workloads whose documents are good.
    pub(crate) fn parse_with_found<'a>(
        files: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, (Errors, Vec<Workload>)> {
        let mut builder = Builder::default();
        for (file, text) in files {
            builder.file(file, text);
        }
        builder.finish()
    }
}

/// Where an object was found first.
struct Found<T> {
    object: T,
    file: String,
    line: u64,
}

#[derive(Default)]
struct Builder {
    workloads: BTreeMap<WorkloadName, Found<Workload>>,
    policies: BTreeMap<PolicyName, Found<Policy>>,
    errors: Errors,
}

impl Builder {
    fn file(&mut self, file: &str, text: &str) {
        let pieces = match pieces(file, text) {
            Ok(pieces) => pieces,
            Err(error) => return self.errors.push(error),
        };
        for piece in pieces {
            let line = piece.first_line();
            let mut converter = Converter::new(file, piece);
            match piece.parse(file) {
                Err(error) => self.errors.push(error),
                Ok(Document::Workload(document)) => {
                    let converted = workload::workload(&document, &mut converter);
                    match converter.finish(converted) {
                        Ok(workload) => {
                            let kind = format!("workload {}", workload.name);
                            self.errors.extend(add(
                                &mut self.workloads,
                                workload.name.clone(),
                                Found {
                                    object: workload,
                                    file: file.to_owned(),
                                    line,
                                },
                                &kind,
                            ));
                        }
                        Err(errors) => self.errors.extend(errors.iter().cloned()),
                    }
                }
                Ok(Document::Policy(document)) => {
                    let converted = policy::policy(&document, &mut converter);
                    match converter.finish(converted) {
                        Ok(policy) => {
                            let kind = format!("policy {}", policy.name);
                            self.errors.extend(add(
                                &mut self.policies,
                                policy.name.clone(),
                                Found {
                                    object: policy,
                                    file: file.to_owned(),
                                    line,
                                },
                                &kind,
                            ));
                        }
                        Err(errors) => self.errors.extend(errors.iter().cloned()),
                    }
                }
            }
        }
    }

    fn finish(mut self) -> Result<Set, (Errors, Vec<Workload>)> {
        for (count, max, what) in [
            (self.workloads.len(), MAX_WORKLOADS, "workloads"),
            (self.policies.len(), MAX_POLICIES, "policies"),
        ] {
            if count > max {
                let message = format!("{count} {what} are too many: at most {max} are supported");
                self.errors.push(SourceError::file("all files together", message));
            }
        }
        let policy_files = self
            .policies
            .iter()
            .map(|(name, found)| (name.clone(), found.file.clone()))
            .collect();
        let policies: Vec<_> = self.policies.into_values().map(|found| found.object).collect();
        let workloads = self.workloads.into_values().map(|found| found.object);
        match RuleTable::new(&policies) {
            Ok(table) if self.errors.is_empty() => Ok(Set {
                workloads: workloads.collect(),
                policies,
                table,
                policy_files,
            }),
            Ok(_) => Err((self.errors, workloads.take(MAX_WORKLOADS).collect())),
            Err(error) => {
                self.errors
                    .push(SourceError::file("all files together", error.to_string()));
                Err((self.errors, workloads.take(MAX_WORKLOADS).collect()))
            }
        }
    }
}

/// Adds an object, unless there is one of its name.
fn add<K: Ord, T>(
    all: &mut BTreeMap<K, Found<T>>,
    name: K,
    found: Found<T>,
    what: &str,
) -> Option<SourceError> {
    if let Some(first) = all.get(&name) {
        let message = format!("{what} is there already, in {}:{}", first.file, first.line);
        return Some(SourceError {
            file: found.file,
            line: found.line,
            column: 1,
            field: "metadata.name".to_owned(),
            message,
        });
    }
    all.insert(name, found);
    None
}
