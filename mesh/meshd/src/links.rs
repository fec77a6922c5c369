//! Interfaces of this node and their addresses, followed over netlink.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo};
use rtnetlink::{Handle, MulticastGroup, new_multicast_connection};
use signet_abi::PARKING_DEVICE;
use signet_endpoints::{Ifindex, InterfaceName, WorkloadAddress};
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// Events of one change come together; they are answered once.
const QUIET: Duration = Duration::from_millis(10);
/// How often everything is looked at without an event: netlink drops events when it is overrun.
const RESCAN: Duration = Duration::from_secs(10);
/// Pause after the connection failed.
const RETRY: Duration = Duration::from_secs(1);

/// The interfaces that are there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Links {
    /// By name.
    pub(crate) interfaces: BTreeMap<InterfaceName, Ifindex>,
    /// The bridge or VRF of those that are in one from which no other interface of this node can feed it what a workload has
    /// sent: what it receives from them is theirs.
    pub(crate) through: BTreeMap<Ifindex, Ifindex>,
    /// Addresses of all of them that other nodes or workloads can reach.
    pub(crate) addresses: BTreeSet<IpAddr>,
    /// Whether somebody has the parking device open: the kernel gives it a carrier for as long.
    pub(crate) parking_served: bool,
}

/// Netlink failed.
#[derive(Debug, Error)]
enum LinkError {
    #[error("failed to open a netlink socket")]
    Open(#[source] io::Error),
    #[error("failed to list interfaces or addresses")]
    List(#[source] rtnetlink::Error),
    #[error("the netlink socket was closed")]
    Closed,
}

/// Follows the interfaces for ever. `None` until they were listed once.
pub(crate) async fn follow(publish: watch::Sender<Option<Arc<Links>>>) {
    loop {
        if let Err(error) = stream(&publish).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "interfaces cannot be followed, trying again"
            );
        }
        sleep(RETRY).await;
    }
}

async fn stream(publish: &watch::Sender<Option<Arc<Links>>>) -> Result<(), LinkError> {
    let groups = [
        MulticastGroup::Link,
        MulticastGroup::Ipv4Ifaddr,
        MulticastGroup::Ipv6Ifaddr,
    ];
    let (connection, handle, mut events) = new_multicast_connection(&groups).map_err(LinkError::Open)?;
    let _connection = AbortOnDrop(tokio::spawn(connection));
    loop {
        let links = list(&handle).await.map_err(LinkError::List)?;
        publish.send_if_modified(|known| {
            let news = known.as_deref() != Some(&links);
            if news {
                *known = Some(Arc::new(links));
            }
            news
        });
        match timeout(RESCAN, events.next()).await {
            Ok(None) => return Err(LinkError::Closed),
            Ok(Some((message, _))) => {
                if matches!(message.payload, NetlinkPayload::Overrun(_)) {
                    tracing::debug!("netlink was overrun");
                }
                while let Ok(Some(_)) = timeout(QUIET, events.next()).await {}
            }
            Err(_) => {}
        }
    }
}

async fn list(handle: &Handle) -> Result<Links, rtnetlink::Error> {
    let mut links = Links::default();
    let mut interfaces = handle.link().get().execute();
    let mut ports = Ports::default();
    while let Some(message) = interfaces.try_next().await? {
        ports.enter(message.header.index, &message.attributes);
        let name = message.attributes.iter().find_map(|attribute| {
            if let LinkAttribute::IfName(name) = attribute {
                InterfaceName::parse(name).ok()
            } else {
                None
            }
        });
        if let Some((name, index)) = name.zip(Ifindex::new(message.header.index)) {
            if name.as_str() == PARKING_DEVICE {
                links.parking_served = message.header.flags.contains(LinkFlags::LowerUp);
            }
            links.interfaces.insert(name, index);
        }
    }
    links.through = ports.through();
    let mut addresses = handle.address().get().execute();
    while let Some(message) = addresses.try_next().await? {
        // On a point-to-point link "address" is the other end; "local", where given, is ours.
        let find = |local: bool| {
            message
                .attributes
                .iter()
                .find_map(move |attribute| match (attribute, local) {
                    (AddressAttribute::Local(ip), true) | (AddressAttribute::Address(ip), false) => Some(*ip),
                    _ => None,
                })
        };
        // The kinds that no workload may have say nothing about the network.
        let address = find(true)
            .or_else(|| find(false))
            .and_then(|ip| WorkloadAddress::new(ip).ok());
        links.addresses.extend(address.map(WorkloadAddress::ip));
    }
    Ok(links)
}

/// Which interfaces are ports of a bridge or in a VRF.
#[derive(Debug, Default)]
struct Ports {
    ports: BTreeMap<Ifindex, Ifindex>,
    /// Those with a port that gives back what this host has received already: the end of a tunnel, say, out of which a
    /// workload's packet comes with the mark that it had outside.
    mixed: BTreeSet<Ifindex>,
}

impl Ports {
    fn enter(&mut self, index: u32, attributes: &[LinkAttribute]) {
        let mut controller = None;
        let mut kind = None;
        let mut leads_elsewhere = false;
        for attribute in attributes {
            if let LinkAttribute::Controller(index) = attribute {
                controller = Ifindex::new(*index);
            } else if let LinkAttribute::LinkNetNsId(_) = attribute {
                leads_elsewhere = true;
            } else if let LinkAttribute::LinkInfo(infos) = attribute {
                kind = infos.iter().find_map(|info| {
                    if let LinkInfo::Kind(kind) = info {
                        Some(kind)
                    } else {
                        None
                    }
                });
            }
        }
        // What comes out of these was not in this network namespace before. Hardware has no kind; the other end of a veth
        // may be here, too, and then it is a patch between two bridges of which one may have a tunnel's end.
        let fresh = match kind {
            None | Some(InfoKind::Tun) => true,
            Some(InfoKind::Veth) => leads_elsewhere,
            Some(_) => false,
        };
        if let Some((port, controller)) = Ifindex::new(index).zip(controller) {
            self.ports.insert(port, controller);
            if !fresh {
                self.mixed.insert(controller);
            }
        }
    }

    fn through(mut self) -> BTreeMap<Ifindex, Ifindex> {
        self.ports
            .retain(|_, controller| !self.mixed.contains(controller));
        self.ports
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(kind: Option<InfoKind>, controller: u32) -> Vec<LinkAttribute> {
        // As if its other end were in the namespace with this number.
        let elsewhere = (kind == Some(InfoKind::Veth)).then_some(LinkAttribute::LinkNetNsId(0));
        let kind = kind.map(|kind| LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)]));
        kind.into_iter()
            .chain(elsewhere)
            .chain([LinkAttribute::Controller(controller)])
            .collect()
    }

    #[test]
    fn a_bridge_with_a_patch_to_another_one_stands_for_nobody() {
        let mut ports = Ports::default();
        ports.enter(2, &attributes(Some(InfoKind::Veth), 10));
        let mut patch = attributes(Some(InfoKind::Veth), 10);
        patch.retain(|attribute| !matches!(attribute, LinkAttribute::LinkNetNsId(_)));
        ports.enter(3, &patch);
        assert_eq!(ports.through(), BTreeMap::new());
    }

    #[test]
    fn a_bridge_stands_for_its_ports_unless_a_tunnel_is_among_them() {
        let mut ports = Ports::default();
        ports.enter(1, &[]);
        ports.enter(2, &attributes(Some(InfoKind::Veth), 10));
        ports.enter(3, &attributes(Some(InfoKind::Tun), 10));
        ports.enter(4, &attributes(None, 10));
        for (port, kind) in [(5, InfoKind::Veth), (6, InfoKind::Vxlan)] {
            ports.enter(port, &attributes(Some(kind), 11));
        }
        let index = |number| Ifindex::new(number).unwrap();
        let through = [2, 3, 4].map(|port| (index(port), index(10)));
        assert_eq!(ports.through(), BTreeMap::from(through));
    }
}
