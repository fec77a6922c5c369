//! `StartSending`: a session is made before the first packet needs one.

use std::sync::Arc;
use std::time::Duration;

use signet_abi::NodeId;
use signet_toggle::{Input, Refusal, State};
use signet_wireguard::{Device, PublicKey};
use tokio::sync::Mutex;

use crate::engine::Engine;
use crate::error::EngineError;

/// Longest wait for a session with a peer that said that it is ready.
const FIRST_WAIT: Duration = Duration::from_millis(300);
/// Longest wait once the peer was put into the device afresh.
const SECOND_WAIT: Duration = Duration::from_secs(1);

/// A peer that is about to be sent to.
struct Pending {
    device: Arc<dyn Device>,
    public_key: PublicKey,
    generation: u64,
}

/// The peer said that it can receive: makes a session with it, then sends encrypted.
///
/// The session comes first so that switching over costs no packet. Should none come about (a firewall between the
/// nodes), packets go into the tunnel nevertheless: encryption was asked for, so it is encrypted or nothing, and the
/// peer's status shows that there was no handshake.
pub(crate) async fn start_sending(engine: &Mutex<Engine>, id: NodeId) -> Result<(), EngineError> {
    let Some(pending) = engine.lock().await.pending(id)? else {
        return Ok(());
    };
    let key = &pending.public_key;
    // Without the lock: other peers are not kept waiting.
    let mut session = pending.device.handshake(key, FIRST_WAIT).await?;
    if !session {
        // An attempt that the peer did not know us for is repeated only after seconds; a fresh peer starts at once.
        engine.lock().await.put_afresh(id, &pending).await?;
        session = pending.device.handshake(key, SECOND_WAIT).await?;
    }
    if !session {
        tracing::warn!(
            peer.node_id = id.0,
            "no handshake with a peer that said it is ready; is UDP blocked between the nodes?"
        );
    }
    engine.lock().await.finish(id, &pending)
}

impl Engine {
    /// Checks the order; `None`: we are sending already.
    fn pending(&self, id: NodeId) -> Result<Option<Pending>, EngineError> {
        let Some(peer) = self.peers.get(&id) else {
            return Err(Refusal::NotInstalled.into());
        };
        peer.machine.step(self.mode(), Input::Ready)?;
        if peer.machine.state() == State::Sending {
            return Ok(None);
        }
        let device = self.device()?;
        let Some(public_key) = peer.public_key else {
            return Err(Refusal::NotInstalled.into());
        };
        Ok(Some(Pending {
            device,
            public_key,
            generation: peer.generation,
        }))
    }

    /// Takes a peer without session out of the device and puts it in again.
    async fn put_afresh(&mut self, id: NodeId, pending: &Pending) -> Result<(), EngineError> {
        self.unchanged(id, pending)?;
        if let Some(config) = self.peers.get(&id).and_then(|peer| peer.config.as_ref()) {
            pending.device.remove_peer(&config.public_key).await?;
            pending.device.set_peer(config).await?;
        }
        Ok(())
    }

    fn finish(&mut self, id: NodeId, pending: &Pending) -> Result<(), EngineError> {
        self.unchanged(id, pending)?;
        let Some(peer) = self.peers.get(&id) else {
            return Err(EngineError::Changed);
        };
        let step = peer.machine.step(self.mode(), Input::Ready)?;
        let node = peer.node.clone();
        self.send(id, step)?;
        self.commit(id, step);
        tracing::info!(
            peer.node = node,
            peer.node_id = id.0,
            "packets for this node are sent encrypted"
        );
        Ok(())
    }

    /// Ready was said of the peer as it was then, not of what somebody installed meanwhile.
    fn unchanged(&self, id: NodeId, pending: &Pending) -> Result<(), EngineError> {
        match self.peers.get(&id) {
            Some(peer) if peer.generation == pending.generation => Ok(()),
            Some(_) | None => Err(EngineError::Changed),
        }
    }
}
