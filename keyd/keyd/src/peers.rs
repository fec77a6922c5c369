//! Requests about one peer.

use signet_abi::NodeId;
use signet_toggle::{Effect, Input, Key, Mode, State, Step};
use signet_wireguard::PeerConfig;

use crate::engine::Engine;
use crate::error::{EngineError, chain};
use crate::record::Record;
use crate::request::Install;

/// Peers of one node at most. `NODES` and the device hold more.
pub(crate) const MAX_PEERS: usize = 4096;

impl Engine {
    /// Puts a peer into the device, so that packets from it can be received.
    pub(crate) async fn install(&mut self, install: Install) -> Result<(), EngineError> {
        let Install {
            node_id,
            node,
            config,
        } = install;
        let installed = self.peers.get(&node_id);
        let old_key = installed.and_then(|peer| peer.public_key);
        let key = if old_key == Some(config.public_key) {
            Key::Same
        } else {
            Key::Changed
        };
        let machine = installed.map(|peer| peer.machine).unwrap_or_default();
        let step = machine.step(self.switch.mode(), Input::Install(key))?;
        let device = self.device()?;
        self.check_conflicts(node_id, &config)?;
        if device.public_key() == config.public_key {
            return Err(EngineError::OwnKey);
        }

        // Named in the memory before it is in the device: a restart in between finds no peer that nobody knows.
        let record = self.peers.entry(node_id).or_default();
        record.public_key = Some(config.public_key);
        let prepared = match self.remember() {
            // The new key first: AllowedIPs move to it without a gap.
            Ok(()) => device.set_peer(&config).await.map_err(EngineError::from),
            Err(error) => Err(error),
        };
        if let Err(error) = prepared {
            self.give_up(node_id, |record| record.public_key = old_key);
            return Err(error);
        }
        if key == Key::Changed
            && let Some(old_key) = old_key
            && let Err(error) = device.remove_peer(&old_key).await
        {
            // It has no AllowedIPs any more, so nothing can come or go through it.
            tracing::warn!(error = chain(&error), peer.public_key = %old_key, "failed to remove a peer's old key");
        }

        self.generations += 1;
        let generation = self.generations;
        let record = self.peers.entry(node_id).or_default();
        if key == Key::Changed {
            record.epoch = record.epoch.wrapping_add(1);
            tracing::info!(
                peer.node = node,
                peer.node_id = node_id.0,
                peer.endpoint = %config.endpoint,
                peer.public_key = %config.public_key,
                "installed a peer"
            );
        }
        record.node = node;
        record.allowed_ips.clone_from(&config.allowed_ips);
        record.endpoint = Some(config.endpoint.socket_addr());
        record.config = Some(config);
        record.generation = generation;
        record.machine.commit(step);
        record.settle();
        self.remember()?;
        self.publish()
    }

    /// Stops encrypting towards a peer.
    pub(crate) fn stop_sending(&mut self, id: NodeId) -> Result<(), EngineError> {
        let Some(peer) = self.peers.get(&id) else {
            return Ok(());
        };
        let was = peer.machine.state();
        let step = peer.machine.step(self.switch.mode(), Input::Stop)?;
        self.send(id, step)?;
        if was.is_encrypting() {
            tracing::info!(peer.node_id = id.0, "packets for this node are sent in plaintext");
        }
        self.commit(id, step);
        self.publish()
    }

    /// Takes a peer away, and the device with the last one if the mode is off.
    pub(crate) async fn remove(&mut self, id: NodeId) -> Result<(), EngineError> {
        if let Some(peer) = self.peers.get(&id) {
            let public_key = peer.public_key;
            let step = peer.machine.step(self.switch.mode(), Input::Remove)?;
            self.send(id, step)?;
            if step.effects.contains(&Effect::DropPeer)
                && let (Some(device), Some(key)) = (&self.device, public_key)
                && let Err(error) = device.remove_peer(&key).await
            {
                self.give_up(id, |_| {});
                return Err(error.into());
            }
            self.commit(id, step);
            tracing::info!(peer.node_id = id.0, "removed a peer");
            self.remember()?;
            self.publish()?;
        }
        self.follow_mode().await
    }

    /// Tells the kernel programs what `step` says about sending. On failure everything is as before.
    pub(crate) fn send(&mut self, id: NodeId, step: Step) -> Result<(), EngineError> {
        let Some(peer) = self.peers.get_mut(&id) else {
            return Ok(());
        };
        for effect in step.effects {
            match effect {
                Effect::SendEncrypted => peer.encrypting = true,
                Effect::SendPlain => peer.encrypting = false,
                Effect::PutPeer | Effect::DropPeer => {}
            }
        }
        let published = self.publish();
        if published.is_err() {
            self.give_up(id, |_| {});
        }
        published
    }

    /// The step's effects are done.
    pub(crate) fn commit(&mut self, id: NodeId, step: Step) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.machine.commit(step);
            peer.settle();
            if peer.machine.state() == State::Off {
                self.peers.remove(&id);
            }
        }
    }

    /// A step failed half-way: the record says again what its state is.
    fn give_up(&mut self, id: NodeId, restore: impl FnOnce(&mut Record)) {
        if let Some(peer) = self.peers.get_mut(&id) {
            restore(peer);
            peer.settle();
            if peer.machine.state() == State::Off {
                self.peers.remove(&id);
            }
        }
    }

    fn check_conflicts(&self, id: NodeId, config: &PeerConfig) -> Result<(), EngineError> {
        if !self.peers.contains_key(&id) && self.peers.len() >= MAX_PEERS {
            return Err(EngineError::TooMany(MAX_PEERS));
        }
        for (node, peer) in self.peers.iter().filter(|(node, _)| **node != id) {
            if peer.public_key == Some(config.public_key) {
                return Err(EngineError::KeyTaken { node: *node });
            }
            for ip in &config.allowed_ips {
                if let Some(other) = peer.allowed_ips.iter().find(|other| other.overlaps(ip)) {
                    return Err(EngineError::Overlap {
                        ip: *ip,
                        other: *other,
                        node: *node,
                    });
                }
            }
        }
        Ok(())
    }

    /// The mode, for those who only read.
    pub(crate) fn mode(&self) -> Mode {
        self.switch.mode()
    }
}
