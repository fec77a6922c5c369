//! Nodes that have attested.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use signet_log::{Change as Logged, ChangeKind, Hash};
use signet_spiffe::{NodeName, UnixTime};

use crate::addresses;
use crate::changes::Change;
use crate::cidr::PodCidr;
use crate::database::{Registry, StorageError, moment, seconds};
use crate::lists;
use crate::many::{any_of, next};
use crate::places::Places;
use crate::sql::{self, Connection};

/// Most addresses that a node may announce.
pub const MAX_ADDRESSES: usize = 8;

/// A node's number: from 1, for good. `NodeId` in kernel maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeNumber(pub u16);

impl fmt::Display for NodeNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A node that has attested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Unique in the trust domain.
    pub name: NodeName,
    /// Unique, and kept when the node attests again.
    pub number: NodeNumber,
    /// As the operator gave them with the join token.
    pub pod_cidrs: Vec<PodCidr>,
    /// As the node announced them, the one to dial first. Empty before the first announcement.
    pub addresses: Vec<IpAddr>,
    /// TCP port of node sessions; 0 before the first announcement.
    pub session_port: u16,
    /// End of its newest SVID; the epoch where it never got one.
    pub svid_not_after: UnixTime,
}

impl Node {
    /// What the issuance log has of it: all but its SVID, which is there by itself.
    pub fn digest(&self) -> Hash {
        Logged::digest(&[
            self.name.as_str(),
            &self.number.to_string(),
            &lists::join(&self.pod_cidrs),
            &lists::join(&self.addresses),
            &self.session_port.to_string(),
        ])
    }
}

/// Where a node can be reached, by its own word and by what the CA sees of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The address that the node calls from.
    pub seen: IpAddr,
    /// The one to dial first. None: the one that is seen, if peers could dial it.
    pub addresses: Vec<IpAddr>,
    /// TCP port of node sessions.
    pub session_port: u16,
}

/// Why an announcement was refused. The node is to blame, or its configuration.
#[derive(Debug, thiserror::Error)]
pub enum AnnounceError {
    /// No such node.
    #[error("the node {0} is not known; it has to attest with a join token")]
    UnknownNode(NodeName),
    /// More than [`MAX_ADDRESSES`].
    #[error("a node announces at most {MAX_ADDRESSES} addresses, not {count}")]
    Count {
        /// How many.
        count: usize,
    },
    /// Port 0.
    #[error("a node announces the port of its sessions")]
    NoPort,
    /// Unspecified, loopback, link-local, multicast, broadcast, or an IPv4 address written as IPv6.
    #[error("{0} is not an address that a peer could dial")]
    NotDialable(IpAddr),
    /// Neither seen by the CA nor named by the operator.
    #[error(
        "{address} is not the address {seen} that the CA sees, nor one that the join token named \
         (signet ca token NODE --address {address})"
    )]
    Foreign {
        /// The address.
        address: IpAddr,
        /// Where the node calls from.
        seen: IpAddr,
    },
    /// The same address twice.
    #[error("{0} is announced twice")]
    Twice(IpAddr),
    /// The address of a workload.
    #[error("{address} is inside {cidr}, where the workloads of {node} live")]
    Pod {
        /// The address.
        address: IpAddr,
        /// The block it lies in.
        cidr: PodCidr,
        /// Whose workloads live there.
        node: NodeName,
    },
    /// The address of another node that is there.
    #[error("{address} is the address of {node}, which is connected")]
    Taken {
        /// The address.
        address: IpAddr,
        /// Whose it is.
        node: NodeName,
    },
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Registry {
    /// Takes down where a node can be reached; does nothing if that is known already.
    ///
    /// An address that another node announced earlier moves to this one, unless that node is among `connected`: the peers
    /// of both would take packets of the one for packets of the other.
    pub async fn announce(
        &self,
        name: &NodeName,
        announcement: &Announcement,
        connected: &BTreeSet<NodeName>,
    ) -> Result<(), AnnounceError> {
        if self.is_announced(name, announcement).await? {
            return Ok(());
        }
        let mut write = self.write().await?;
        let allowed = allowed_addresses(write.connection(), name).await?;
        addresses::check(announcement, &allowed)?;
        let announcement = &with_seen(announcement);
        let (known, others) = {
            let places = write.places().await?;
            let known = places.node(name).cloned();
            let known = known.ok_or_else(|| AnnounceError::UnknownNode(name.clone()))?;
            if known.addresses == announcement.addresses && known.session_port == announcement.session_port {
                return Ok(());
            }
            (known, losers(&places, name, announcement, connected)?)
        };
        for node in others {
            let mut left = node.addresses.clone();
            left.retain(|address| !announcement.addresses.contains(address));
            set_addresses(write.connection(), &node.name, &left, node.session_port).await?;
            write.record(Change::Node(&node.name)).await?;
            let before = node.digest();
            let after = Node {
                addresses: left,
                ..node
            };
            write.log(
                ChangeKind::Node,
                after.name.as_str(),
                Some(before),
                Some(after.digest()),
            );
        }
        set_addresses(
            write.connection(),
            name,
            &announcement.addresses,
            announcement.session_port,
        )
        .await?;
        write.record(Change::Node(name)).await?;
        let after = Node {
            addresses: announcement.addresses.clone(),
            session_port: announcement.session_port,
            ..known.clone()
        };
        write.log(
            ChangeKind::Node,
            name.as_str(),
            Some(known.digest()),
            Some(after.digest()),
        );
        write.commit().await?;
        Ok(())
    }

    /// Whether a node can be reached where it says already: most come back where they were, and need not be compared with all others.
    async fn is_announced(
        &self,
        name: &NodeName,
        announcement: &Announcement,
    ) -> Result<bool, AnnounceError> {
        let mut read = self.read().await?;
        let allowed = allowed_addresses(&mut read, name).await?;
        addresses::check(announcement, &allowed)?;
        let announcement = with_seen(announcement);
        let known = find(&mut read, name).await?;
        let known = known.ok_or_else(|| AnnounceError::UnknownNode(name.clone()))?;
        Ok(known.addresses == announcement.addresses && known.session_port == announcement.session_port)
    }

    /// How many there are.
    pub async fn count_nodes(&self) -> Result<u32, StorageError> {
        let (count,): (i64,) = sql::query_as("SELECT COUNT(*) FROM nodes WHERE evicted_at IS NULL")
            .fetch_one(&mut *self.read().await?)
            .await?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// A node by name.
    pub async fn node(&self, name: &NodeName) -> Result<Option<Node>, StorageError> {
        find(&mut *self.read().await?, name).await
    }

    /// All nodes, by number.
    pub async fn nodes(&self) -> Result<Vec<Node>, StorageError> {
        all(&mut *self.read().await?).await
    }
}

/// The nodes whose addresses move to this one. A node that announces the address of a workload would make its peers take that
/// workload for a node.
fn losers(
    places: &Places,
    name: &NodeName,
    announcement: &Announcement,
    connected: &BTreeSet<NodeName>,
) -> Result<Vec<Node>, AnnounceError> {
    let mut losers = BTreeMap::new();
    for &address in &announcement.addresses {
        if let Some((cidr, node)) = places.block_of(address) {
            return Err(AnnounceError::Pod {
                address,
                cidr,
                node: node.clone(),
            });
        }
        for node in places.at(address).filter(|node| node.name != *name) {
            if connected.contains(&node.name) {
                return Err(AnnounceError::Taken {
                    address,
                    node: node.name.clone(),
                });
            }
            losers.insert(node.number, node.clone());
        }
    }
    Ok(losers.into_values().collect())
}

/// A node that names no address is reached where it calls from; behind a loopback address it is not reached.
fn with_seen(announcement: &Announcement) -> Announcement {
    let mut announcement = announcement.clone();
    if announcement.addresses.is_empty() && addresses::is_dialable(announcement.seen) {
        announcement.addresses.push(announcement.seen);
    }
    announcement
}

async fn allowed_addresses(
    connection: &mut Connection,
    name: &NodeName,
) -> Result<Vec<IpAddr>, StorageError> {
    let row: Option<(String,)> = sql::query_as("SELECT allowed_addresses FROM nodes WHERE name = ?")
        .bind(name.as_str())
        .fetch_optional(connection)
        .await?;
    row.map_or(Ok(Vec::new()), |(list,)| {
        lists::split(&list, "nodes.allowed_addresses")
    })
}

/// Sets what a node may announce. An empty list leaves what it may.
pub(crate) async fn allow(
    connection: &mut Connection,
    name: &NodeName,
    addresses: &[IpAddr],
) -> Result<(), StorageError> {
    if addresses.is_empty() {
        return Ok(());
    }
    sql::query("UPDATE nodes SET allowed_addresses = ? WHERE name = ?")
        .bind(lists::join(addresses))
        .bind(name.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

/// Makes a node, or keeps the one of this name. An empty list of pod CIDRs leaves those it has.
pub(crate) async fn admit(
    connection: &mut Connection,
    name: &NodeName,
    pod_cidrs: &[PodCidr],
    now: UnixTime,
) -> Result<(), StorageError> {
    sql::query(
        "INSERT INTO nodes (number, name, pod_cidrs, addresses, session_port, attested_at, svid_not_after)
         VALUES ((SELECT COALESCE(MAX(number), 0) + 1 FROM nodes), ?1, ?2, '', 0, ?3, 0)
         ON CONFLICT (name) DO UPDATE SET
             attested_at = excluded.attested_at,
             evicted_at = NULL,
             pod_cidrs = CASE excluded.pod_cidrs WHEN '' THEN nodes.pod_cidrs ELSE excluded.pod_cidrs END",
    )
    .bind(name.as_str())
    .bind(lists::join(pod_cidrs))
    .bind(seconds(now))
    .execute(connection)
    .await?;
    Ok(())
}

/// Those that are not banned: what other nodes are told of.
pub(crate) async fn admitted(connection: &mut Connection) -> Result<Vec<Node>, StorageError> {
    let banned: Vec<(String,)> =
        sql::query_as("SELECT subject FROM revocations WHERE kind = 'node' AND banned = 1")
            .fetch_all(&mut *connection)
            .await?;
    let banned: BTreeSet<String> = banned.into_iter().map(|(name,)| name).collect();
    let mut nodes = all(connection).await?;
    nodes.retain(|node| !banned.contains(node.name.as_str()));
    Ok(nodes)
}

/// Forgets a node but for its number, which no other node gets.
pub(crate) async fn evict(
    connection: &mut Connection,
    name: &NodeName,
    now: UnixTime,
) -> Result<(), StorageError> {
    sql::query(
        "UPDATE nodes SET evicted_at = ?, pod_cidrs = '', addresses = '', session_port = 0, svid_not_after = 0
         WHERE name = ?",
    )
    .bind(seconds(now))
    .bind(name.as_str())
    .execute(connection)
    .await?;
    Ok(())
}

async fn set_addresses(
    connection: &mut Connection,
    name: &NodeName,
    addresses: &[IpAddr],
    session_port: u16,
) -> Result<(), StorageError> {
    sql::query("UPDATE nodes SET addresses = ?, session_port = ? WHERE name = ?")
        .bind(lists::join(addresses))
        .bind(session_port)
        .bind(name.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

/// Number, name, pod CIDRs, addresses, session port, end of the SVID.
type Row = (i64, String, String, String, i64, i64);

pub(crate) async fn find(connection: &mut Connection, name: &NodeName) -> Result<Option<Node>, StorageError> {
    let row: Option<Row> = sql::query_as(
        "SELECT number, name, pod_cidrs, addresses, session_port, svid_not_after FROM nodes
         WHERE name = ? AND evicted_at IS NULL",
    )
    .bind(name.as_str())
    .fetch_optional(connection)
    .await?;
    row.map(parse).transpose()
}

/// Of several, those that there are.
pub(crate) async fn find_all(
    connection: &mut Connection,
    names: &[NodeName],
) -> Result<Vec<Node>, StorageError> {
    let mut found = Vec::with_capacity(names.len());
    let mut rest = names;
    while let Some((now, later)) = next(rest) {
        let query = sql::query_as(any_of(
            "SELECT number, name, pod_cidrs, addresses, session_port, svid_not_after FROM nodes
             WHERE evicted_at IS NULL AND name",
            now.len(),
        ));
        let query = now.iter().fold(query, |query, name| query.bind(name.as_str()));
        let rows: Vec<Row> = query.fetch_all(&mut *connection).await?;
        for row in rows {
            found.push(parse(row)?);
        }
        rest = later;
    }
    Ok(found)
}

/// Of several, the names of those that there are.
pub(crate) async fn which_attested(
    connection: &mut Connection,
    names: &BTreeSet<&NodeName>,
) -> Result<BTreeSet<NodeName>, StorageError> {
    let names: Vec<_> = names.iter().map(|name| (*name).clone()).collect();
    let found = find_all(connection, &names).await?;
    Ok(found.into_iter().map(|node| node.name).collect())
}

pub(crate) async fn all(connection: &mut Connection) -> Result<Vec<Node>, StorageError> {
    let rows: Vec<Row> = sql::query_as(
        "SELECT number, name, pod_cidrs, addresses, session_port, svid_not_after FROM nodes
         WHERE evicted_at IS NULL ORDER BY number",
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(parse).collect()
}

fn parse(
    (number, name, pod_cidrs, addresses, session_port, svid_not_after): Row,
) -> Result<Node, StorageError> {
    let corrupt = |column| StorageError::Corrupt { column };
    Ok(Node {
        name: NodeName::parse(&name).map_err(|_| corrupt("nodes.name"))?,
        number: NodeNumber(number.try_into().map_err(|_| corrupt("nodes.number"))?),
        pod_cidrs: lists::split(&pod_cidrs, "nodes.pod_cidrs")?,
        addresses: lists::split(&addresses, "nodes.addresses")?,
        session_port: session_port
            .try_into()
            .map_err(|_| corrupt("nodes.session_port"))?,
        svid_not_after: moment(svid_not_after, "nodes.svid_not_after")?,
    })
}
