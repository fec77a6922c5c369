//! Where a lab keeps its things.

use std::path::{Path, PathBuf};

use crate::LabName;

/// Default folder of all labs.
pub(crate) const RUN_ROOT: &str = "/run/signet-lab";
/// Where pins of all labs are.
const BPF_ROOT: &str = "/sys/fs/bpf/signet-lab";
/// What the names of claims end with.
pub(crate) const CLAIM_SUFFIX: &str = ".claim";
/// Where `ip netns` keeps namespaces.
const NETNS_ROOT: &str = "/run/netns";

/// The paths of one lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabPaths {
    lab: LabName,
}

impl LabPaths {
    /// The paths of the lab with this name.
    pub fn new(lab: &LabName) -> Self {
        Self { lab: lab.clone() }
    }

    /// The lab.
    pub fn lab(&self) -> &LabName {
        &self.lab
    }

    /// Everything of the lab that is not a namespace or a pin.
    pub fn run_dir(&self) -> PathBuf {
        Path::new(RUN_ROOT).join(self.lab.as_str())
    }

    /// Held with `flock` by whoever changes the lab.
    pub fn lock(&self) -> PathBuf {
        Path::new(RUN_ROOT).join(format!(".{}.lock", self.lab))
    }

    /// Locked with `flock` by the program that has the lab to itself, if one has.
    pub fn claim(&self) -> PathBuf {
        Path::new(RUN_ROOT).join(format!(".{}{CLAIM_SUFFIX}", self.lab))
    }

    /// The plan, written by `up`.
    pub fn state(&self) -> PathBuf {
        self.run_dir().join("lab.json")
    }

    /// Written by the supervisor.
    pub fn supervisor_state(&self) -> PathBuf {
        self.run_dir().join("supervisor.json")
    }

    /// A file here named like a supervised process keeps it stopped.
    pub fn holds(&self) -> PathBuf {
        self.run_dir().join("holds")
    }

    /// Log files.
    pub fn logs(&self) -> PathBuf {
        self.run_dir().join("logs")
    }

    /// Workload and policy files, read by every signet-meshd of the lab.
    pub fn config(&self) -> PathBuf {
        self.run_dir().join("config")
    }

    /// signet-ca's folder.
    pub fn ca_dir(&self) -> PathBuf {
        self.run_dir().join("ca")
    }

    /// signet-ca's operator socket.
    pub fn ca_socket(&self) -> PathBuf {
        self.ca_dir().join("ca.sock")
    }

    /// The trust bundle that agents start with.
    pub fn trust_bundle(&self) -> PathBuf {
        self.ca_dir().join("bundle.pem")
    }

    /// `--run-dir` of a node's daemons.
    pub fn node_run(&self, node: &str) -> PathBuf {
        self.run_dir().join(node)
    }

    /// The SPIFFE Workload API socket of a node.
    pub fn workload_socket(&self, node: &str) -> PathBuf {
        self.node_run(node).join("workload.sock")
    }

    /// Pins of all nodes.
    pub fn bpffs(&self) -> PathBuf {
        Path::new(BPF_ROOT).join(self.lab.as_str())
    }

    /// `--bpffs` of a node's daemons.
    pub fn node_bpffs(&self, node: &str) -> PathBuf {
        self.bpffs().join(node)
    }

    /// The namespace of a place: a node, a workload, `ca` or `net`.
    pub fn netns_name(&self, place: &str) -> String {
        format!("{}{place}", self.netns_prefix())
    }

    /// What the names of all the lab's namespaces begin with.
    pub fn netns_prefix(&self) -> String {
        format!("sg-{}-", self.lab)
    }

    /// The file of a place's namespace.
    pub fn netns(&self, place: &str) -> PathBuf {
        Path::new(NETNS_ROOT).join(self.netns_name(place))
    }
}

/// The folder of `ip netns`.
pub(crate) fn netns_root() -> &'static Path {
    Path::new(NETNS_ROOT)
}

/// The folder that all labs' pins share.
pub(crate) fn bpf_root() -> &'static Path {
    Path::new(BPF_ROOT)
}
