//! Whether a node is ready: pure, over what its daemons say of themselves.

use std::collections::HashSet;

use signet_proto::agent::v1::{ListSvidsResponse, StatusResponse as AgentStatus};
use signet_proto::keyd::v1::StatusResponse as KeydStatus;
use signet_proto::mesh::v1::{ListEndpointsResponse, StatusResponse as MeshStatus};
use signet_proto::view::v1::EncryptionMode;

use crate::Plan;
use crate::control::Role;

/// The first workload's number; below are the reserved identities.
const FIRST_WORKLOAD_IDENTITY: u32 = 256;

/// What a node still lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Missing {
    /// Who should know more: its log is shown.
    pub(super) role: Role,
    /// In words.
    pub(super) what: String,
}

impl Missing {
    pub(super) fn new(role: Role, what: impl Into<String>) -> Self {
        Self {
            role,
            what: what.into(),
        }
    }
}

/// The agent is connected to everybody.
pub(super) fn agent(status: &AgentStatus) -> Result<(), Missing> {
    let connected = [
        (status.ca_connected, "the CA"),
        (status.mesh_connected, "signet-meshd"),
        (status.keyd_connected, "signet-keyd"),
    ];
    match connected.into_iter().find(|(connected, _)| !connected) {
        Some((_, whom)) => {
            let what = format!("is not connected to {whom}{}", because(&status.last_error));
            Err(Missing::new(Role::Agent, what))
        }
        None if !status.parking.is_some_and(|parking| parking.open) => {
            let what = format!(
                "cannot hold packets that lack a proof{}",
                because(&status.last_error)
            );
            Err(Missing::new(Role::Agent, what))
        }
        None => Ok(()),
    }
}

/// Every SPIFFE ID registered on the node has its SVID.
pub(super) fn svids(plan: &Plan, node: &str, svids: &ListSvidsResponse) -> Result<(), Missing> {
    let wanted = plan.workloads_on(node).filter(|workload| workload.registered);
    for id in wanted
        .map(|workload| workload.spiffe_id(&plan.trust_domain))
        .collect::<HashSet<_>>()
    {
        let entry = svids.svids.iter().find(|entry| entry.spiffe_id == id);
        let Some(entry) = entry else {
            return Err(Missing::new(Role::Agent, format!("has no SVID for {id} yet")));
        };
        if entry.state != "ready" {
            let what = format!("SVID of {id} is {}{}", entry.state, because(&entry.last_error));
            return Err(Missing::new(Role::Agent, what));
        }
    }
    Ok(())
}

/// signet-meshd knows who it is.
pub(super) fn mesh(status: &MeshStatus) -> Result<(), Missing> {
    if !status.agent_connected {
        return Err(Missing::new(Role::Meshd, "is not connected to signet-agent"));
    }
    if status.node_id == 0 {
        return Err(Missing::new(Role::Meshd, "does not know its node's number"));
    }
    Ok(())
}

/// Every workload of the cluster is an endpoint with its identity, and the node's own are ready.
pub(super) fn endpoints(plan: &Plan, node: &str, list: &ListEndpointsResponse) -> Result<(), Missing> {
    for workload in &plan.workloads {
        let name = workload.full_name();
        let entry = list.endpoints.iter().find_map(|entry| {
            let endpoint = entry.endpoint.as_ref()?;
            (endpoint.namespace == workload.namespace && endpoint.name == workload.name)
                .then_some((entry, endpoint))
        });
        let Some((entry, endpoint)) = entry else {
            return Err(Missing::new(
                Role::Meshd,
                format!("does not know the endpoint {name}"),
            ));
        };
        if workload.registered && endpoint.identity < FIRST_WORKLOAD_IDENTITY {
            return Err(Missing::new(
                Role::Meshd,
                format!("has no identity for {name} yet"),
            ));
        }
        if workload.node == node && entry.state != "ready" {
            return Err(Missing::new(
                Role::Meshd,
                format!("says that {name} is `{}`", entry.state),
            ));
        }
    }
    Ok(())
}

/// Encryption is on, and every other node is sent to encrypted.
pub(super) fn encrypted(plan: &Plan, status: &KeydStatus) -> Result<(), Missing> {
    let sending = status.peers.iter().filter(|peer| peer.state == "sending").count();
    let wanted = plan.nodes.len().saturating_sub(1);
    if status.mode() != EncryptionMode::Wireguard || sending < wanted {
        let what = format!(
            "sends encrypted to {sending} of {wanted} nodes{}",
            because(&status.last_error)
        );
        return Err(Missing::new(Role::Keyd, what));
    }
    Ok(())
}

fn because(error: &str) -> String {
    if error.is_empty() {
        String::new()
    } else {
        format!(" ({error})")
    }
}

#[cfg(test)]
mod tests {
    use signet_proto::agent::v1::SvidEntry;
    use signet_proto::keyd::v1::PeerStatus;
    use signet_proto::mesh::v1::{EndpointEntry, LocalEndpoint};

    use super::*;
    use crate::LabFile;

    fn plan() -> Plan {
        let text = "name: t\nnodes: [{name: n1}, {name: n2}]\nworkloads:\n- {name: web, node: n1}\n\
                    - {name: stray, node: n2, registered: false}\n";
        Plan::new(&LabFile::parse(text, "test").unwrap()).unwrap()
    }

    fn entry(name: &str, identity: u32, state: &str) -> EndpointEntry {
        let endpoint = LocalEndpoint {
            namespace: "default".into(),
            name: name.into(),
            identity,
            ..LocalEndpoint::default()
        };
        EndpointEntry {
            endpoint: Some(endpoint),
            state: state.into(),
            ..EndpointEntry::default()
        }
    }

    #[test]
    fn a_registered_endpoint_waits_for_its_identity_and_an_unregistered_one_does_not() {
        let list = |web| ListEndpointsResponse {
            endpoints: vec![entry("web", web, "ready"), entry("stray", 3, "")],
        };
        assert!(
            endpoints(&plan(), "n1", &list(3))
                .unwrap_err()
                .what
                .contains("no identity for default/web")
        );
        assert_eq!(endpoints(&plan(), "n1", &list(256)), Ok(()));
        assert!(
            endpoints(&plan(), "n2", &list(256))
                .unwrap_err()
                .what
                .contains("default/stray is ``")
        );
    }

    #[test]
    fn a_failed_svid_is_told_with_its_error() {
        let spiffe_id = "spiffe://cluster.local/ns/default/sa/web".to_owned();
        let entry = SvidEntry {
            spiffe_id,
            state: "failed".into(),
            last_error: "no".into(),
            ..SvidEntry::default()
        };
        let missing = svids(&plan(), "n1", &ListSvidsResponse { svids: vec![entry] }).unwrap_err();
        assert!(missing.what.ends_with("is failed (no)"), "{}", missing.what);
        assert_eq!(svids(&plan(), "n2", &ListSvidsResponse::default()), Ok(()));
    }

    #[test]
    fn encryption_counts_only_peers_that_are_sent_to() {
        let peer = |state: &str| PeerStatus {
            state: state.into(),
            ..PeerStatus::default()
        };
        let mode = EncryptionMode::Wireguard.into();
        let status = |state| KeydStatus {
            mode,
            peers: vec![peer(state)],
            ..KeydStatus::default()
        };
        assert!(encrypted(&plan(), &status("receiving")).is_err());
        assert_eq!(encrypted(&plan(), &status("sending")), Ok(()));
    }
}
