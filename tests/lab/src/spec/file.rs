//! The schema. Unknown fields are refused; errors name line and field.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use super::SpecError;
use super::places::Places;
use crate::name::LabName;

/// A lab: nodes, the workloads on them, and the policies between these.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LabFile {
    /// 1 to 16 lower-case letters and digits. Namespaces are called `sg-<name>-<node or workload>`.
    #[schemars(with = "String")]
    pub name: Spanned<String>,
    /// The SPIFFE trust domain.
    #[serde(default = "default_trust_domain")]
    pub trust_domain: String,
    /// MTU of the workloads' interfaces. The default leaves room for `WireGuard` on an underlay of 1500.
    #[serde(default = "default_mtu")]
    #[schemars(with = "u16", range(min = 1280, max = 9000))]
    pub mtu: Spanned<u16>,
    /// Life of the SVIDs, for example `1h` or `90s`. Default: the CA's.
    #[serde(default)]
    pub svid_ttl: Option<String>,
    /// Encryption between nodes once the lab is up.
    #[serde(default)]
    pub encryption: Encryption,
    /// What the agents prove before anybody asks. A lab is there to be looked at, so by default each pair meets its first
    /// contact.
    #[serde(default)]
    pub preauth: Preauth,
    /// Proofs that there is room for on each node, 4 or more. Default: signet-meshd's.
    #[serde(default)]
    pub map_auth: Option<u32>,
    /// The nodes, at most 64.
    pub nodes: Vec<NodeFile>,
    /// The workloads. Their names are unique in the lab.
    #[serde(default)]
    pub workloads: Vec<WorkloadFile>,
    /// Whole `Policy` documents, as signet-meshd reads them from its configuration folder.
    #[serde(default)]
    pub policies: Vec<serde_json::Value>,
    /// Where it came from, for errors.
    #[serde(skip)]
    pub(crate) source: String,
    /// Where its values are, for errors.
    #[serde(skip)]
    pub(crate) places: Places,
}

/// Encryption between nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encryption {
    /// Plaintext.
    #[default]
    Off,
    /// `WireGuard`, node to node.
    Wireguard,
}

/// What agents prove before anybody asks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Preauth {
    /// Nothing.
    #[default]
    Off,
    /// What rules ask for.
    Policy,
    /// Every pair.
    All,
}

impl Preauth {
    /// As signet-agent's command line has it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Policy => "policy",
            Self::All => "all",
        }
    }
}

/// A node: a network namespace with an uplink to the underlay and Signet's daemons.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeFile {
    /// A DNS label.
    #[schemars(with = "String")]
    pub name: Spanned<String>,
    /// Underlay address in 172.30.0.0/24. Default: .11 for the first node, .12 for the second and so on.
    #[serde(default)]
    #[schemars(with = "Option<Ipv4Addr>")]
    pub ipv4: Option<Spanned<Ipv4Addr>>,
    /// Underlay address in <fd00:30::/64>.
    #[serde(default)]
    #[schemars(with = "Option<Ipv6Addr>")]
    pub ipv6: Option<Spanned<Ipv6Addr>>,
}

/// A workload: a network namespace joined to its node by a veth.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct WorkloadFile {
    /// A DNS label, unique in the lab.
    #[schemars(with = "String")]
    pub name: Spanned<String>,
    /// Its namespace in the sense of policies, not of the kernel.
    #[serde(default = "default_namespace")]
    #[schemars(with = "String")]
    pub namespace: Spanned<String>,
    /// Default: the workload's name.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub service_account: Option<Spanned<String>>,
    /// Labels that policies select by.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The node it runs on.
    #[schemars(with = "String")]
    pub node: Spanned<String>,
    /// Whether the CA is told of it. Without a registration it has no SVID and the identity `unmanaged`.
    #[serde(default = "default_registered")]
    pub registered: bool,
    /// A program to run and keep running in it. Signet's binaries are found without a path.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub command: Option<Spanned<Vec<String>>>,
    /// The lab's own small server instead of a command.
    #[serde(default)]
    pub serve: Option<ServeFile>,
}

/// The lab's own server: answers a line or an HTTP request with a text, and echoes datagrams.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServeFile {
    /// TCP ports.
    #[serde(default)]
    pub tcp: Vec<u16>,
    /// UDP ports.
    #[serde(default)]
    pub udp: Vec<u16>,
}

impl LabFile {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, SpecError> {
        let file = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, &file),
            Err(source) => Err(SpecError::Read { file, source }),
        }
    }

    /// Parses a text; `source` names it in errors.
    pub fn parse(text: &str, source: &str) -> Result<Self, SpecError> {
        let mut file: Self = serde_saphyr::from_str(text).map_err(|error| {
            let (line, column) = error.location().map_or((0, 0), |at| (at.line(), at.column()));
            let what = error.without_snippet().to_string();
            SpecError::Syntax {
                file: source.to_owned(),
                line,
                column,
                what,
            }
        })?;
        source.clone_into(&mut file.source);
        file.places = Places::of(text);
        Ok(file)
    }

    /// The same lab under another name, so that several can run side by side.
    #[must_use]
    pub fn renamed(mut self, name: &LabName) -> Self {
        name.as_str().clone_into(&mut self.name.value);
        self
    }
}

fn default_trust_domain() -> String {
    "cluster.local".to_owned()
}

fn default_mtu() -> Spanned<u16> {
    unlocated(1420)
}

fn default_namespace() -> Spanned<String> {
    unlocated("default".to_owned())
}

const fn default_registered() -> bool {
    true
}

/// A default has no place in the file.
fn unlocated<T>(value: T) -> Spanned<T> {
    Spanned {
        value,
        referenced: serde_saphyr::Location::UNKNOWN,
        defined: serde_saphyr::Location::UNKNOWN,
    }
}
