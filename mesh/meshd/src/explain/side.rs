//! One end of a connection.

use std::net::IpAddr;

use signet_abi::{NodeId, SecurityIdentity};
use signet_endpoints::{EndpointReport, Problem, Workload};

use super::Maps;
use super::answer::Answer;
use crate::known::Known;

/// An address, and what is known of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side<'a> {
    pub(crate) address: IpAddr,
    /// What the kernel takes it for.
    pub(crate) identity: SecurityIdentity,
    pub(crate) node: NodeId,
    /// The workload that has it.
    pub(crate) report: Option<&'a EndpointReport>,
    /// Who claims it, where several do, so that nobody has it.
    pub(crate) contest: Option<&'a Problem>,
}

/// Something that the operator has taken back: in words, and what gives it back.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    pub(crate) what: String,
    pub(crate) next: String,
}

impl<'a> Side<'a> {
    pub(crate) fn new(address: IpAddr, known: &'a Known, maps: &impl Maps) -> Self {
        let place = maps.place(address);
        let identity = place.map_or(SecurityIdentity::WORLD, |place| place.identity);
        let is_contested = identity == SecurityIdentity::CONTESTED;
        Self {
            address,
            // As rules speak of it.
            identity: if is_contested {
                SecurityIdentity::UNMANAGED
            } else {
                identity
            },
            contest: known.desired.contest(address.into()),
            node: place.map_or(NodeId::NONE, |place| place.node),
            report: known.report_of(address),
        }
    }

    /// Whether one of those who claim the address is a workload of this node.
    pub(crate) fn is_contested_here(&self, known: &Known) -> bool {
        let Some(set) = self.contest.and(known.set()) else {
            return false;
        };
        let claims = |workload: &Workload| {
            let mut addresses = workload.addresses().iter();
            workload.node == known.node && addresses.any(|address| address.ip() == self.address)
        };
        set.workloads().iter().any(claims)
    }

    pub(crate) fn is_local(&self) -> bool {
        self.report.is_some_and(|report| report.local)
    }

    /// What users call it.
    pub(crate) fn name(&self) -> String {
        self.report
            .map_or_else(|| self.address.to_string(), |report| report.workload.to_string())
    }

    /// What would give it an identity; `None` if it has one, or can have none.
    pub(crate) fn registration(&self, known: &Known) -> Option<String> {
        let report = self.report.filter(|_| !self.identity.is_workload())?;
        let id = report.spiffe_id.as_ref()?;
        let node = known
            .workload(&report.workload)
            .map(|workload| workload.node.to_string())?;
        Some(format!(
            "signet ca register {id} --on {node} --selector endpoint:{}",
            report.workload
        ))
    }

    /// What keeps it from proving anything, if the operator has taken it back.
    pub(crate) fn bar(&self, known: &Known) -> Option<Bar> {
        let report = self.report?;
        let view = known.view.as_ref()?;
        let node = known.workload(&report.workload).map(|workload| &workload.node)?;
        if let Some(reason) = view.banned.get(node) {
            return Some(Bar {
                what: format!("node {node} is banned: {reason}"),
                next: format!(
                    "`signet ca evict {node} --reason …` lifts the ban; with a new token (`signet ca token {node} …`) the node may \
                     come back"
                ),
            });
        }
        let id = report.spiffe_id.as_ref()?;
        view.closed.get(id).map(|reason| Bar {
            what: format!("{id} is revoked and gets no certificates: {reason}"),
            next: format!("`signet ca reopen {id}` lets it have certificates again"),
        })
    }

    /// Address → identity → node.
    pub(crate) fn describe(&self, title: &str, known: &Known, answer: &mut Answer) {
        let bar = &self.bar(known);
        let identities = known
            .view
            .as_ref()
            .map(|view| view.identities.name(self.identity));
        let identity = identities.unwrap_or_else(|| format!("identity {}", self.identity.0));
        let node = known.node_name(self.node);
        let place = if node.is_empty() {
            "outside the mesh".to_owned()
        } else {
            format!("on {node}")
        };
        if let Some(contest) = self.contest {
            return answer.missing(title, &contest.to_string());
        }
        match self.report {
            Some(report) if self.identity.is_workload() => {
                let number = self.identity.0;
                let detail = format!(
                    "{} is {} {place}, {identity} ({number})",
                    self.address, report.workload
                );
                answer.ok(title, detail);
                if let Some(bar) = bar {
                    answer.info(title, bar.what.clone());
                }
            }
            Some(report) => {
                let why = match (bar, &report.spiffe_id) {
                    (Some(bar), _) => bar.what.clone(),
                    (None, None) => "the trust domain is not known yet".to_owned(),
                    (None, Some(id)) => format!("{id} is not registered there"),
                };
                let detail = format!(
                    "{} is {} {place}, {identity}: {why}",
                    self.address, report.workload
                );
                answer.missing(title, &detail);
            }
            None => answer.info(
                title,
                format!("{} is no workload's: {identity}, {place}", self.address),
            ),
        }
    }
}
