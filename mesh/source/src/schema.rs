//! The documents, as they are written. Doc comments become descriptions in the JSON Schema.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::{Deserialize, Deserializer};

use crate::at::At;

/// What `apiVersion` must say.
pub const API_VERSION: &str = "signet.io/v1alpha1";

/// The JSON Schema (2020-12) of one document, for editors.
pub fn json_schema() -> serde_json::Value {
    SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<AnyDocument>()
        .into()
}

/// A document of a Signet configuration directory.
#[derive(JsonSchema)]
#[serde(untagged)]
#[schemars(title = "Signet configuration")]
#[expect(
    dead_code,
    reason = "stands for the schema; documents are parsed by their kind, which gives better errors"
)]
enum AnyDocument {
    Workload(WorkloadDocument),
    Policy(PolicyDocument),
}

/// What says of which kind a document is. Everything else is left to the kind's own type.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Head {
    pub(crate) api_version: Option<At<String>>,
    pub(crate) kind: Option<At<String>>,
}

/// The version of the schema.
#[derive(Deserialize, JsonSchema)]
pub(crate) enum ApiVersion {
    #[serde(rename = "signet.io/v1alpha1")]
    V1Alpha1,
}

#[derive(Deserialize, JsonSchema)]
pub(crate) enum WorkloadKind {
    Workload,
}

#[derive(Deserialize, JsonSchema)]
pub(crate) enum PolicyKind {
    Policy,
}

/// A workload: one network interface on one node, and who it is.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "apiVersion and kind were looked at when the type was chosen"
)]
pub(crate) struct WorkloadDocument {
    api_version: ApiVersion,
    kind: WorkloadKind,
    pub(crate) metadata: Metadata,
    pub(crate) spec: At<WorkloadSpec>,
}

/// A policy: who may talk to the workloads that it selects, and how they must prove themselves.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "apiVersion and kind were looked at when the type was chosen"
)]
pub(crate) struct PolicyDocument {
    api_version: ApiVersion,
    kind: PolicyKind,
    pub(crate) metadata: Metadata,
    pub(crate) spec: At<PolicySpec>,
}

/// Name and labels.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Metadata {
    /// Unique among the objects of this kind in the namespace.
    pub(crate) name: At<String>,
    /// Where the object belongs.
    pub(crate) namespace: At<String>,
    /// What policies select workloads by.
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, At<String>>,
    /// For people and other tools; not looked at.
    #[serde(default)]
    #[expect(dead_code, reason = "accepted, because other tools write it")]
    annotations: BTreeMap<String, String>,
}

/// Where a workload is.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct WorkloadSpec {
    /// Name of its node.
    pub(crate) node: At<String>,
    /// Its SPIFFE ID is `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.
    pub(crate) service_account: At<String>,
    /// Its IPv4 and IPv6 addresses; they must lie in the pod CIDRs of its node.
    #[schemars(length(min = 1, max = 16))]
    pub(crate) addresses: At<Vec<At<String>>>,
    /// Host side of its interface on that node.
    pub(crate) interface: At<String>,
    /// File of its network namespace on that node, such as `/run/netns/web`; lets its processes be attested.
    #[serde(default)]
    pub(crate) netns: Option<At<String>>,
}

/// Whom a policy selects, and its rules.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PolicySpec {
    /// The workloads of the policy's namespace that it selects; empty: all of them.
    #[serde(default)]
    pub(crate) endpoint_selector: Selector,
    /// Rules for packets towards them. If the field is there, even as `[]`, what no rule allows is dropped.
    #[serde(default, deserialize_with = "present")]
    pub(crate) ingress: Option<Vec<At<IngressRule>>>,
    /// Rules for packets from them, likewise.
    #[serde(default, deserialize_with = "present")]
    pub(crate) egress: Option<Vec<At<EgressRule>>>,
}

/// A field that is written must have a value: `ingress:` with nothing behind it is no list.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Selects workloads.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Selector {
    /// Labels that a workload must have, all of them.
    #[serde(default)]
    pub(crate) match_labels: BTreeMap<String, At<String>>,
}

/// A rule for packets towards the selected workloads.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct IngressRule {
    /// Who opens the connection; at least one.
    #[schemars(length(min = 1, max = 256))]
    pub(crate) from: Vec<At<PeerSpec>>,
    /// To which ports; empty: all.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub(crate) ports: Vec<At<PortSpec>>,
    /// What happens.
    #[serde(default)]
    pub(crate) action: ActionSpec,
    /// What the pair must have proven.
    #[serde(default)]
    pub(crate) authentication: AuthenticationSpec,
    /// What a sender hears if that cannot be.
    #[serde(default)]
    pub(crate) on_failure: OnFailureSpec,
}

/// A rule for packets from the selected workloads.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct EgressRule {
    /// To whom the connection is opened; at least one.
    #[schemars(length(min = 1, max = 256))]
    pub(crate) to: Vec<At<PeerSpec>>,
    /// To which ports; empty: all.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub(crate) ports: Vec<At<PortSpec>>,
    /// What happens.
    #[serde(default)]
    pub(crate) action: ActionSpec,
    /// What the pair must have proven.
    #[serde(default)]
    pub(crate) authentication: AuthenticationSpec,
    /// What a sender hears if that cannot be.
    #[serde(default)]
    pub(crate) on_failure: OnFailureSpec,
}

/// Who is at the other end: exactly one of the fields.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub(crate) struct PeerSpec {
    /// Workloads of a service account in this trust domain.
    #[serde(default)]
    pub(crate) workload: Option<WorkloadPeer>,
    /// Workloads with this SPIFFE ID.
    #[serde(default)]
    pub(crate) spiffe_id: Option<At<String>>,
    /// Peers by what they are.
    #[serde(default)]
    pub(crate) entity: Option<EntitySpec>,
    /// Addresses; not supported yet.
    #[serde(default)]
    pub(crate) cidr: Option<At<String>>,
}

/// A service account.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct WorkloadPeer {
    /// Its namespace; the policy's own if left out.
    #[serde(default)]
    pub(crate) namespace: Option<At<String>>,
    /// Its name.
    pub(crate) service_account: At<String>,
}

/// Peers by what they are: everyone, addresses outside the cluster, this node, other nodes, workloads without a
/// registration, the ingress gateway, everyone but the world.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum EntitySpec {
    All,
    World,
    Host,
    RemoteNode,
    Unmanaged,
    Ingress,
    Cluster,
}

/// Ports of a protocol.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PortSpec {
    /// The protocol.
    pub(crate) protocol: ProtocolSpec,
    /// The first port; left out: all ports.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub(crate) port: Option<At<u16>>,
    /// The last port; left out: `port` alone.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub(crate) end_port: Option<At<u16>>,
}

/// A transport protocol, or any (with ports: any that has them).
#[derive(Clone, Copy, Deserialize, JsonSchema)]
pub(crate) enum ProtocolSpec {
    #[serde(rename = "TCP")]
    Tcp,
    #[serde(rename = "UDP")]
    Udp,
    #[serde(rename = "SCTP")]
    Sctp,
    #[serde(rename = "ICMP")]
    Icmp,
    #[serde(rename = "ICMPv6")]
    IcmpV6,
    #[serde(rename = "ANY")]
    Any,
}

/// What a rule does: let pass, or drop whatever other rules allow.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
pub(crate) enum ActionSpec {
    #[default]
    Allow,
    Deny,
}

/// What a pair must have proven: nothing (the default), both identities by a mutual handshake, or something that cannot be
/// had.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AuthenticationSpec {
    #[default]
    Disabled,
    Required,
    AlwaysFail,
}

/// What a sender hears whose packets there can be no proof for: nothing (the default), or that it is refused (TCP: a reset; else
/// ICMP, administratively prohibited). For `authentication: required` alone.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OnFailureSpec {
    #[default]
    Drop,
    Reject,
}
