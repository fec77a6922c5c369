//! What the daemon knows, for those who ask.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use signet_abi::{MeshConfig, NodeId};
use signet_endpoints::{Desired, EndpointReport, View, Workload, WorkloadName};
use signet_policy::RuleNumber;
use signet_source::{Set, Snapshot};
use signet_spiffe::NodeName;

/// One consistent state, published whole.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// This node.
    pub(crate) node: NodeName,
    /// What the source says.
    pub(crate) snapshot: Arc<Snapshot>,
    /// What the agent says.
    pub(crate) view: Option<Arc<View>>,
    /// Whether the agent is there.
    pub(crate) agent_connected: bool,
    /// What the kernel maps should hold.
    pub(crate) desired: Arc<Desired>,
    /// What they say of the node.
    pub(crate) config: MeshConfig,
    /// Inodes of the local workloads' network namespaces, which are held open.
    pub(crate) netns: BTreeMap<WorkloadName, u64>,
    /// Programs and their interfaces.
    pub(crate) attached: Vec<String>,
    /// Whether maps of an earlier run were taken over.
    pub(crate) adopted: bool,
    /// Whether configuration, view and interfaces are all known and in force. Before, others must not conclude
    /// anything from what is missing.
    pub(crate) complete: bool,
    /// What is wrong with the kernel side.
    pub(crate) errors: Vec<String>,
}

impl Known {
    /// Nothing yet.
    pub(crate) fn nothing(node: NodeName, adopted: bool, config: MeshConfig) -> Self {
        Self {
            node,
            snapshot: Arc::default(),
            view: None,
            agent_connected: false,
            desired: Arc::default(),
            config,
            netns: BTreeMap::new(),
            attached: Vec::new(),
            adopted,
            complete: false,
            errors: Vec::new(),
        }
    }

    /// The last good set.
    pub(crate) fn set(&self) -> Option<&Set> {
        self.snapshot.set.as_deref()
    }

    /// A workload's document.
    pub(crate) fn workload(&self, name: &WorkloadName) -> Option<&Workload> {
        self.set()?
            .workloads()
            .iter()
            .find(|workload| workload.name == *name)
    }

    /// What became of the workload that an address is believed to be of.
    pub(crate) fn report_of(&self, address: IpAddr) -> Option<&EndpointReport> {
        self.desired
            .reports
            .iter()
            .find(|report| report.addresses.iter().any(|known| known.ip() == address))
    }

    /// What users call a node; its number where the name is not known; empty for no node.
    pub(crate) fn node_name(&self, id: NodeId) -> String {
        if id == NodeId::NONE {
            return String::new();
        }
        let name = self.view.as_ref().and_then(|view| view.node_name(id));
        name.map_or_else(|| format!("node {}", id.0), ToString::to_string)
    }

    /// What users call a rule; empty for none.
    pub(crate) fn rule_name(&self, number: u32) -> String {
        let Some(number) = RuleNumber::from_abi(number) else {
            return String::new();
        };
        let name = self.set().and_then(|set| set.table().name(number));
        name.map_or_else(|| "a rule that is gone".to_owned(), ToString::to_string)
    }

    /// Everything that is wrong, for `signet status`.
    pub(crate) fn all_errors(&self) -> Vec<String> {
        let problems = self
            .desired
            .problems
            .iter()
            .map(|problem| crate::attach::chain(problem));
        self.snapshot
            .errors
            .lines()
            .into_iter()
            .chain(self.errors.iter().cloned())
            .chain(problems)
            .collect()
    }
}
