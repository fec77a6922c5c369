//! The local endpoints, from signet-meshd.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use signet_attest::{EndpointName, EndpointTable, NetnsInode};
use signet_proto::mesh::v1::mesh_service_client::MeshServiceClient;
use signet_proto::mesh::v1::{Endpoints as Wire, WatchEndpointsRequest};
use signet_spiffe::SpiffeId;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::clock::{backoff, random};
use crate::status::Status;

const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(2);
const OPEN: Duration = Duration::from_secs(5);
/// signet-meshd says each second that it still looks; one that has not for so long hangs.
const SILENCE: Duration = Duration::from_secs(5);
/// Most endpoints of one node.
const MOST: usize = 16_384;
/// Most characters of what signet-meshd says about one of them.
const MOST_WORDS: usize = 8_192;

/// The endpoints of this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    identities: BTreeSet<SpiffeId>,
    names: BTreeSet<EndpointName>,
    namespaces: EndpointTable,
    addresses: BTreeMap<IpAddr, SpiffeId>,
    homes: BTreeMap<EndpointName, Home>,
    /// Identities none of whose addresses is believed, because others claim them too, and in which words.
    contested: BTreeMap<SpiffeId, String>,
}

/// Where an identity lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Home {
    pub(crate) id: SpiffeId,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) netns: Option<NetnsInode>,
}

impl Endpoints {
    /// From meshd's word. An endpoint with a name or identity that cannot be is left out, and so has nothing.
    pub fn parse(wire: &Wire) -> Self {
        let mut identities = BTreeSet::new();
        let mut names = BTreeSet::new();
        let mut namespaces = Vec::new();
        let mut addresses = Vec::new();
        let mut homes = BTreeMap::new();
        for endpoint in wire.endpoints.iter().take(MOST) {
            let id = SpiffeId::parse(&endpoint.spiffe_id).ok();
            let its = endpoint.addresses.iter().filter_map(|text| text.parse().ok());
            let its: Vec<IpAddr> = its.map(|address: IpAddr| address.to_canonical()).collect();
            if let Some(id) = &id {
                addresses.extend(its.iter().map(|address| (*address, id.clone())));
                identities.insert(id.clone());
            }
            let Ok(name) = EndpointName::new(&endpoint.namespace, &endpoint.name) else {
                continue;
            };
            names.insert(name.clone());
            let netns = NetnsInode::new(endpoint.netns_inode);
            namespaces.extend(netns.map(|netns| (netns, name.clone())));
            let home = id.map(|id| Home {
                id,
                addresses: its,
                netns,
            });
            homes.extend(home.map(|home| (name, home)));
        }
        let contested = wire.contested.iter().take(MOST).filter_map(|contested| {
            let id = SpiffeId::parse(&contested.spiffe_id).ok()?;
            Some((id, contested.why.chars().take(MOST_WORDS).collect()))
        });
        Self {
            identities,
            names,
            namespaces: namespaces.into_iter().collect(),
            addresses: unambiguous(addresses),
            homes,
            contested: contested.collect(),
        }
    }

    /// Endpoints with these addresses.
    pub fn with_addresses(addresses: impl IntoIterator<Item = (IpAddr, SpiffeId)>) -> Self {
        let addresses: Vec<_> = addresses.into_iter().collect();
        Self {
            identities: addresses.iter().map(|(_, id)| id.clone()).collect(),
            addresses: unambiguous(addresses),
            ..Self::default()
        }
    }

    /// Endpoints that have these identities.
    pub fn with_identities(identities: impl IntoIterator<Item = SpiffeId>) -> Self {
        Self {
            identities: identities.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Endpoints that have these names.
    pub fn with_names(names: impl IntoIterator<Item = EndpointName>) -> Self {
        Self {
            names: names.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Which identity each address has.
    pub fn addresses(&self) -> &BTreeMap<IpAddr, SpiffeId> {
        &self.addresses
    }

    /// Whether an endpoint of this node has the identity.
    pub fn has(&self, id: &SpiffeId) -> bool {
        self.identities.contains(id)
    }

    /// Whether this node has an endpoint of that name.
    pub fn has_named(&self, name: &EndpointName) -> bool {
        self.names.contains(name)
    }

    /// Where identities live, by the endpoint's name.
    pub(crate) fn homes(&self) -> impl Iterator<Item = (&EndpointName, &Home)> {
        self.homes.iter()
    }

    /// Who lives at an endpoint.
    pub(crate) fn home(&self, name: &EndpointName) -> Option<&Home> {
        self.homes.get(name)
    }

    /// Why no address of this identity is believed here, if others claim them, too.
    pub fn contest(&self, id: &SpiffeId) -> Option<&str> {
        self.contested.get(id).map(String::as_str)
    }

    /// Which network namespace is which endpoint.
    pub fn namespaces(&self) -> &EndpointTable {
        &self.namespaces
    }
}

/// Without the addresses that several identities would have: nobody can say whose they are.
fn unambiguous(addresses: Vec<(IpAddr, SpiffeId)>) -> BTreeMap<IpAddr, SpiffeId> {
    let mut table: BTreeMap<IpAddr, Option<SpiffeId>> = BTreeMap::new();
    for (address, id) in addresses {
        table
            .entry(address)
            .and_modify(|known| *known = known.take().filter(|known| *known == id))
            .or_insert_with(|| Some(id.clone()));
    }
    let known = table.into_iter().filter_map(|(address, id)| Some((address, id?)));
    known.collect()
}

/// Runs for ever. While meshd is away the last known endpoints stay; before it was ever there, there are none known.
pub async fn watch(socket: PathBuf, publish: watch::Sender<Option<Arc<Endpoints>>>, status: Arc<Status>) {
    let mut attempt = 0;
    loop {
        let connected = stream(&socket, &publish, &status).await;
        if status.mesh_connected() {
            attempt = 0;
            tracing::info!("signet-meshd has gone; its last endpoints stay");
        }
        status.set_mesh_connected(false);
        status.sight.lose();
        if let Err(error) = connected {
            tracing::debug!(error = format!("{error:#}"), "no endpoints from signet-meshd");
        }
        sleep(backoff(FIRST_RETRY, LAST_RETRY, attempt, random())).await;
        attempt = attempt.saturating_add(1);
    }
}

async fn stream(
    socket: &std::path::Path,
    publish: &watch::Sender<Option<Arc<Endpoints>>>,
    status: &Status,
) -> anyhow::Result<()> {
    let mut client = MeshServiceClient::new(signet_uds::connect(socket)?);
    let request = WatchEndpointsRequest { heartbeat: true };
    let mut updates = timeout(OPEN, client.watch_endpoints(request))
        .await
        .context("signet-meshd does not answer")??
        .into_inner();
    status.set_mesh_connected(true);
    tracing::info!("following signet-meshd's endpoints");
    // The last one; none: an earlier signet-meshd, which has none.
    let mut beat: Option<u64> = None;
    loop {
        let next = updates.message();
        let update = if beat.is_none() {
            next.await?
        } else if let Ok(update) = timeout(SILENCE, next).await {
            update?
        } else {
            let error = anyhow::anyhow!(
                "signet-meshd hangs: it has said nothing for {} s; no leases are granted until it does",
                SILENCE.as_secs()
            );
            status.fail("endpoints", &error);
            return Err(error);
        };
        let Some(update) = update else { return Ok(()) };
        if update.unchanged {
            // One that comes again says nothing of now.
            if beat.is_some_and(|last| last < update.heartbeat) {
                beat = Some(update.heartbeat);
                status.sight.hear();
            }
            continue;
        }
        let endpoints = Arc::new(Endpoints::parse(&update));
        publish.send_if_modified(|known| {
            let changed = known.as_ref() != Some(&endpoints);
            *known = Some(endpoints);
            changed
        });
        if update.heartbeat == 0 {
            status.sight.open();
        } else {
            beat = beat.max(Some(update.heartbeat));
            status.sight.hear();
        }
    }
}
