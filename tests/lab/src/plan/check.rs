//! What a well-formed lab file can still get wrong.

use std::collections::HashSet;
use std::hash::Hash;

use jiff::SignedDuration;
use serde_saphyr::{Location, Spanned};
use signet_spiffe::TrustDomain;

use super::address::{MAX_NODES, MAX_WORKLOADS, on_underlay_ipv4, on_underlay_ipv6};
use super::{NodePlan, WorkloadPlan};
use crate::name::{LabName, check_place};
use crate::spec::{LabFile, SpecError, WorkloadFile};

/// Looks at one file.
pub(super) struct Checker<'a> {
    file: &'a LabFile,
}

impl<'a> Checker<'a> {
    pub(super) fn new(file: &'a LabFile) -> Self {
        Self { file }
    }

    pub(super) fn lab_name(&self) -> Result<LabName, SpecError> {
        LabName::parse(&self.file.name.value)
            .map_err(|error| self.at(&self.file.name, "name", error.to_string()))
    }

    /// Every name is well-formed and taken once.
    pub(super) fn names(&self, found: &mut Mistakes) {
        let mut seen = HashSet::new();
        let nodes = self.file.nodes.iter().map(|node| &node.name);
        let workloads = self.file.workloads.iter().map(|workload| &workload.name);
        let named = nodes
            .enumerate()
            .map(|(index, name)| (format!("nodes[{index}].name"), name));
        let named = named.chain(
            workloads
                .enumerate()
                .map(|(index, name)| (format!("workloads[{index}].name"), name)),
        );
        for (field, name) in named {
            found.name(self, name, &field);
            if !seen.insert(name.value.as_str()) {
                let what = format!(
                    "`{}` is taken: nodes and workloads share one set of names",
                    name.value
                );
                found.add(self.at(name, &field, what));
            }
        }
        for (index, workload) in self.file.workloads.iter().enumerate() {
            let field = format!("workloads[{index}].namespace");
            found.name(self, &workload.namespace, &field);
            if let Some(account) = &workload.service_account {
                let field = format!("workloads[{index}].serviceAccount");
                found.name(self, account, &field);
            }
        }
    }

    /// Counts, ranges, and what excludes each other.
    pub(super) fn values(&self, found: &mut Mistakes) {
        if let Err(error) = TrustDomain::parse(&self.file.trust_domain) {
            found.add(self.plain("trustDomain", error.to_string()));
        }
        if let Some(ttl) = &self.file.svid_ttl
            && !is_ttl(ttl)
        {
            found.add(self.plain("svidTtl", "SVIDs live 10s to 24h; write it as 30s, 15m or 1h"));
        }
        if self.file.nodes.is_empty() || self.file.nodes.len() > MAX_NODES {
            found.add(self.plain("nodes", format!("a lab has 1 to {MAX_NODES} nodes")));
        }
        if !(1280..=9000).contains(&self.file.mtu.value) {
            let what = "must be 1280 (the least that IPv6 allows) to 9000";
            found.add(self.at(&self.file.mtu, "mtu", what));
        }
        for (index, workload) in self.file.workloads.iter().enumerate() {
            if let (Some(command), Some(_)) = (&workload.command, &workload.serve) {
                let field = format!("workloads[{index}].command");
                found.add(self.at(command, &field, "a workload has `command` or `serve`, not both"));
            }
            if let Some(command) = workload
                .command
                .as_ref()
                .filter(|command| command.value.is_empty())
            {
                let field = format!("workloads[{index}].command");
                found.add(self.at(command, &field, "is empty: leave it out, or name a program"));
            }
        }
        for (index, policy) in self.file.policies.iter().enumerate() {
            let named = policy
                .pointer("/metadata/name")
                .is_some_and(serde_json::Value::is_string);
            if policy.get("kind").and_then(serde_json::Value::as_str) != Some("Policy") || !named {
                let what = "must be a whole document with `kind: Policy` and `metadata.name`";
                found.add(self.plain(&format!("policies[{index}]"), what));
            }
        }
    }

    /// Every node has an address of its own on the underlay.
    pub(super) fn underlay(&self, nodes: &[NodePlan], found: &mut Mistakes) {
        for (index, (node, file)) in nodes.iter().zip(&self.file.nodes).enumerate() {
            if !on_underlay_ipv4(node.ipv4) {
                let what = format!(
                    "{} is not free in 172.30.0.0/24, the underlay (.2 is the CA's)",
                    node.ipv4
                );
                found.add(self.maybe(file.ipv4.as_ref(), &format!("nodes[{index}].ipv4"), what));
            }
            if !on_underlay_ipv6(node.ipv6) {
                let what = format!(
                    "{} is not free in fd00:30::/64, the underlay (::2 is the CA's)",
                    node.ipv6
                );
                found.add(self.maybe(file.ipv6.as_ref(), &format!("nodes[{index}].ipv6"), what));
            }
        }
        if let Some(index) = repeated(nodes.iter().map(|node| node.ipv4)) {
            let what = format!("{} is another node's", nodes[index].ipv4);
            found.add(self.maybe(
                self.file.nodes[index].ipv4.as_ref(),
                &format!("nodes[{index}].ipv4"),
                what,
            ));
        }
        if let Some(index) = repeated(nodes.iter().map(|node| node.ipv6)) {
            let what = format!("{} is another node's", nodes[index].ipv6);
            found.add(self.maybe(
                self.file.nodes[index].ipv6.as_ref(),
                &format!("nodes[{index}].ipv6"),
                what,
            ));
        }
    }

    /// The place of a workload's node.
    pub(super) fn node_of(&self, index: usize, workload: &WorkloadFile) -> Result<usize, SpecError> {
        let field = format!("workloads[{index}].node");
        let wanted = &workload.node;
        let nodes = || self.file.nodes.iter().map(|node| node.name.value.as_str());
        let Some(node) = nodes().position(|name| name == wanted.value) else {
            let known = nodes().collect::<Vec<_>>().join(", ");
            return Err(self.at(
                wanted,
                &field,
                format!("no node `{}`; there are {known}", wanted.value),
            ));
        };
        let before = self.file.workloads[..index]
            .iter()
            .filter(|other| other.node.value == wanted.value);
        if before.count() >= MAX_WORKLOADS {
            let what = format!(
                "`{}` is full: a node has at most {MAX_WORKLOADS} workloads",
                wanted.value
            );
            return Err(self.at(wanted, &field, what));
        }
        Ok(node)
    }

    /// Shortened interface names do not collide.
    pub(super) fn interfaces(&self, nodes: &[NodePlan], workloads: &[WorkloadPlan], found: &mut Mistakes) {
        if let Some(index) = repeated(nodes.iter().map(|node| node.bridge_port.as_str())) {
            let what = "its shortened interface name is another node's; rename one";
            found.add(self.at(
                &self.file.nodes[index].name,
                &format!("nodes[{index}].name"),
                what,
            ));
        }
        if let Some(index) = repeated(workloads.iter().map(|workload| workload.interface.as_str())) {
            let what = "its shortened interface name is another workload's; rename one";
            found.add(self.at(
                &self.file.workloads[index].name,
                &format!("workloads[{index}].name"),
                what,
            ));
        }
    }

    fn at<T>(&self, place: &Spanned<T>, field: &str, what: impl Into<String>) -> SpecError {
        self.error(Some(place.referenced), field, what.into())
    }

    fn maybe<T>(&self, place: Option<&Spanned<T>>, field: &str, what: String) -> SpecError {
        self.error(place.map(|place| place.referenced), field, what)
    }

    fn plain(&self, field: &str, what: impl Into<String>) -> SpecError {
        self.error(None, field, what.into())
    }

    fn error(&self, location: Option<Location>, field: &str, what: String) -> SpecError {
        let line = match location.map_or(0, |location| location.line()) {
            0 => self.file.places.line(field),
            line => line,
        };
        SpecError::Field {
            file: self.file.source.clone(),
            line,
            field: field.to_owned(),
            what,
        }
    }
}

/// What was found wrong, in the order of looking.
#[derive(Debug, Default)]
pub(super) struct Mistakes(Vec<SpecError>);

impl Mistakes {
    pub(super) fn add(&mut self, mistake: SpecError) {
        self.0.push(mistake);
    }

    /// Notes what is wrong with a name.
    fn name(&mut self, check: &Checker<'_>, name: &Spanned<String>, field: &str) {
        if let Err(error) = check_place(&name.value) {
            self.add(check.at(name, field, error.to_string()));
        }
    }

    /// Nothing, or all of it.
    pub(super) fn none(self) -> Result<(), SpecError> {
        let mut all = self.0;
        match all.len() {
            0 => Ok(()),
            1 => Err(all.remove(0)),
            _ => Err(SpecError::Several(all)),
        }
    }
}

/// Whether signet-ca takes it for `--svid-ttl`.
fn is_ttl(text: &str) -> bool {
    let ttl = text.parse::<SignedDuration>();
    ttl.is_ok_and(|ttl| (10..=24 * 3600).contains(&ttl.as_secs()))
}

/// The first place whose value was there before.
fn repeated<T: Eq + Hash>(values: impl Iterator<Item = T>) -> Option<usize> {
    let mut seen = HashSet::new();
    values.into_iter().position(|value| !seen.insert(value))
}
