//! What the kernel maps of a node should hold.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use signet_abi::{Address, Direction, NodeId, SecurityIdentity};
use signet_policy::{Compiled, Identities, Policy, RuleTable, Selection, compile, select};
use signet_spiffe::NodeName;

use crate::cidr::Cidr;
use crate::claims::{contested_places, node_places, settle};
use crate::interface::{Ifindex, InterfaceName};
use crate::problem::{EndpointReport, EndpointState, Problem, list};
use crate::view::View;
use crate::workload::Workload;

/// What the desired state follows from.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// This node.
    pub own: &'a NodeName,
    /// What the CA has told; `None` until it has: then every workload is unmanaged and no node has a number.
    pub view: Option<&'a View>,
    /// All workloads of the cluster.
    pub workloads: &'a [Workload],
    /// All policies of the cluster.
    pub policies: &'a [Policy],
    /// The numbers of the policies' rules.
    pub table: &'a RuleTable,
    /// This node's interfaces that the programs are attached to.
    pub interfaces: &'a BTreeMap<InterfaceName, Ifindex>,
    /// The bridges and VRFs behind which the host routes for these interfaces, where no tunnel leads into them.
    pub through: &'a BTreeMap<Ifindex, Ifindex>,
    /// Addresses of this node's own interfaces.
    pub own_addresses: &'a [IpAddr],
    /// The parking device, where it is attached to.
    pub parking: Option<Ifindex>,
}

/// What an address stands for: the lasting part of an `IPCACHE` entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The identity it carries.
    pub identity: SecurityIdentity,
    /// The node it lives on.
    pub node: NodeId,
}

/// The lasting part of an `ENDPOINTS` entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredEndpoint {
    /// Host side of the interface.
    pub ifindex: Ifindex,
    /// The bridge or VRF that its packets are routed through, if there is one.
    pub through: Option<Ifindex>,
    /// The endpoint's identity.
    pub identity: SecurityIdentity,
    /// Whether what no rule allows is dropped on its way in.
    pub ingress_enforced: bool,
    /// Whether what no rule allows is dropped on its way out.
    pub egress_enforced: bool,
    /// The endpoint's rules.
    pub rules: Arc<Compiled>,
}

/// What the kernel maps of a node should hold, and what could not be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// This node's number; [`NodeId::NONE`] until the CA has told it.
    pub node: NodeId,
    /// The parking device; none: what lacks a proof is dropped.
    pub parking: Option<Ifindex>,
    /// `IPCACHE`.
    pub ipcache: BTreeMap<Cidr, Place>,
    /// `ENDPOINTS`, and `POLICY` through their rules.
    pub endpoints: BTreeMap<Address, DesiredEndpoint>,
    /// One line for each workload, in their order.
    pub reports: Vec<EndpointReport>,
    /// What was left out.
    pub problems: Vec<Problem>,
}

impl Desired {
    /// Whether several workloads claim the address, so that nobody has it.
    pub fn is_contested(&self, address: Address) -> bool {
        let place = self.ipcache.get(&Cidr::host(address));
        place.is_some_and(|place| place.identity == SecurityIdentity::CONTESTED)
    }

    /// Who claims a contested address, in words.
    pub fn contest(&self, address: Address) -> Option<&Problem> {
        let is_it = |problem: &&Problem| match problem {
            Problem::AddressConflict { address: other, .. } => other.abi() == address,
            Problem::OutsideCidrs { .. }
            | Problem::NodeAddress { .. }
            | Problem::AnnouncedForeign { .. }
            | Problem::CidrConflict { .. }
            | Problem::InterfaceConflict { .. }
            | Problem::Policy { .. } => false,
        };
        let contested = self.is_contested(address).then_some(&self.problems)?;
        contested.iter().find(is_it)
    }

    /// Works out the desired state.
    pub fn new(inputs: &Inputs<'_>) -> Self {
        let claims = settle(inputs);
        let mut problems = claims.problems;
        let mut ipcache = node_places(inputs, &mut problems);
        let contested = contested_places(&claims.contested, &ipcache);
        ipcache.extend(contested);
        let shared = shared_interfaces(inputs, &mut problems);
        let mut believed = vec![Vec::new(); inputs.workloads.len()];
        for (address, owner) in claims.owners {
            if let Some(addresses) = believed.get_mut(owner) {
                addresses.push(address);
            }
        }
        let mut endpoints = BTreeMap::new();
        let mut reports = Vec::with_capacity(inputs.workloads.len());
        let mut compiler = Compiler::new(inputs);
        for (workload, addresses) in inputs.workloads.iter().zip(believed) {
            let selection = select(
                inputs.policies,
                inputs.table,
                &workload.name.namespace,
                &workload.labels,
            );
            let report = report(
                inputs,
                workload,
                addresses,
                &selection,
                shared.contains_key(&workload.interface),
            );
            let place = Place {
                identity: report.identity,
                node: report.node,
            };
            ipcache.extend(
                report
                    .addresses
                    .iter()
                    .map(|address| (Cidr::host(address.abi()), place)),
            );
            if let Some(ifindex) = report.ifindex {
                let endpoint = compiler.endpoint(workload, &report, &selection, ifindex, &mut problems);
                endpoints.extend(
                    report
                        .addresses
                        .iter()
                        .map(|address| (address.abi(), endpoint.clone())),
                );
            }
            reports.push(report);
        }
        let own = inputs.view.and_then(|view| view.nodes.get(inputs.own));
        Self {
            node: own.map_or(NodeId::NONE, |node| node.id),
            parking: inputs.parking,
            ipcache,
            endpoints,
            reports,
            problems,
        }
    }
}

/// Interfaces of this node that several workloads name.
fn shared_interfaces<'a>(
    inputs: &Inputs<'a>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<&'a InterfaceName, Vec<&'a Workload>> {
    let mut users = BTreeMap::<_, Vec<_>>::new();
    for workload in inputs
        .workloads
        .iter()
        .filter(|workload| workload.node == *inputs.own)
    {
        users.entry(&workload.interface).or_default().push(workload);
    }
    users.retain(|_, workloads| workloads.len() > 1);
    for (interface, workloads) in &users {
        problems.push(Problem::InterfaceConflict {
            interface: (*interface).clone(),
            claimants: list(workloads.iter().map(|workload| &workload.name)),
        });
    }
    users
}

fn report(
    inputs: &Inputs<'_>,
    workload: &Workload,
    addresses: Vec<crate::address::WorkloadAddress>,
    selection: &Selection<'_>,
    interface_shared: bool,
) -> EndpointReport {
    let local = workload.node == *inputs.own;
    let node = inputs.view.and_then(|view| view.nodes.get(&workload.node));
    let spiffe_id = inputs.view.and_then(|view| {
        let identities = &view.identities;
        identities.workload(&workload.name.namespace, &workload.service_account)
    });
    let number = spiffe_id
        .as_ref()
        .zip(inputs.view)
        .and_then(|(id, view)| view.number_on(id, &workload.node));
    let attached = inputs.interfaces.get(&workload.interface).copied();
    let ifindex = attached.filter(|_| local && !interface_shared);
    let state = if addresses.is_empty() {
        EndpointState::NoAddress
    } else if local && interface_shared {
        EndpointState::InterfaceConflict(workload.interface.clone())
    } else if local && attached.is_none() {
        EndpointState::WaitingForInterface(workload.interface.clone())
    } else if node.is_none() {
        EndpointState::NodeUnknown(workload.node.clone())
    } else if addresses.len() < workload.addresses().len() {
        EndpointState::SomeAddresses
    } else {
        EndpointState::Ready
    };
    EndpointReport {
        workload: workload.name.clone(),
        local,
        spiffe_id,
        // An identity counts only together with a node that may own the address.
        identity: number
            .filter(|_| node.is_some())
            .unwrap_or(SecurityIdentity::UNMANAGED),
        node: node.map_or(NodeId::NONE, |node| node.id),
        addresses,
        ifindex,
        ingress_enforced: selection.enforced(Direction::Ingress),
        egress_enforced: selection.enforced(Direction::Egress),
        policies: selection.policies.iter().map(|name| (*name).clone()).collect(),
        state,
    }
}

/// Compiles each distinct selection once.
struct Compiler<'a> {
    identities: Identities,
    through: &'a BTreeMap<Ifindex, Ifindex>,
    done: Vec<(Selection<'a>, Arc<Compiled>)>,
}

impl<'a> Compiler<'a> {
    fn new(inputs: &Inputs<'a>) -> Self {
        Self {
            through: inputs.through,
            identities: inputs
                .view
                .map(|view| view.identities.clone())
                .unwrap_or_default(),
            done: Vec::new(),
        }
    }

    fn endpoint(
        &mut self,
        workload: &Workload,
        report: &EndpointReport,
        selection: &Selection<'a>,
        ifindex: Ifindex,
        problems: &mut Vec<Problem>,
    ) -> DesiredEndpoint {
        let through = self.through.get(&ifindex).copied();
        let endpoint = |rules, ingress_enforced, egress_enforced| DesiredEndpoint {
            ifindex,
            through,
            identity: report.identity,
            ingress_enforced,
            egress_enforced,
            rules,
        };
        match self.compile(selection) {
            Ok(rules) => endpoint(rules, report.ingress_enforced, report.egress_enforced),
            Err(source) => {
                let policies = list(&selection.policies);
                problems.push(Problem::Policy {
                    workload: workload.name.clone(),
                    policies,
                    source,
                });
                endpoint(Arc::default(), true, true)
            }
        }
    }

    fn compile(&mut self, selection: &Selection<'a>) -> Result<Arc<Compiled>, signet_policy::CompileError> {
        if let Some((_, compiled)) = self.done.iter().find(|(done, _)| done == selection) {
            return Ok(Arc::clone(compiled));
        }
        let compiled = Arc::new(compile(selection, &self.identities)?);
        self.done.push((selection.clone(), Arc::clone(&compiled)));
        Ok(compiled)
    }
}
