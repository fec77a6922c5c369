//! Nodes that have attested.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use signet_log::{Change as Logged, ChangeKind, Hash};
use signet_spiffe::{NodeName, UnixTime};
use sqlx::sqlite::SqliteConnection;

use crate::changes::Change;
use crate::cidr::PodCidr;
use crate::database::{Registry, StorageError, moment, seconds};
use crate::lists;

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

/// Where a node can be reached, by its own word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The one to dial first.
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
    /// None, or more than [`MAX_ADDRESSES`].
    #[error("a node announces 1 to {MAX_ADDRESSES} addresses, not {count}")]
    Count {
        /// How many.
        count: usize,
    },
    /// Port 0.
    #[error("a node announces the port of its sessions")]
    NoPort,
    /// Unspecified, multicast, broadcast, or an IPv4 address written as IPv6.
    #[error("{0} is not an address that a peer could dial")]
    NotDialable(IpAddr),
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
        check(announcement)?;
        let mut write = self.write().await?;
        let nodes = all(write.connection()).await?;
        let known = nodes.iter().find(|node| node.name == *name);
        let known = known.ok_or_else(|| AnnounceError::UnknownNode(name.clone()))?;
        if known.addresses == announcement.addresses && known.session_port == announcement.session_port {
            return Ok(());
        }
        for node in &nodes {
            check_against(announcement, node)?;
            let taken = node
                .addresses
                .iter()
                .find(|address| announcement.addresses.contains(address));
            let Some(&address) = taken.filter(|_| node.name != *name) else {
                continue;
            };
            if connected.contains(&node.name) {
                return Err(AnnounceError::Taken {
                    address,
                    node: node.name.clone(),
                });
            }
            let mut left = node.addresses.clone();
            left.retain(|address| !announcement.addresses.contains(address));
            set_addresses(write.connection(), &node.name, &left, node.session_port).await?;
            write.record(Change::Node(&node.name)).await?;
            let after = Node {
                addresses: left,
                ..node.clone()
            };
            write.log(
                ChangeKind::Node,
                node.name.as_str(),
                Some(node.digest()),
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

    /// A node by name.
    pub async fn node(&self, name: &NodeName) -> Result<Option<Node>, StorageError> {
        find(&mut *self.read().await?, name).await
    }

    /// All nodes, by number.
    pub async fn nodes(&self) -> Result<Vec<Node>, StorageError> {
        all(&mut *self.read().await?).await
    }

    /// Takes down that a node got an SVID. Not news for other nodes.
    pub async fn record_node_svid(&self, name: &NodeName, not_after: UnixTime) -> Result<(), StorageError> {
        let mut write = self.write().await?;
        sqlx::query("UPDATE nodes SET svid_not_after = ? WHERE name = ?")
            .bind(seconds(not_after))
            .bind(name.as_str())
            .execute(write.connection())
            .await?;
        write.commit().await?;
        Ok(())
    }
}

fn check(announcement: &Announcement) -> Result<(), AnnounceError> {
    let addresses = &announcement.addresses;
    if addresses.is_empty() || addresses.len() > MAX_ADDRESSES {
        return Err(AnnounceError::Count {
            count: addresses.len(),
        });
    }
    if announcement.session_port == 0 {
        return Err(AnnounceError::NoPort);
    }
    for (position, address) in addresses.iter().enumerate() {
        let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
        // IPv4 in IPv6's clothes would be a second spelling of the same address.
        let disguised = address.to_canonical() != *address;
        if address.is_unspecified() || address.is_multicast() || broadcast || disguised {
            return Err(AnnounceError::NotDialable(*address));
        }
        if addresses.iter().skip(position + 1).any(|other| other == address) {
            return Err(AnnounceError::Twice(*address));
        }
    }
    Ok(())
}

/// A node that announces the address of a workload would make its peers take that workload for a node.
fn check_against(announcement: &Announcement, node: &Node) -> Result<(), AnnounceError> {
    for &address in &announcement.addresses {
        if let Some(&cidr) = node.pod_cidrs.iter().find(|cidr| cidr.contains(address)) {
            return Err(AnnounceError::Pod {
                address,
                cidr,
                node: node.name.clone(),
            });
        }
    }
    Ok(())
}

/// Makes a node, or keeps the one of this name. An empty list of pod CIDRs leaves those it has.
pub(crate) async fn admit(
    connection: &mut SqliteConnection,
    name: &NodeName,
    pod_cidrs: &[PodCidr],
    now: UnixTime,
) -> Result<(), StorageError> {
    sqlx::query(
        "INSERT INTO nodes (number, name, pod_cidrs, addresses, session_port, attested_at, svid_not_after)
         VALUES ((SELECT COALESCE(MAX(number), 0) + 1 FROM nodes), ?1, ?2, '', 0, ?3, 0)
         ON CONFLICT (name) DO UPDATE SET
             attested_at = excluded.attested_at,
             evicted_at = NULL,
             pod_cidrs = CASE excluded.pod_cidrs WHEN '' THEN pod_cidrs ELSE excluded.pod_cidrs END",
    )
    .bind(name.as_str())
    .bind(lists::join(pod_cidrs))
    .bind(seconds(now))
    .execute(connection)
    .await?;
    Ok(())
}

/// Those that are not banned: what other nodes are told of.
pub(crate) async fn admitted(connection: &mut SqliteConnection) -> Result<Vec<Node>, StorageError> {
    let banned: Vec<(String,)> =
        sqlx::query_as("SELECT subject FROM revocations WHERE kind = 'node' AND banned = 1")
            .fetch_all(&mut *connection)
            .await?;
    let banned: BTreeSet<String> = banned.into_iter().map(|(name,)| name).collect();
    let mut nodes = all(connection).await?;
    nodes.retain(|node| !banned.contains(node.name.as_str()));
    Ok(nodes)
}

/// Forgets a node but for its number, which no other node gets.
pub(crate) async fn evict(
    connection: &mut SqliteConnection,
    name: &NodeName,
    now: UnixTime,
) -> Result<(), StorageError> {
    sqlx::query(
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
    connection: &mut SqliteConnection,
    name: &NodeName,
    addresses: &[IpAddr],
    session_port: u16,
) -> Result<(), StorageError> {
    sqlx::query("UPDATE nodes SET addresses = ?, session_port = ? WHERE name = ?")
        .bind(lists::join(addresses))
        .bind(session_port)
        .bind(name.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

/// Number, name, pod CIDRs, addresses, session port, end of the SVID.
type Row = (i64, String, String, String, i64, i64);

pub(crate) async fn find(
    connection: &mut SqliteConnection,
    name: &NodeName,
) -> Result<Option<Node>, StorageError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT number, name, pod_cidrs, addresses, session_port, svid_not_after FROM nodes
         WHERE name = ? AND evicted_at IS NULL",
    )
    .bind(name.as_str())
    .fetch_optional(connection)
    .await?;
    row.map(parse).transpose()
}

pub(crate) async fn all(connection: &mut SqliteConnection) -> Result<Vec<Node>, StorageError> {
    let rows: Vec<Row> = sqlx::query_as(
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
