//! The interface of a device, through rtnetlink.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "enums of the netlink crates, whose variants are the kernel's to add"
)]

use std::net::Ipv4Addr;

use futures::TryStreamExt;
use rtnetlink::packet_route::address::AddressScope;
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkInfo};
use rtnetlink::{Handle, LinkUnspec, LinkWireguard};
use rustix::io::Errno;
use tokio::task::JoinHandle;

use crate::error::link_errno;
use crate::{DeviceError, DeviceName};

/// The tunnel's own address, the same on every node. Nobody talks to it. But where an interface has no IPv4 address at
/// all, the kernel's loose reverse-path filter drops every IPv4 packet that comes in at it
/// (`__fib_validate_source` in `net/ipv4/fib_frontend.c`).
const ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 81, 71);

/// What kind of interface has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    WireGuard,
    Tun,
    Other,
}

/// An interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) kind: Kind,
}

/// A connection to the kernel's routing netlink.
#[derive(Debug)]
pub(crate) struct Links {
    handle: Handle,
    connection: JoinHandle<()>,
}

impl Links {
    pub(crate) fn connect() -> Result<Self, DeviceError> {
        let (connection, handle, _) =
            rtnetlink::new_connection().map_err(DeviceError::kernel("open a netlink socket"))?;
        let connection = tokio::spawn(connection);
        Ok(Self { handle, connection })
    }

    /// The interface of this name, if there is one.
    pub(crate) async fn find(&self, name: &DeviceName) -> Result<Option<Link>, DeviceError> {
        let mut found = self.handle.link().get().match_name(name.to_string()).execute();
        let message = match found.try_next().await {
            Ok(message) => message,
            Err(error) if link_errno(&error) == Some(Errno::NODEV) => None,
            Err(error) => return Err(DeviceError::link("look up")(error)),
        };
        Ok(message.map(|message| Link {
            index: message.header.index,
            kind: kind(&message.attributes),
        }))
    }

    /// Makes a kernel WireGuard interface.
    ///
    /// # Errors
    /// [`DeviceError::Unsupported`] if the kernel has no WireGuard and cannot load it.
    pub(crate) async fn create_wireguard(&self, name: &DeviceName) -> Result<(), DeviceError> {
        let message = LinkWireguard::new(name.as_str()).build();
        match self.handle.link().add(message).execute().await {
            Ok(()) => Ok(()),
            Err(error) if link_errno(&error) == Some(Errno::OPNOTSUPP) => Err(DeviceError::Unsupported),
            Err(error) => Err(DeviceError::link("create")(error)),
        }
    }

    /// Gives an interface its MTU and its address, and brings it up.
    pub(crate) async fn bring_up(&self, index: u32, mtu: u32) -> Result<(), DeviceError> {
        self.add_address(index).await?;
        let message = LinkUnspec::new_with_index(index).mtu(mtu).up().build();
        self.handle
            .link()
            .set(message)
            .execute()
            .await
            .map_err(DeviceError::link("bring up"))
    }

    /// [`ADDRESS`], with link scope: no packet of the node's own chooses it as its source.
    async fn add_address(&self, index: u32) -> Result<(), DeviceError> {
        let mut request = self.handle.address().add(index, ADDRESS.into(), 32);
        request.message_mut().header.scope = AddressScope::Link;
        let added = request.replace().execute().await;
        added.map_err(DeviceError::link("give an address to"))
    }

    /// Removes an interface; it may be gone already.
    pub(crate) async fn delete(&self, index: u32) -> Result<(), DeviceError> {
        match self.handle.link().del(index).execute().await {
            Ok(()) => Ok(()),
            Err(error) if link_errno(&error) == Some(Errno::NODEV) => Ok(()),
            Err(error) => Err(DeviceError::link("remove")(error)),
        }
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

fn kind(attributes: &[LinkAttribute]) -> Kind {
    let infos = attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    });
    let kinds = infos.into_iter().flatten().filter_map(|info| match info {
        LinkInfo::Kind(kind) => Some(kind),
        _ => None,
    });
    kinds.fold(Kind::Other, |_, kind| match kind {
        InfoKind::Wireguard => Kind::WireGuard,
        InfoKind::Tun => Kind::Tun,
        _ => Kind::Other,
    })
}
