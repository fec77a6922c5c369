//! Workloads, as the sources name them.

use std::fmt;
use std::path::PathBuf;

use signet_policy::{Labels, Name, Namespace};
use signet_spiffe::NodeName;
use thiserror::Error;

use crate::address::WorkloadAddress;
use crate::interface::InterfaceName;

/// Most addresses of one workload.
pub const MAX_ADDRESSES: usize = 16;

/// Why parts do not make a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WorkloadError {
    /// Without an address nothing can be enforced.
    #[error("the workload has no address: write at least one")]
    NoAddress,
    /// More than [`MAX_ADDRESSES`].
    #[error("{0} addresses are too many: at most {MAX_ADDRESSES} are allowed")]
    TooManyAddresses(usize),
}

/// A workload's full name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadName {
    /// Its namespace.
    pub namespace: Namespace,
    /// Unique in its namespace.
    pub name: Name,
}

impl fmt::Display for WorkloadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A workload with one interface on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Its name.
    pub name: WorkloadName,
    /// What policies select it by.
    pub labels: Labels,
    /// Where it runs.
    pub node: NodeName,
    /// What its SPIFFE ID is made of, with the namespace.
    pub service_account: Name,
    /// The host side of its interface, on that node.
    pub interface: InterfaceName,
    /// File of its network namespace on that node, for the attestation of its processes.
    pub netns: Option<PathBuf>,
    addresses: Vec<WorkloadAddress>,
}

impl Workload {
    /// Puts a workload together. An address that is written twice is kept once.
    pub fn new(
        name: WorkloadName,
        labels: Labels,
        node: NodeName,
        service_account: Name,
        interface: InterfaceName,
        mut addresses: Vec<WorkloadAddress>,
    ) -> Result<Self, WorkloadError> {
        if addresses.is_empty() {
            return Err(WorkloadError::NoAddress);
        }
        if addresses.len() > MAX_ADDRESSES {
            return Err(WorkloadError::TooManyAddresses(addresses.len()));
        }
        addresses.sort_unstable();
        addresses.dedup();
        Ok(Self {
            name,
            labels,
            node,
            service_account,
            interface,
            netns: None,
            addresses,
        })
    }

    /// The same with the file of its network namespace.
    #[must_use]
    pub fn with_netns(self, netns: PathBuf) -> Self {
        Self {
            netns: Some(netns),
            ..self
        }
    }

    /// Its addresses; at least one, each once.
    pub fn addresses(&self) -> &[WorkloadAddress] {
        &self.addresses
    }
}
