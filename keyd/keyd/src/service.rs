//! The gRPC face: parses, locks, answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use signet_proto::keyd::v1::key_service_server::KeyService;
use signet_proto::keyd::v1::{
    InstallPeerRequest, PeerRequest, PeerResponse, PeerStatus, SetModeRequest, SetModeResponse,
    StatusRequest, StatusResponse,
};
use signet_proto::view::v1::EncryptionMode;
use signet_toggle::Mode;
use tokio::sync::Mutex;
use tonic::{Request, Response, Status};

use crate::engine::Engine;
use crate::error::{EngineError, chain};
use crate::ready::start_sending;
use crate::request;

/// What the service is told at its start.
#[derive(Clone)]
pub(crate) struct Service {
    engine: Arc<Mutex<Engine>>,
    device: String,
    port: u16,
}

impl Service {
    pub(crate) fn new(engine: Arc<Mutex<Engine>>, device: String, port: u16) -> Self {
        Self { engine, device, port }
    }
}

#[tonic::async_trait]
impl KeyService for Service {
    async fn set_mode(&self, request: Request<SetModeRequest>) -> Result<Response<SetModeResponse>, Status> {
        let mode = request::mode(request.get_ref().mode()).map_err(EngineError::from)?;
        let offer = self.engine.lock().await.set_mode(mode).await?;
        let response = offer.map_or_else(SetModeResponse::default, |offer| SetModeResponse {
            public_key: offer.public_key.as_bytes().to_vec(),
            port: u32::from(self.port),
            key_epoch: offer.key_epoch,
        });
        Ok(Response::new(response))
    }

    async fn install_peer(
        &self,
        request: Request<InstallPeerRequest>,
    ) -> Result<Response<PeerResponse>, Status> {
        let install = request::install(request.into_inner()).map_err(EngineError::from)?;
        self.engine.lock().await.install(install).await?;
        Ok(Response::new(PeerResponse {}))
    }

    async fn start_sending(&self, request: Request<PeerRequest>) -> Result<Response<PeerResponse>, Status> {
        let id = request::node_id(request.get_ref().node_id).map_err(EngineError::from)?;
        start_sending(&self.engine, id).await?;
        Ok(Response::new(PeerResponse {}))
    }

    async fn stop_sending(&self, request: Request<PeerRequest>) -> Result<Response<PeerResponse>, Status> {
        let id = request::node_id(request.get_ref().node_id).map_err(EngineError::from)?;
        self.engine.lock().await.stop_sending(id)?;
        Ok(Response::new(PeerResponse {}))
    }

    async fn remove_peer(&self, request: Request<PeerRequest>) -> Result<Response<PeerResponse>, Status> {
        let id = request::node_id(request.get_ref().node_id).map_err(EngineError::from)?;
        self.engine.lock().await.remove(id).await?;
        Ok(Response::new(PeerResponse {}))
    }

    async fn status(&self, _request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let engine = self.engine.lock().await;
        let (live, error) = match &engine.device {
            Some(device) => match device.peers().await {
                Ok(peers) => (peers, engine.last_error.clone()),
                // What is known without the device is still worth seeing, most of all now.
                Err(error) => (Vec::new(), Some(chain(&error))),
            },
            None => (Vec::new(), engine.last_error.clone()),
        };
        let live: BTreeMap<_, _> = live.into_iter().map(|peer| (peer.public_key, peer)).collect();
        let peers = engine.peers.iter().map(|(id, peer)| {
            let live = peer.public_key.and_then(|key| live.get(&key));
            let handshake = live.and_then(|live| live.last_handshake?.duration_since(UNIX_EPOCH).ok());
            let endpoint = live.and_then(|live| live.endpoint).or(peer.endpoint);
            PeerStatus {
                node_id: id.0,
                node: peer.node.clone(),
                endpoint: endpoint.map_or_else(String::new, |endpoint| endpoint.to_string()),
                state: peer.machine.state().name().to_owned(),
                last_handshake: handshake.map_or(0, |at| i64::try_from(at.as_secs()).unwrap_or(i64::MAX)),
                rx_bytes: live.map_or(0, |live| live.rx_bytes),
                tx_bytes: live.map_or(0, |live| live.tx_bytes),
                allowed_ips: peer.allowed_ips.iter().map(ToString::to_string).collect(),
            }
        });
        let mode = match engine.mode() {
            Mode::Off => EncryptionMode::Off,
            Mode::WireGuard => EncryptionMode::Wireguard,
        };
        let device = engine.device.as_ref();
        Ok(Response::new(StatusResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            mode: mode.into(),
            implementation: device.map_or_else(String::new, |device| device.implementation().to_string()),
            device: self.device.clone(),
            port: u32::from(self.port),
            public_key: device.map_or_else(String::new, |device| device.public_key().to_string()),
            peers: peers.collect(),
            last_error: error.unwrap_or_default(),
            key_epoch: engine.key_epoch,
        }))
    }
}
