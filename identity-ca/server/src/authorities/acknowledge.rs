//! `AcknowledgeBundle`: a node says that it has the bundle.

use signet_proto::ca::v1::{AcknowledgeBundleRequest, AcknowledgeBundleResponse};
use tonic::Status;
use tracing::debug;

use crate::ca::Ca;
use crate::caller::Caller;
use crate::refusal;

impl Ca {
    /// Takes a node's word down. What it says is worth its own SVIDs alone: one that lies is left without the authority that
    /// checks its peers.
    pub(crate) async fn acknowledge_bundle(
        &self,
        caller: &Caller,
        request: &AcknowledgeBundleRequest,
    ) -> Result<AcknowledgeBundleResponse, Status> {
        let node = &caller.node().name;
        let AcknowledgeBundleRequest { sequence, mark } = request;
        let counted = self.registry.acknowledge_bundle(node, *sequence, mark).await;
        let counted = counted.map_err(|error| refusal::storage("acknowledge", &error))?;
        if counted {
            debug!(peer.node = %node, bundle.sequence = sequence, "a node has the bundle");
            self.signing.due.notify_one();
        }
        Ok(AcknowledgeBundleResponse { counted })
    }
}
