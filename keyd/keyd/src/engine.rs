//! The daemon's state, and everything about the device as a whole: start, mode, loss.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use signet_abi::{NodeId, node_flags};
use signet_toggle::{Input, Mode, ModeStep, Peer, State, Switch};
use signet_wireguard::{Device, PublicKey};

use crate::error::{EngineError, chain};
use crate::memory::{Memory, MemoryFile, RememberedPeer};
use crate::nodes::Nodes;
use crate::opener::Opener;
use crate::record::Record;

/// The public half of what `SetMode` made ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    /// Our public key.
    pub(crate) public_key: PublicKey,
    /// Counts our keys.
    pub(crate) key_epoch: u64,
}

/// All that the daemon knows.
pub(crate) struct Engine {
    opener: Box<dyn Opener>,
    nodes: Nodes,
    memory: MemoryFile,
    /// What an earlier process remembered; used up when the device is opened for the first time.
    remembered: Memory,
    /// Whether the agent has said the mode since we started.
    told: bool,
    pub(crate) switch: Switch,
    pub(crate) device: Option<Arc<dyn Device>>,
    pub(crate) key_epoch: u64,
    pub(crate) peers: BTreeMap<NodeId, Record>,
    pub(crate) last_error: Option<String>,
    pub(crate) generations: u64,
}

impl Engine {
    /// Takes over what an earlier process left, if it left something.
    pub(crate) async fn start(opener: Box<dyn Opener>, nodes: Nodes, memory: MemoryFile) -> Self {
        let remembered = memory.read();
        let leftover = opener.leftover().await.unwrap_or_else(|error| {
            tracing::warn!(error = chain(&error), "cannot look for an earlier tunnel");
            false
        });
        // Until the agent has said it: what it was. Without a memory, a tunnel says that it was on.
        let encrypt = remembered.as_ref().map_or(leftover, |memory| memory.encrypt);
        let mode = if encrypt { Mode::WireGuard } else { Mode::Off };
        let remembered = remembered.unwrap_or_default();
        let mut engine = Self {
            opener,
            nodes,
            memory,
            key_epoch: remembered.key_epoch,
            remembered,
            told: false,
            switch: Switch::found(mode, false),
            device: None,
            peers: BTreeMap::new(),
            last_error: None,
            generations: 0,
        };
        if leftover && mode == Mode::Off {
            // Its peers may still send encrypted, or there are none and it can go.
            let opened = engine.open_device().await;
            engine.note(&opened);
        }
        engine.reconcile().await;
        engine
    }

    /// The cluster wants `mode`. `None`: the device is, or will be, gone.
    pub(crate) async fn set_mode(&mut self, mode: Mode) -> Result<Option<Offer>, EngineError> {
        if self.switch.mode() != mode {
            tracing::info!(?mode, "the encryption mode is set");
        }
        self.switch.set(mode);
        self.told = true;
        if mode == Mode::Off {
            // Nobody can stop what a dead device was sending but us.
            let held = self
                .peers
                .iter()
                .filter(|(_, peer)| peer.machine.state() == State::Held);
            let held: Vec<_> = held.map(|(id, _)| *id).collect();
            for id in held {
                self.stop_sending(id)?;
            }
        }
        let done = self.follow_mode().await;
        self.note(&done);
        self.remember()?;
        done?;
        Ok(self.offer().filter(|_| mode == Mode::WireGuard))
    }

    /// Compares the device and `NODES` with what they should be, and mends what differs.
    pub(crate) async fn reconcile(&mut self) {
        if let Some(device) = &self.device
            && let Err(error) = device.check().await
        {
            tracing::error!(
                error = chain(&error),
                "the tunnel is lost; its peers must be installed anew"
            );
            self.device_lost();
        }
        let done = self.reconcile_inner().await;
        self.note(&done);
    }

    async fn reconcile_inner(&mut self) -> Result<(), EngineError> {
        // The device first: what NODES says of a peer completes what the device and the memory say of it.
        let followed = self.follow_mode().await;
        self.find_held()?;
        self.publish()?;
        followed
    }

    /// Our key, while there is a device.
    pub(crate) fn offer(&self) -> Option<Offer> {
        let device = self.device.as_ref()?;
        Some(Offer {
            public_key: device.public_key(),
            key_epoch: self.key_epoch,
        })
    }

    /// The device.
    ///
    /// # Errors
    /// [`EngineError::NoDevice`] with the reason why there is none.
    pub(crate) fn device(&self) -> Result<Arc<dyn Device>, EngineError> {
        let why = || {
            self.last_error
                .clone()
                .unwrap_or_else(|| "it is being made".to_owned())
        };
        self.device.clone().ok_or_else(|| EngineError::NoDevice(why()))
    }

    /// Makes `NODES` agree with the peers.
    pub(crate) fn publish(&mut self) -> Result<(), EngineError> {
        let ifindex = self.device.as_ref().map(|device| device.ifindex());
        let states = self.peers.iter();
        let wanted = states
            .filter_map(|(id, peer)| Some((*id, peer.node_state(ifindex)?)))
            .collect();
        self.nodes.sync(&wanted)?;
        Ok(())
    }

    /// Writes down what a restart needs to know.
    pub(crate) fn remember(&mut self) -> Result<(), EngineError> {
        let mut memory = Memory {
            encrypt: self.switch.mode() == Mode::WireGuard,
            key_epoch: self.key_epoch,
            ..self.remembered.clone()
        };
        if let Some(device) = &self.device {
            memory.public_key = device.public_key().as_bytes().to_vec();
        }
        for (id, peer) in &self.peers {
            if let Some(key) = peer.public_key {
                let (node, public_key) = (peer.node.clone(), key.as_bytes().to_vec());
                memory.peers.insert(id.0, RememberedPeer { node, public_key });
            }
        }
        self.memory.write(memory)
    }

    /// Opens or closes the device as the mode asks for.
    pub(crate) async fn follow_mode(&mut self) -> Result<(), EngineError> {
        match self.switch.step(self.peers.len()) {
            ModeStep::Keep => Ok(()),
            ModeStep::OpenDevice => self.open_device().await,
            ModeStep::CloseDevice => {
                if let Some(device) = self.device.take() {
                    device.destroy().await?;
                    tracing::info!("the tunnel is removed: encryption is off and no peer is left");
                }
                self.switch.device_is(false);
                self.remember()
            }
        }
    }

    /// Opens the device and claims those of its peers that are remembered.
    async fn open_device(&mut self) -> Result<(), EngineError> {
        let opened = self.opener.open().await?;
        let device = opened.device;
        let public_key = device.public_key();
        self.claim(device.as_ref()).await?;
        let known = self.remembered.public_key == public_key.as_bytes();
        if !opened.adopted || !known {
            self.key_epoch = next_epoch(self.key_epoch, SystemTime::now());
        }
        tracing::info!(
            implementation = %device.implementation(),
            adopted = opened.adopted,
            public_key = %public_key,
            key_epoch = self.key_epoch,
            "the tunnel is up"
        );
        self.device = Some(device);
        self.switch.device_is(true);
        self.remembered = Memory::default();
        self.remember()
    }

    /// Matches the peers in an adopted device with nodes. Peers that nobody remembers could not be removed by their
    /// node's number ever again, so they go now.
    async fn claim(&mut self, device: &dyn Device) -> Result<(), EngineError> {
        for peer in device.peers().await? {
            let mut owners = self.remembered.peers.iter();
            let owner = owners.find(|(_, owner)| owner.public_key == peer.public_key.as_bytes());
            let Some((id, owner)) = owner else {
                tracing::warn!(peer.public_key = %peer.public_key, "removed a peer of no known node");
                device.remove_peer(&peer.public_key).await?;
                continue;
            };
            tracing::info!(
                peer.node = owner.node,
                peer.node_id = *id,
                "kept a peer of the adopted tunnel"
            );
            let record = self.peers.entry(NodeId(*id)).or_default();
            record.machine = Peer::found(true, record.encrypting);
            record.node.clone_from(&owner.node);
            record.public_key = Some(peer.public_key);
            record.allowed_ips = peer.allowed_ips;
            record.endpoint = peer.endpoint;
        }
        Ok(())
    }

    /// The first time that `NODES` is there: takes over what it says about nodes that we did not change yet.
    fn find_held(&mut self) -> Result<(), EngineError> {
        let Some(entries) = self.nodes.find()? else {
            return Ok(());
        };
        for (id, state) in entries {
            let encrypting = state.flags & node_flags::SEND_ENCRYPTED != 0;
            let known = self.peers.get(&id);
            let ours = known.is_some_and(|peer| peer.generation != 0);
            if ours || (known.is_none() && !encrypting) {
                continue;
            }
            let record = self.peers.entry(id).or_default();
            record.machine = Peer::found(record.machine.state().is_installed(), encrypting);
            record.epoch = state.epoch;
            record.found_ifindex = state.tunnel_ifindex;
            record.settle();
            if record.machine.state() == State::Held {
                if self.told && self.switch.mode() == Mode::Off {
                    // What SetMode(off) does for those that were found before it.
                    self.stop_sending(id)?;
                } else {
                    tracing::warn!(
                        peer.node_id = id.0,
                        "packets for this node are held back until it is installed again"
                    );
                }
            }
        }
        Ok(())
    }

    fn device_lost(&mut self) {
        self.device = None;
        self.switch.device_is(false);
        let mode = self.switch.mode();
        for peer in self.peers.values_mut() {
            if let Ok(step) = peer.machine.step(mode, Input::DeviceLost) {
                peer.machine.commit(step);
                peer.settle();
                peer.config = None;
                peer.public_key = None;
            }
        }
        self.peers.retain(|_, peer| peer.machine.state() != State::Off);
    }

    /// Keeps the last error of what nobody waits for, and logs it once.
    fn note(&mut self, result: &Result<(), EngineError>) {
        let text = result.as_ref().err().map(|error| chain(error));
        if let Some(text) = &text
            && self.last_error.as_ref() != Some(text)
        {
            tracing::error!(
                error = text,
                "failed to bring the tunnel to what it should be; trying again"
            );
        }
        self.last_error = text;
    }
}

/// Greater than the epoch before, and, should the memory be lost, than any that was told to a peer: milliseconds.
fn next_epoch(previous: u64, now: SystemTime) -> u64 {
    let now = now
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis());
    u64::try_from(now)
        .unwrap_or(u64::MAX)
        .max(previous.saturating_add(1))
}
