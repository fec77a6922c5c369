//! A device of the kernel.

use std::io;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use netlink_packet_wireguard::WireguardMessage;
use rustix::io::Errno;
use tokio::time::{Instant, sleep};

use super::message::{self, State};
use super::netlink::{Answer, exchange, is_supported};
use crate::link::{Kind, Links};
use crate::{
    Device, DeviceConfig, DeviceError, DeviceName, Implementation, PeerConfig, PeerStatus, PrivateKey,
    PublicKey, sysctl,
};

/// How often a handshake that is waited for is looked at.
const POLL: Duration = Duration::from_millis(20);

/// A WireGuard interface. The kernel holds its private key; this process does not.
#[derive(Debug)]
pub(crate) struct KernelDevice {
    name: DeviceName,
    ifindex: u32,
    public_key: PublicKey,
    links: Links,
}

impl KernelDevice {
    /// Adopts the device of this name with its key, or makes one. Says which.
    pub(crate) async fn open(config: &DeviceConfig) -> Result<(Self, bool), DeviceError> {
        if !blocking("look for WireGuard", is_supported).await? {
            return Err(DeviceError::Unsupported);
        }
        let links = Links::connect()?;
        let found = match links.find(&config.name).await? {
            Some(link) if link.kind == Kind::WireGuard => Some(link.index),
            Some(link) if link.kind == Kind::Tun => {
                links.delete(link.index).await?;
                None
            }
            Some(_) => {
                return Err(DeviceError::NameTaken {
                    name: config.name.clone(),
                });
            }
            None => None,
        };
        if found.is_none() {
            links.create_wireguard(&config.name).await?;
        }
        let link = links.find(&config.name).await?;
        let ifindex = link.ok_or_else(|| gone(&config.name))?.index;
        match configure(ifindex, config, &links).await {
            Ok((public_key, adopted)) => {
                let device = Self {
                    name: config.name.clone(),
                    ifindex,
                    public_key,
                    links,
                };
                Ok((device, adopted))
            }
            Err(error) => {
                if found.is_none() {
                    // What we made and could not finish is not left behind.
                    links.delete(ifindex).await?;
                }
                Err(error)
            }
        }
    }

    async fn state(&self) -> Result<State, DeviceError> {
        read(self.ifindex).await
    }

    async fn peer(&self, key: &PublicKey) -> Result<Option<PeerStatus>, DeviceError> {
        Ok(self
            .state()
            .await?
            .peers
            .into_iter()
            .find(|peer| peer.public_key == *key))
    }

    async fn change_peer(&self, peer: &PeerConfig) -> Result<(), DeviceError> {
        let mut wanted = peer.allowed_ips.clone();
        wanted.sort_unstable();
        let same = self
            .peer(&peer.public_key)
            .await?
            .is_some_and(|now| now.allowed_ips == wanted);
        write("set a peer", message::set_peer(self.ifindex, peer, !same)).await
    }

    async fn wait_for_session(&self, key: &PublicKey, limit: Duration) -> Result<bool, DeviceError> {
        let deadline = Instant::now() + limit;
        write("start a handshake", message::set_keepalive(self.ifindex, key, 1)).await?;
        write("start a handshake", message::set_keepalive(self.ifindex, key, 0)).await?;
        loop {
            if self
                .peer(key)
                .await?
                .is_some_and(|peer| peer.last_handshake.is_some())
            {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            sleep(POLL).await;
        }
    }
}

impl Device for KernelDevice {
    fn implementation(&self) -> Implementation {
        Implementation::Kernel
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
        write("remove a peer", message::remove_peer(self.ifindex, key)).boxed()
    }

    fn handshake<'a>(
        &'a self,
        key: &'a PublicKey,
        limit: Duration,
    ) -> BoxFuture<'a, Result<bool, DeviceError>> {
        self.wait_for_session(key, limit).boxed()
    }

    fn peers(&self) -> BoxFuture<'_, Result<Vec<PeerStatus>, DeviceError>> {
        async { Ok(self.state().await?.peers) }.boxed()
    }

    fn check(&self) -> BoxFuture<'_, Result<(), DeviceError>> {
        async {
            let link = self.links.find(&self.name).await?;
            if link.is_some_and(|link| link.index == self.ifindex && link.kind == Kind::WireGuard) {
                Ok(())
            } else {
                Err(gone(&self.name))
            }
        }
        .boxed()
    }

    fn destroy(&self) -> BoxFuture<'_, Result<(), DeviceError>> {
        self.links.delete(self.ifindex).boxed()
    }
}

/// Gives the device key, port and mark where they are not as wanted, and brings it up.
async fn configure(
    ifindex: u32,
    config: &DeviceConfig,
    links: &Links,
) -> Result<(PublicKey, bool), DeviceError> {
    let state = read(ifindex).await?;
    let adopted = state.public_key.is_some();
    let public_key = if let Some(key) = state.public_key {
        key
    } else {
        let key = PrivateKey::generate()?;
        write("set the private key", message::set_key(ifindex, &key)).await?;
        key.public()
    };
    if state.fwmark != config.fwmark {
        write("set the mark", message::set_fwmark(ifindex, config.fwmark)).await?;
    }
    // Port and interface: binding happens in whichever comes second.
    let port = async {
        if state.port != config.port {
            write("set the UDP port", message::set_port(ifindex, config.port)).await?;
        }
        sysctl::prepare(&config.name);
        links.bring_up(ifindex, u32::from(config.mtu)).await
    };
    match port.await {
        Err(error) if error.errno() == Some(Errno::ADDRINUSE) => {
            Err(DeviceError::PortTaken { port: config.port })
        }
        Err(error) => Err(error),
        Ok(()) => Ok((public_key, adopted)),
    }
}

async fn read(ifindex: u32) -> Result<State, DeviceError> {
    let messages = blocking("read the device", move || {
        exchange(message::get(ifindex), Answer::Dump)
    })
    .await?;
    Ok(message::parse(messages))
}

async fn write(action: &'static str, request: WireguardMessage) -> Result<(), DeviceError> {
    blocking(action, move || exchange(request, Answer::Ack))
        .await
        .map(drop)
}

async fn blocking<T: Send + 'static>(
    action: &'static str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, DeviceError> {
    let result = tokio::task::spawn_blocking(work).await.map_err(io::Error::other);
    result.flatten().map_err(DeviceError::kernel(action))
}

fn gone(name: &DeviceName) -> DeviceError {
    DeviceError::Gone {
        name: name.clone(),
        why: "the interface was removed",
    }
}
