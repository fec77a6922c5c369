//! From the lab file to everything that has to be made: pure, so that `down` and `status` can read it back.

mod address;
mod check;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::documents;
use crate::name::{LabName, interface_name};
use crate::spec::{Encryption, LabFile, NodeFile, Preauth, SpecError, WorkloadFile};
use address::MAX_NODES;
use check::{Checker, Mistakes};

pub(crate) use address::{CA_IPV4, CA_IPV6, GATEWAY_IPV4, GATEWAY_IPV6};

/// The parts of a lab and their addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The lab's name.
    pub lab: LabName,
    /// The trust domain.
    pub trust_domain: String,
    /// MTU of workload interfaces.
    pub mtu: u16,
    /// Life of the SVIDs, as given.
    pub svid_ttl: Option<String>,
    /// Encryption once the lab is up.
    pub encryption: Encryption,
    /// What the agents prove before anybody asks.
    #[serde(default)]
    pub preauth: Preauth,
    /// Proofs that there is room for on each node, if given.
    #[serde(default)]
    pub map_auth: Option<u32>,
    /// The nodes, in the file's order.
    pub nodes: Vec<NodePlan>,
    /// The workloads, in the file's order.
    pub workloads: Vec<WorkloadPlan>,
    /// Policy documents.
    pub policies: Vec<serde_json::Value>,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodePlan {
    /// Its name.
    pub name: String,
    /// Underlay address.
    pub ipv4: Ipv4Addr,
    /// Underlay address.
    pub ipv6: Ipv6Addr,
    /// CIDRs of its workloads: IPv4, IPv6.
    pub pod_cidrs: [String; 2],
    /// The other end of its uplink, at the bridge.
    pub bridge_port: String,
}

/// One workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadPlan {
    /// Its name, unique in the lab.
    pub name: String,
    /// Its namespace, in the sense of policies.
    pub namespace: String,
    /// Its service account.
    pub service_account: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its node.
    pub node: String,
    /// Whether it is registered with the CA.
    pub registered: bool,
    /// What runs in it; empty: nothing.
    pub command: Vec<String>,
    /// Its address.
    pub ipv4: Ipv4Addr,
    /// Its address.
    pub ipv6: Ipv6Addr,
    /// Its veth's node side.
    pub interface: String,
    /// MAC of the workload's side.
    pub mac: String,
    /// MAC of the node's side.
    pub host_mac: String,
}

impl Plan {
    /// Works out a lab, or says which fields of the file make that impossible.
    pub fn new(file: &LabFile) -> Result<Self, SpecError> {
        let check = Checker::new(file);
        let mut found = Mistakes::default();
        if let Err(error) = check.lab_name() {
            found.add(error);
        }
        check.names(&mut found);
        check.values(&mut found);
        if file.nodes.len() > MAX_NODES {
            // There are no addresses for them.
            found.none()?;
            found = Mistakes::default();
        }
        let nodes: Vec<_> = file
            .nodes
            .iter()
            .enumerate()
            .map(|(index, node)| NodePlan::new(index, node))
            .collect();
        check.underlay(&nodes, &mut found);
        let mut taken = vec![0_usize; nodes.len()];
        let mut workloads = Vec::with_capacity(file.workloads.len());
        for (index, workload) in file.workloads.iter().enumerate() {
            match check.node_of(index, workload) {
                Ok(node) => {
                    let slot = taken[node];
                    taken[node] += 1;
                    workloads.push(WorkloadPlan::new(workload, node, slot));
                }
                Err(error) => found.add(error),
            }
        }
        // Further looks are at what is well-formed.
        found.none()?;
        let mut found = Mistakes::default();
        check.interfaces(&nodes, &workloads, &mut found);
        found.none()?;
        let plan = Self {
            lab: check.lab_name()?,
            trust_domain: file.trust_domain.clone(),
            mtu: file.mtu.value,
            svid_ttl: file.svid_ttl.clone(),
            encryption: file.encryption,
            preauth: file.preauth,
            map_auth: file.map_auth,
            nodes,
            workloads,
            policies: file.policies.clone(),
        };
        documents::check(&plan, file)?;
        Ok(plan)
    }

    /// The node with this name.
    pub fn node(&self, name: &str) -> Option<&NodePlan> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// The workload with this name; `namespace/name` is understood too.
    pub fn workload(&self, name: &str) -> Option<&WorkloadPlan> {
        let (namespace, name) = name
            .split_once('/')
            .map_or((None, name), |(ns, name)| (Some(ns), name));
        self.workloads
            .iter()
            .find(|workload| workload.name == name && namespace.is_none_or(|ns| ns == workload.namespace))
    }

    /// The workloads of a node.
    pub fn workloads_on<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a WorkloadPlan> {
        self.workloads
            .iter()
            .filter(move |workload| workload.node == node)
    }

    /// Every place that has a namespace: `net`, `ca`, the nodes, the workloads.
    pub fn places(&self) -> impl Iterator<Item = &str> {
        ["net", "ca"]
            .into_iter()
            .chain(self.nodes.iter().map(|node| node.name.as_str()))
            .chain(self.workloads.iter().map(|workload| workload.name.as_str()))
    }
}

impl NodePlan {
    fn new(index: usize, file: &NodeFile) -> Self {
        Self {
            name: file.name.value.clone(),
            ipv4: file
                .ipv4
                .as_ref()
                .map_or_else(|| address::node_ipv4(index), |ip| ip.value),
            ipv6: file
                .ipv6
                .as_ref()
                .map_or_else(|| address::node_ipv6(index), |ip| ip.value),
            pod_cidrs: address::pod_cidrs(index),
            bridge_port: interface_name("p-", &file.name.value),
        }
    }
}

impl WorkloadPlan {
    fn new(file: &WorkloadFile, node: usize, slot: usize) -> Self {
        let name = file.name.value.clone();
        Self {
            namespace: file.namespace.value.clone(),
            service_account: file
                .service_account
                .as_ref()
                .map_or_else(|| name.clone(), |sa| sa.value.clone()),
            labels: file.labels.clone(),
            node: file.node.value.clone(),
            registered: file.registered,
            command: command(file),
            ipv4: address::workload_ipv4(node, slot),
            ipv6: address::workload_ipv6(node, slot),
            interface: interface_name("sgv-", &name),
            mac: address::mac(0, node, slot),
            host_mac: address::mac(1, node, slot),
            name,
        }
    }

    /// The SPIFFE ID that it is registered with.
    pub fn spiffe_id(&self, trust_domain: &str) -> String {
        format!(
            "spiffe://{trust_domain}/ns/{}/sa/{}",
            self.namespace, self.service_account
        )
    }

    /// `namespace/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// The program of a workload.
fn command(file: &WorkloadFile) -> Vec<String> {
    if let Some(command) = &file.command {
        return command.value.clone();
    }
    let Some(serve) = &file.serve else {
        return Vec::new();
    };
    let ports = |flag: &'static str, ports: &[u16]| {
        ports
            .iter()
            .flat_map(move |port| [flag.to_owned(), port.to_string()])
            .collect::<Vec<_>>()
    };
    let mut command: Vec<_> = ["signet", "lab", "serve", "--name", &file.name.value]
        .map(str::to_owned)
        .to_vec();
    command.extend(ports("--tcp", &serve.tcp));
    command.extend(ports("--udp", &serve.udp));
    command
}

#[cfg(test)]
mod tests;
