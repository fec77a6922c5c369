//! gRPC clients of a lab's daemons. Unix sockets do not care for network namespaces.

use std::error::Error as _;
use std::path::Path;

use signet_proto::agent::v1::agent_service_client::AgentServiceClient;
use signet_proto::ca::v1::operator_service_client::OperatorServiceClient;
use signet_proto::keyd::v1::key_service_client::KeyServiceClient;
use signet_proto::mesh::v1::mesh_service_client::MeshServiceClient;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::LabError;

/// Clients of the daemons of one node. They connect at the first call, and again when a daemon comes back.
#[derive(Debug, Clone)]
pub struct NodeClient {
    /// signet-agent.
    pub agent: AgentServiceClient<Channel>,
    /// signet-meshd.
    pub mesh: MeshServiceClient<Channel>,
    /// signet-keyd.
    pub keyd: KeyServiceClient<Channel>,
}

impl NodeClient {
    /// Clients of the daemons with this run folder.
    pub fn new(run_dir: &Path) -> Result<Self, LabError> {
        Ok(Self {
            agent: AgentServiceClient::new(channel(&run_dir.join("agent.sock"))?),
            mesh: MeshServiceClient::new(channel(&run_dir.join("meshd.sock"))?),
            keyd: KeyServiceClient::new(channel(&run_dir.join("keyd.sock"))?),
        })
    }
}

/// A client of the CA's operator socket.
pub(crate) fn ca_client(socket: &Path) -> Result<OperatorServiceClient<Channel>, LabError> {
    Ok(OperatorServiceClient::new(channel(socket)?))
}

fn channel(socket: &Path) -> Result<Channel, LabError> {
    signet_uds::connect(socket).map_err(|error| LabError::Unreachable {
        what: socket.display().to_string(),
        message: error.to_string(),
    })
}

/// Turns a daemon's answer into ours.
pub(crate) fn refused(what: &str) -> impl FnOnce(Status) -> LabError {
    let what = what.to_owned();
    move |status| {
        let message = status.message().to_owned();
        // A status of our own making has a source: the connection was never made, or broke.
        if status.code() == Code::Unavailable || status.source().is_some() {
            LabError::Unreachable { what, message }
        } else {
            LabError::Refused { what, message }
        }
    }
}
