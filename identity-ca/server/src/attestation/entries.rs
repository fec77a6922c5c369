//! What the operator says about nodes that attest without a join token.

use signet_proto::ca::v1::{AllowNodeRequest, NodeEntry as WireEntry};
use signet_registry::{
    AllowError, CreateTokenError, MAX_ADDRESSES, MAX_NODE_SELECTORS, MAX_POD_CIDRS, NewNodeEntry, NodeEntry,
    Registry,
};
use signet_spiffe::NodeName;
use tonic::Status;
use tracing::info;

use crate::audit::AUDIT;
use crate::ca::Ca;
use crate::clock::unix_seconds;
use crate::refusal::{self, invalid};
use crate::registrations::parse_all;

impl Ca {
    pub(crate) async fn allow_node(
        &self,
        registry: &Registry,
        request: &AllowNodeRequest,
    ) -> Result<WireEntry, Status> {
        let new = NewNodeEntry {
            node: NodeName::parse(&request.node).map_err(invalid)?,
            pod_cidrs: parse_all(&request.pod_cidrs, MAX_POD_CIDRS)?,
            addresses: parse_all(&request.addresses, MAX_ADDRESSES)?,
            ways: parse_all(&request.ways, MAX_NODE_SELECTORS)?,
        };
        let made = registry
            .allow_node(&new, self.clock.now())
            .await
            .map_err(|error| refused(&error))?;
        let ways: Vec<_> = new.ways.iter().map(ToString::to_string).collect();
        info!(target: AUDIT, { peer.node = %new.node, ways = ways.join(", ") }, "a node may attest");
        Ok(entry(&made))
    }

    pub(crate) async fn disallow_node(&self, registry: &Registry, node: &str) -> Result<WireEntry, Status> {
        let node = NodeName::parse(node).map_err(invalid)?;
        let gone = registry
            .disallow_node(&node)
            .await
            .map_err(|error| refusal::storage("disallow", &error))?
            .ok_or_else(|| Status::not_found(format!("there is no entry of the node {node}")))?;
        info!(target: AUDIT, { peer.node = %node }, "a node may attest no more");
        Ok(entry(&gone))
    }

    pub(crate) async fn list_node_entries(&self) -> Result<Vec<WireEntry>, Status> {
        let entries = self.registry.node_entries().await;
        let entries = entries.map_err(|error| refusal::storage("list", &error))?;
        Ok(entries.iter().map(entry).collect())
    }
}

fn refused(error: &AllowError) -> Status {
    match error {
        AllowError::NoWay | AllowError::Selectors { .. } => invalid(error),
        AllowError::TooMany => Status::resource_exhausted(error.to_string()),
        AllowError::Place(CreateTokenError::Banned { .. }) => Status::failed_precondition(error.to_string()),
        AllowError::Place(error) => refusal::create_token(error),
        AllowError::Storage(error) => refusal::storage("allow", error),
    }
}

fn entry(known: &NodeEntry) -> WireEntry {
    let NodeEntry { entry, created_at } = known;
    WireEntry {
        node: entry.node.to_string(),
        pod_cidrs: entry.pod_cidrs.iter().map(ToString::to_string).collect(),
        addresses: entry.addresses.iter().map(ToString::to_string).collect(),
        ways: entry.ways.iter().map(ToString::to_string).collect(),
        created_at: unix_seconds(*created_at),
    }
}
