//! A device of the embedded engine.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the engine's own errors: any other than those met is passed on"
)]

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::FutureExt;
use futures::future::BoxFuture;
use gotatun::device::configure::PeerStats;
use gotatun::device::{DeviceBuilder, Error, Peer};
use gotatun::noise::TimerParams;
use gotatun::udp::socket::UdpSocketFactory;
use rustix::io::Errno;
use tokio::sync::{RwLock, RwLockReadGuard};
use tokio::time::{Instant, sleep, timeout};
use tun_rs::AsyncDevice;

use super::tun::TunPort;
use crate::link::{Kind, Links};
use crate::{
    AllowedIp, Device, DeviceConfig, DeviceError, DeviceName, Implementation, PeerConfig, PeerStatus,
    PrivateKey, PublicKey, sysctl,
};

/// Buffers of the UDP socket, bytes: a burst of the underlay must not be lost while this process is not scheduled.
const UDP_BUFFER: usize = 4 << 20;
/// How often a handshake that is waited for is looked at.
const POLL: Duration = Duration::from_millis(20);
/// Longest that sending the first message of a handshake may take.
const SEND_LIMIT: Duration = Duration::from_millis(100);
/// A handshake message without answer is sent again after this time instead of WireGuard's 5 s, so that a peer whose
/// keyd was restarted is back within about a second.
const RETRANSMIT: Duration = Duration::from_secs(1);
const RETRANSMIT_JITTER: Duration = Duration::from_millis(100);

type Engine = gotatun::device::Device<(UdpSocketFactory, TunPort, TunPort)>;

/// A TUN interface and the engine behind it. The engine holds the private key; it dies with this process.
///
/// The interface is persistent: it stays, with its number and all that is attached to it, when this process is
/// killed. Until the next process attaches to it the kernel drops what is sent into it.
pub(crate) struct UserSpaceDevice {
    name: DeviceName,
    ifindex: u32,
    public_key: PublicKey,
    links: Links,
    /// `None` once destroyed.
    engine: RwLock<Option<Engine>>,
}

impl UserSpaceDevice {
    pub(crate) async fn open(config: &DeviceConfig) -> Result<Self, DeviceError> {
        let links = Links::connect()?;
        match links.find(&config.name).await? {
            Some(link) if link.kind == Kind::WireGuard => links.delete(link.index).await?,
            Some(link) if link.kind == Kind::Other => {
                return Err(DeviceError::NameTaken {
                    name: config.name.clone(),
                });
            }
            Some(_) | None => {}
        }
        let tun = Arc::new(attach(&config.name)?);
        sysctl::prepare(&config.name);
        let link = links.find(&config.name).await?;
        let ifindex = link
            .ok_or_else(|| gone(&config.name, "the interface was removed"))?
            .index;
        links.bring_up(ifindex, u32::from(config.mtu)).await?;

        let engine = DeviceBuilder::new()
            .with_default_udp()
            .udp_recv_buffer_size(UDP_BUFFER)
            .udp_send_buffer_size(UDP_BUFFER)
            .with_ip_pair(
                TunPort::new(Arc::clone(&tun), config.mtu),
                TunPort::new(tun, config.mtu),
            )
            .with_listen_port(config.port)
            .with_fwmark(config.fwmark)
            .build()
            .await
            .map_err(engine_error("start", config.port))?;
        // Only a change of key makes an engine without peers bind its sockets, so the key comes now.
        let key = PrivateKey::generate()?;
        engine
            .set_private_key(key.to_dalek())
            .await
            .map_err(engine_error("start", config.port))?;
        Ok(Self {
            name: config.name.clone(),
            ifindex,
            public_key: key.public(),
            links,
            engine: RwLock::new(Some(engine)),
        })
    }

    async fn change_peer(&self, peer: &PeerConfig) -> Result<(), DeviceError> {
        let wanted = Peer::new(peer.public_key.to_dalek())
            .with_endpoint(peer.endpoint.socket_addr())
            .with_allowed_ips(peer.allowed_ips.iter().map(AllowedIp::network))
            .with_preshared_key(*peer.preshared_key.expose())
            .dangerously_with_timer_params(TimerParams {
                rekey_timeout: RETRANSMIT..=RETRANSMIT + RETRANSMIT_JITTER,
                ..TimerParams::default()
            });
        let engine = self.engine().await?;
        engine
            .add_or_update_peer(wanted)
            .await
            .map_err(engine_error("set a peer", 0))
    }

    async fn forget_peer(&self, key: &PublicKey) -> Result<(), DeviceError> {
        let engine = self.engine().await?;
        engine
            .remove_peer(&key.to_dalek())
            .await
            .map(drop)
            .map_err(engine_error("remove a peer", 0))
    }

    async fn wait_for_session(&self, key: &PublicKey, limit: Duration) -> Result<bool, DeviceError> {
        let deadline = Instant::now() + limit;
        // It would wait for a handshake of our own; the peer's does as well, so only its first step is used.
        let started = {
            let engine = self.engine().await?;
            timeout(SEND_LIMIT, engine.force_handshake(&key.to_dalek())).await
        };
        match started {
            Ok(Ok(())) | Err(_) => {}
            Ok(Err(Error::PeerNotFound)) => return Ok(false),
            Ok(Err(error)) => return Err(engine_error("start a handshake", 0)(error)),
        }
        loop {
            let peers = self.status().await?;
            let peer = peers.iter().find(|peer| peer.public_key == *key);
            if peer.is_some_and(|peer| peer.last_handshake.is_some()) {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            sleep(POLL).await;
        }
    }

    async fn status(&self) -> Result<Vec<PeerStatus>, DeviceError> {
        let now = SystemTime::now();
        let peers = self.engine().await?.peers().await;
        let mut peers: Vec<_> = peers.into_iter().filter_map(|peer| status(&peer, now)).collect();
        peers.sort_by_key(|peer| peer.public_key);
        Ok(peers)
    }

    async fn engine(&self) -> Result<RwLockReadGuard<'_, Engine>, DeviceError> {
        RwLockReadGuard::try_map(self.engine.read().await, Option::as_ref)
            .map_err(|_| gone(&self.name, "it was destroyed"))
    }
}

impl Device for UserSpaceDevice {
    fn implementation(&self) -> Implementation {
        Implementation::UserSpace
    }

    fn ifindex(&self) -> u32 {
        self.ifindex
    }

    fn public_key(&self) -> PublicKey {
        self.public_key
    }

    fn set_peer<'a>(&'a self, peer: &'a PeerConfig) -> BoxFuture<'a, Result<(), DeviceError>> {
        self.change_peer(peer).boxed()
    }

    fn remove_peer<'a>(&'a self, key: &'a PublicKey) -> BoxFuture<'a, Result<(), DeviceError>> {
        self.forget_peer(key).boxed()
    }

    fn handshake<'a>(
        &'a self,
        key: &'a PublicKey,
        limit: Duration,
    ) -> BoxFuture<'a, Result<bool, DeviceError>> {
        self.wait_for_session(key, limit).boxed()
    }

    fn peers(&self) -> BoxFuture<'_, Result<Vec<PeerStatus>, DeviceError>> {
        self.status().boxed()
    }

    fn check(&self) -> BoxFuture<'_, Result<(), DeviceError>> {
        async {
            let link = self.links.find(&self.name).await?;
            if link.is_none_or(|link| link.index != self.ifindex) {
                return Err(gone(&self.name, "the interface was removed"));
            }
            // Where the lock is taken the engine is at work.
            if let Ok(mut engine) = self.engine.try_write()
                && engine
                    .as_mut()
                    .is_none_or(|engine| engine.wait().now_or_never().is_some())
            {
                return Err(gone(&self.name, "the user-space engine stopped"));
            }
            Ok(())
        }
        .boxed()
    }

    fn destroy(&self) -> BoxFuture<'_, Result<(), DeviceError>> {
        async {
            if let Some(engine) = self.engine.write().await.take() {
                engine.stop().await;
            }
            self.links.delete(self.ifindex).await
        }
        .boxed()
    }
}

impl fmt::Debug for UserSpaceDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserSpaceDevice")
            .field("name", &self.name)
            .field("ifindex", &self.ifindex)
            .field("public_key", &self.public_key)
            .finish_non_exhaustive()
    }
}

/// Attaches to the TUN interface of this name, or makes it.
fn attach(name: &DeviceName) -> Result<AsyncDevice, DeviceError> {
    let tun = match tun_rs::DeviceBuilder::new()
        .name(name.as_str())
        .inherit_enable_state()
        .build_async()
    {
        Ok(tun) => tun,
        Err(error) if error.raw_os_error() == Some(Errno::BUSY.raw_os_error()) => {
            return Err(DeviceError::InUse { name: name.clone() });
        }
        Err(error) => return Err(DeviceError::kernel("attach to the TUN interface")(error)),
    };
    tun.persist()
        .map_err(DeviceError::kernel("make the TUN interface persistent"))?;
    Ok(tun)
}

fn status(peer: &PeerStats, now: SystemTime) -> Option<PeerStatus> {
    let mut allowed_ips: Vec<_> = peer
        .peer
        .allowed_ips
        .iter()
        .filter_map(|ip| AllowedIp::from_parts(ip.ip(), ip.prefix()))
        .collect();
    allowed_ips.sort_unstable();
    Some(PeerStatus {
        public_key: PublicKey::from_slice(peer.peer.public_key.as_bytes()).ok()?,
        endpoint: peer.peer.endpoint,
        allowed_ips,
        last_handshake: peer.stats.last_handshake.and_then(|ago| now.checked_sub(ago)),
        rx_bytes: u64::try_from(peer.stats.rx_bytes).unwrap_or(u64::MAX),
        tx_bytes: u64::try_from(peer.stats.tx_bytes).unwrap_or(u64::MAX),
    })
}

fn engine_error(action: &'static str, port: u16) -> impl FnOnce(Error) -> DeviceError {
    move |source| match &source {
        Error::Bind(error, _) if error.raw_os_error() == Some(Errno::ADDRINUSE.raw_os_error()) => {
            DeviceError::PortTaken { port }
        }
        _ => DeviceError::Engine { action, source },
    }
}

fn gone(name: &DeviceName, why: &'static str) -> DeviceError {
    DeviceError::Gone {
        name: name.clone(),
        why,
    }
}
