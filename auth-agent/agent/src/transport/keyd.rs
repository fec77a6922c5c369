//! Calls to signet-keyd.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use signet_proto::keyd::v1::key_service_client::KeyServiceClient;
use signet_proto::keyd::v1::{InstallPeerRequest, PeerRequest, SetModeRequest, StatusRequest};
use signet_proto::view::v1::EncryptionMode;
use signet_session::{NodeNumber, Offer};
use tokio::time::timeout;
use tonic::transport::Channel;

use crate::tasks::Fault;

/// For one call; `StartSending` waits for a first tunnel handshake.
const CALL: Duration = Duration::from_secs(5);

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum KeydError {
    /// The socket's path.
    #[error("cannot use the socket of signet-keyd")]
    Socket(#[from] tonic::transport::Error),
    /// No answer.
    #[error("signet-keyd does not answer")]
    Deadline,
    /// A refusal.
    #[error("signet-keyd: {}", .0.message())]
    Refused(Box<tonic::Status>),
    /// An answer that is of no use.
    #[error("signet-keyd answered without a usable {0}")]
    Answer(&'static str),
    /// Ours.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl KeydError {
    /// Whether keyd itself is away, not only unable to do one thing.
    pub(super) fn is_away(&self) -> bool {
        match self {
            Self::Socket(_) => true,
            Self::Refused(status) => status.code() == tonic::Code::Unavailable,
            Self::Deadline | Self::Answer(_) | Self::Fault(_) => false,
        }
    }
}

/// Our half of the transport.
pub type Ours = Offer;

/// signet-keyd, as this agent's client of it.
#[derive(Clone, Debug)]
pub struct Keyd(KeyServiceClient<Channel>);

/// How keyd stands.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    /// Changes with keyd's key.
    pub(super) key_epoch: u64,
    /// Peers it has; true: it encrypts towards them under keys that they have confirmed.
    pub(super) peers: BTreeMap<NodeNumber, bool>,
}

impl Keyd {
    /// A client of the daemon that serves, or will serve, `socket`.
    pub fn new(socket: &Path) -> Result<Self, KeydError> {
        Ok(Self(KeyServiceClient::new(signet_uds::connect(socket)?)))
    }

    pub(super) async fn on(&self) -> Result<Ours, KeydError> {
        let request = SetModeRequest {
            mode: EncryptionMode::Wireguard.into(),
        };
        let answer = call(self.0.clone().set_mode(request)).await?;
        let public_key = answer
            .public_key
            .try_into()
            .map_err(|_| KeydError::Answer("public key"))?;
        let port = u16::try_from(answer.port)
            .ok()
            .filter(|port| *port != 0)
            .ok_or(KeydError::Answer("port"))?;
        Ok(Ours {
            key_epoch: answer.key_epoch,
            public_key,
            port,
        })
    }

    pub(super) async fn off(&self) -> Result<(), KeydError> {
        call(self.0.clone().set_mode(SetModeRequest {
            mode: EncryptionMode::Off.into(),
        }))
        .await
        .map(|_| ())
    }

    pub(super) async fn install(&self, peer: InstallPeerRequest) -> Result<(), KeydError> {
        call(self.0.clone().install_peer(peer)).await.map(|_| ())
    }

    pub(super) async fn start_sending(&self, node: NodeNumber) -> Result<(), KeydError> {
        call(self.0.clone().start_sending(PeerRequest { node_id: node.get() }))
            .await
            .map(|_| ())
    }

    pub(super) async fn stop_sending(&self, node: NodeNumber) -> Result<(), KeydError> {
        call(self.0.clone().stop_sending(PeerRequest { node_id: node.get() }))
            .await
            .map(|_| ())
    }

    pub(super) async fn remove(&self, node: NodeNumber) -> Result<(), KeydError> {
        call(self.0.clone().remove_peer(PeerRequest { node_id: node.get() }))
            .await
            .map(|_| ())
    }

    pub(super) async fn standing(&self) -> Result<Standing, KeydError> {
        let status = call(self.0.clone().status(StatusRequest {})).await?;
        let peers = status.peers.iter().filter_map(|peer| {
            let encrypts = matches!(peer.state.as_str(), "sending" | "rekeying" | "held");
            Some((NodeNumber::new(peer.node_id)?, encrypts))
        });
        Ok(Standing {
            key_epoch: status.key_epoch,
            peers: peers.collect(),
        })
    }
}

async fn call<T>(
    answer: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, KeydError> {
    match timeout(CALL, answer).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(KeydError::Refused(Box::new(status))),
        Err(_) => Err(KeydError::Deadline),
    }
}
