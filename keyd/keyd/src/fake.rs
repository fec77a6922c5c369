//! A device and a `NODES` map that exist in memory only, and can be made to fail.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures::FutureExt;
use futures::future::BoxFuture;
use signet_abi::{NodeId, NodeState};
use signet_maps::MapError;
use signet_wireguard::{
    Device, DeviceError, Implementation, Opened, PeerConfig, PeerStatus, PrivateKey, PublicKey,
};

use crate::nodes::{Nodes, Table};
use crate::opener::Opener;

/// What survives a daemon: the kernel's device (if there is one) and the pinned map (if there is one).
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) device: Mutex<Option<Arc<FakeDevice>>>,
    pub(crate) nodes: Mutex<Option<BTreeMap<NodeId, NodeState>>>,
    pub(crate) open_fails: AtomicBool,
    pub(crate) map_is_full: AtomicBool,
    /// Whether devices are the kernel's and outlive the daemon.
    pub(crate) kernel: AtomicBool,
    opened: AtomicU8,
}

impl World {
    pub(crate) fn device(&self) -> Arc<FakeDevice> {
        locked(&self.device).clone().expect("there is a device")
    }

    pub(crate) fn pin_nodes(&self) {
        locked(&self.nodes).get_or_insert_default();
    }

    pub(crate) fn flags(&self, node: u32) -> Option<u32> {
        locked(&self.nodes)
            .as_ref()?
            .get(&NodeId(node))
            .map(|state| state.flags)
    }

    pub(crate) fn nodes(self: &Arc<Self>) -> Nodes {
        let world = Arc::clone(self);
        Nodes::new(Box::new(move || {
            if locked(&world.nodes).is_none() {
                return Err(MapError::Missing {
                    map: "NODES",
                    path: PathBuf::new(),
                });
            }
            Ok(Box::new(FakeTable(Arc::clone(&world))))
        }))
    }

    pub(crate) fn opener(self: &Arc<Self>) -> Box<dyn Opener> {
        Box::new(FakeOpener(Arc::clone(self)))
    }
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct FakeTable(Arc<World>);

impl FakeTable {
    fn with<T>(&self, f: impl FnOnce(&mut BTreeMap<NodeId, NodeState>) -> T) -> T {
        f(locked(&self.0.nodes).get_or_insert_default())
    }
}

impl Table for FakeTable {
    fn entries(&self) -> Result<Vec<(NodeId, NodeState)>, MapError> {
        Ok(self.with(|map| map.iter().map(|(id, state)| (*id, *state)).collect()))
    }

    fn insert(&mut self, node: NodeId, state: NodeState) -> Result<(), MapError> {
        if self.0.map_is_full.load(Ordering::Relaxed) {
            return Err(MapError::Full {
                map: "NODES",
                capacity: 0,
            });
        }
        self.with(|map| map.insert(node, state));
        Ok(())
    }

    fn remove(&mut self, node: NodeId) -> Result<(), MapError> {
        self.with(|map| map.remove(&node));
        Ok(())
    }

    fn is_current(&self) -> bool {
        locked(&self.0.nodes).is_some()
    }
}

struct FakeOpener(Arc<World>);

impl Opener for FakeOpener {
    fn open(&self) -> BoxFuture<'_, Result<Opened, DeviceError>> {
        async {
            if self.0.open_fails.load(Ordering::Relaxed) {
                return Err(DeviceError::Unsupported);
            }
            let mut device = locked(&self.0.device);
            let kernel = self.0.kernel.load(Ordering::Relaxed);
            let adopted = kernel && device.is_some();
            if !adopted {
                let ifindex = 100 + u32::from(self.0.opened.fetch_add(1, Ordering::Relaxed));
                *device = Some(Arc::new(FakeDevice::new(ifindex, kernel)?));
            }
            let device = device.clone().ok_or(DeviceError::Unsupported)?;
            Ok(Opened { device, adopted })
        }
        .boxed()
    }

    fn leftover(&self) -> BoxFuture<'_, Result<bool, DeviceError>> {
        async { Ok(locked(&self.0.device).is_some()) }.boxed()
    }
}

/// A device that remembers what was done to it.
#[derive(Debug)]
pub(crate) struct FakeDevice {
    ifindex: u32,
    public_key: PublicKey,
    kernel: bool,
    pub(crate) peers: Mutex<BTreeMap<PublicKey, PeerConfig>>,
    /// Whether peers answer handshakes.
    pub(crate) answers: AtomicBool,
    pub(crate) fails: AtomicBool,
    pub(crate) gone: AtomicBool,
    pub(crate) destroyed: AtomicBool,
    /// How often a peer was put into the device.
    pub(crate) puts: AtomicU8,
}

impl FakeDevice {
    fn new(ifindex: u32, kernel: bool) -> Result<Self, DeviceError> {
        Ok(Self {
            ifindex,
            public_key: PrivateKey::generate()?.public(),
            kernel,
            peers: Mutex::default(),
            answers: AtomicBool::new(true),
            fails: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            destroyed: AtomicBool::new(false),
            puts: AtomicU8::new(0),
        })
    }

    fn works(&self) -> Result<(), DeviceError> {
        if self.fails.load(Ordering::Relaxed) {
            Err(DeviceError::Unsupported)
        } else {
            Ok(())
        }
    }
}

impl Device for FakeDevice {
    fn implementation(&self) -> Implementation {
        if self.kernel {
            Implementation::Kernel
        } else {
            Implementation::UserSpace
        }
    }

    fn ifindex(&self) -> u32 {
        self.ifindex
    }

    fn public_key(&self) -> PublicKey {
        self.public_key
    }

    fn set_peer<'a>(&'a self, peer: &'a PeerConfig) -> BoxFuture<'a, Result<(), DeviceError>> {
        async {
            self.works()?;
            self.puts.fetch_add(1, Ordering::Relaxed);
            locked(&self.peers).insert(peer.public_key, peer.clone());
            Ok(())
        }
        .boxed()
    }

    fn remove_peer<'a>(&'a self, key: &'a PublicKey) -> BoxFuture<'a, Result<(), DeviceError>> {
        async {
            self.works()?;
            locked(&self.peers).remove(key);
            Ok(())
        }
        .boxed()
    }

    fn handshake<'a>(
        &'a self,
        _key: &'a PublicKey,
        _limit: Duration,
    ) -> BoxFuture<'a, Result<bool, DeviceError>> {
        async { Ok(self.answers.load(Ordering::Relaxed)) }.boxed()
    }

    fn peers(&self) -> BoxFuture<'_, Result<Vec<PeerStatus>, DeviceError>> {
        async {
            let peers = locked(&self.peers);
            let status = peers.values().map(|peer| PeerStatus {
                public_key: peer.public_key,
                endpoint: Some(peer.endpoint.socket_addr()),
                allowed_ips: peer.allowed_ips.clone(),
                last_handshake: Some(SystemTime::now()),
                rx_bytes: 0,
                tx_bytes: 0,
            });
            Ok(status.collect())
        }
        .boxed()
    }

    fn check(&self) -> BoxFuture<'_, Result<(), DeviceError>> {
        async {
            if self.gone.load(Ordering::Relaxed) {
                Err(DeviceError::Unsupported)
            } else {
                Ok(())
            }
        }
        .boxed()
    }

    fn destroy(&self) -> BoxFuture<'_, Result<(), DeviceError>> {
        async {
            self.destroyed.store(true, Ordering::Relaxed);
            Ok(())
        }
        .boxed()
    }
}
