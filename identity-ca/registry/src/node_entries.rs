//! Which nodes may attest with something else than a join token, with what, and what they are given then.
//!
//! An entry is the operator's word that a node of this name may be there, like a token, but it is not used up: a machine
//! whose disk was lost comes back by itself. To ban or to evict a node takes its entry away.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use signet_log::{Change as Logged, ChangeKind, Hash};
use signet_node_attest::{Facts, Method, NodeSelector};
use signet_spiffe::{NodeName, UnixTime};

use crate::changes::Change;
use crate::cidr::PodCidr;
use crate::database::{Registry, StorageError, Write, moment, seconds};
use crate::lists;
use crate::nodes::{self, Node};
use crate::revocations;
use crate::sql::{self, Connection};
use crate::standing;
use crate::tokens::{self, CreateTokenError, check_addresses, check_cidrs, check_overlap, check_owned};

/// Most entries: as many as there are numbers for nodes.
pub const MAX_NODE_ENTRIES: usize = 65_535;

/// Most selectors of one entry.
pub const MAX_NODE_SELECTORS: usize = 16;

/// A way to attest that a node may go, with one thing that is asked of it there: `<method> <selector>`, or the method alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// Which way.
    pub method: Method,
    /// What its certificate, or its TPM, has to be.
    pub selector: Option<NodeSelector>,
}

/// Not a way, or not one that makes sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WayError {
    /// Unknown method.
    #[error(transparent)]
    Method(#[from] signet_node_attest::MethodError),
    /// Unknown selector.
    #[error(transparent)]
    Selector(#[from] signet_node_attest::SelectorError),
    /// A certificate that anybody may have in software says nothing of a TPM.
    #[error("x509pop knows nothing of a TPM, so ek-sha256 cannot be asked for; use tpm_devid")]
    NoTpm,
}

impl FromStr for Way {
    type Err = WayError;

    fn from_str(text: &str) -> Result<Self, WayError> {
        let (method, selector) = match text.split_once(' ') {
            Some((method, selector)) => (method, Some(selector.parse()?)),
            None => (text, None),
        };
        let method = method.parse()?;
        match (method, &selector) {
            (Method::X509Pop, Some(NodeSelector::EndorsementKey(_))) => Err(WayError::NoTpm),
            (Method::X509Pop | Method::TpmDevid, _) => Ok(Self { method, selector }),
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.method.fmt(f)?;
        self.selector
            .iter()
            .try_for_each(|selector| write!(f, " {selector}"))
    }
}

/// An entry to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNodeEntry {
    /// Whose.
    pub node: NodeName,
    /// The node's pod CIDRs from its attestation on; none leaves those that it has.
    pub pod_cidrs: Vec<PodCidr>,
    /// What the node may announce beside the address that the CA sees; none leaves what it may already.
    pub addresses: Vec<IpAddr>,
    /// Of one method all must hold. A method that is not among them is not open to the node.
    pub ways: Vec<Way>,
}

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeEntry {
    /// What was asked for.
    pub entry: NewNodeEntry,
    /// When.
    pub created_at: UnixTime,
}

/// Why an entry was not made. The operator is to blame.
#[derive(Debug, thiserror::Error)]
pub enum AllowError {
    /// Nobody could attest by it.
    #[error("say with what the node may attest: --x509pop or --tpm-devid")]
    NoWay,
    /// More than [`MAX_NODE_SELECTORS`].
    #[error("an entry has at most {MAX_NODE_SELECTORS} selectors, not {count}")]
    Selectors {
        /// How many.
        count: usize,
    },
    /// [`MAX_NODE_ENTRIES`] exist.
    #[error("there are {MAX_NODE_ENTRIES} node entries, which is the limit")]
    TooMany,
    /// Its addresses, or a ban. The same rules as for join tokens.
    #[error(transparent)]
    Place(CreateTokenError),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<CreateTokenError> for AllowError {
    fn from(error: CreateTokenError) -> Self {
        if let CreateTokenError::Storage(error) = error {
            Self::Storage(error)
        } else {
            Self::Place(error)
        }
    }
}

/// What a node has proven to be.
#[derive(Debug, Clone, Copy)]
pub struct Proven<'a> {
    /// Who it says it is.
    pub node: &'a NodeName,
    /// By which way.
    pub method: Method,
    /// What is known of its certificate and of its TPM.
    pub facts: &'a Facts,
    /// Whether the certificate itself, by a rule of the CA's, carries the node's name.
    pub carries_name: bool,
}

/// Why a node that has proven a key is not admitted.
#[derive(Debug, thiserror::Error)]
pub enum AdmitError {
    /// No entry, or none for this method.
    #[error(
        "the node {node} may not attest by {method}; the operator allows it (signet ca node allow {node})"
    )]
    NotAllowed {
        /// Who it says it is.
        node: NodeName,
        /// By which way.
        method: Method,
    },
    /// The entry asks for something else.
    #[error("what the node {node} shows is not {selector}, which its entry asks for")]
    Lacks {
        /// Who it says it is.
        node: NodeName,
        /// What is asked for.
        selector: NodeSelector,
    },
    /// Any certificate of the authorities would do, and nothing ties this one to the name.
    #[error(
        "the entry of the node {node} asks for nothing of its certificate, and this CA has no rule for the name in it: \
         give the entry a selector, or the CA --x509pop-name (--tpm-devid-name)"
    )]
    Unbound {
        /// Who it says it is.
        node: NodeName,
    },
    /// The node is kept out.
    #[error("the node {node} is banned: {reason}")]
    Banned {
        /// Who it says it is.
        node: NodeName,
        /// In the operator's words.
        reason: String,
    },
    /// Its pod CIDRs went to another node since.
    #[error(transparent)]
    Overlap(Box<CreateTokenError>),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl NewNodeEntry {
    /// What the issuance log has of it.
    fn digest(&self) -> Hash {
        Logged::digest(&[
            self.node.as_str(),
            &lists::join(&self.pod_cidrs),
            &lists::join(&self.addresses),
            &lists::join(&self.ways),
        ])
    }

    /// Whether `proven` is what this asks for.
    fn judge(&self, proven: &Proven<'_>) -> Result<(), AdmitError> {
        let node = || self.node.clone();
        let mut ways = self
            .ways
            .iter()
            .filter(|way| way.method == proven.method)
            .peekable();
        if ways.peek().is_none() {
            return Err(AdmitError::NotAllowed {
                node: node(),
                method: proven.method,
            });
        }
        let asked: Vec<_> = ways.filter_map(|way| way.selector.as_ref()).collect();
        if let Some(selector) = proven.facts.lack(asked.iter().copied()) {
            return Err(AdmitError::Lacks {
                node: node(),
                selector: selector.clone(),
            });
        }
        if asked.is_empty() && !proven.carries_name {
            return Err(AdmitError::Unbound { node: node() });
        }
        Ok(())
    }
}

impl Registry {
    /// Makes an entry, or replaces the one of this node.
    pub async fn allow_node(&self, new: &NewNodeEntry, now: UnixTime) -> Result<NodeEntry, AllowError> {
        if new.ways.is_empty() {
            return Err(AllowError::NoWay);
        }
        if new.ways.len() > MAX_NODE_SELECTORS {
            return Err(AllowError::Selectors {
                count: new.ways.len(),
            });
        }
        check_cidrs(&new.pod_cidrs)?;
        check_addresses(&new.addresses)?;
        let mut write = self.write().await?;
        if let Some(ban) = revocations::ban(write.connection(), &new.node).await? {
            return Err(AllowError::Place(CreateTokenError::Banned {
                node: new.node.clone(),
                reason: ban.reason,
            }));
        }
        let entries = all(write.connection()).await?;
        let before = entries.iter().find(|known| known.entry.node == new.node);
        if before.is_none() && entries.len() >= MAX_NODE_ENTRIES {
            return Err(AllowError::TooMany);
        }
        check_owned(&new.node, &new.pod_cidrs, &*write.places().await?)?;
        let promised = tokens::outstanding(write.connection(), now).await?;
        let allowed = places(&entries);
        check_overlap(&new.node, &new.pod_cidrs, promised.into_iter().chain(allowed))?;
        sql::query(
            "INSERT INTO node_entries (node, pod_cidrs, addresses, selectors, created_at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (node) DO UPDATE SET pod_cidrs = excluded.pod_cidrs, addresses = excluded.addresses,
                 selectors = excluded.selectors, created_at = excluded.created_at",
        )
        .bind(new.node.as_str())
        .bind(lists::join(&new.pod_cidrs))
        .bind(lists::join(&new.addresses))
        .bind(lists::join(&new.ways))
        .bind(seconds(now))
        .execute(write.connection())
        .await
        .map_err(StorageError::from)?;
        let before = before.map(|known| known.entry.digest());
        write.log(
            ChangeKind::NodeEntry,
            new.node.as_str(),
            before,
            Some(new.digest()),
        );
        write.commit().await?;
        Ok(NodeEntry {
            entry: new.clone(),
            created_at: now,
        })
    }

    /// Takes an entry back. A node that attested by it stays; it does not get in again. Tells what it was.
    pub async fn disallow_node(&self, node: &NodeName) -> Result<Option<NodeEntry>, StorageError> {
        let mut write = self.write().await?;
        let gone = withdraw(&mut write, node).await?;
        write.commit().await?;
        Ok(gone)
    }

    /// All entries, by name.
    pub async fn node_entries(&self) -> Result<Vec<NodeEntry>, StorageError> {
        all(&mut *self.read().await?).await
    }

    /// Admits a node that its entry asks for. One that was known keeps its number, and its earlier SVIDs count no more.
    pub async fn admit_proven(&self, proven: &Proven<'_>, now: UnixTime) -> Result<Node, AdmitError> {
        let name = proven.node;
        let mut write = self.write().await?;
        // First, so that a node which is kept out hears of it although its entry went with the ban.
        if let Some(ban) = revocations::ban(write.connection(), name).await? {
            return Err(AdmitError::Banned {
                node: name.clone(),
                reason: ban.reason,
            });
        }
        let found = find(write.connection(), name).await?;
        let NodeEntry { entry, .. } = found.ok_or_else(|| AdmitError::NotAllowed {
            node: name.clone(),
            method: proven.method,
        })?;
        entry.judge(proven)?;
        let before = {
            let places = write.places().await?;
            check_owned(name, &entry.pod_cidrs, &places)
                .map_err(|error| AdmitError::Overlap(Box::new(error)))?;
            places.node(name).map(Node::digest)
        };
        nodes::admit(write.connection(), name, &entry.pod_cidrs, now).await?;
        nodes::allow(write.connection(), name, &entry.addresses).await?;
        standing::end(write.connection(), name).await?;
        write.record(Change::Node(name)).await?;
        let node = nodes::find(write.connection(), name)
            .await?
            .ok_or(StorageError::Corrupt { column: "nodes.name" })?;
        write.log(ChangeKind::Node, name.as_str(), before, Some(node.digest()));
        write.commit().await?;
        Ok(node)
    }
}

/// What entries have promised.
pub(crate) async fn promised(
    connection: &mut Connection,
) -> Result<Vec<(NodeName, Vec<PodCidr>)>, StorageError> {
    Ok(places(&all(connection).await?).collect())
}

/// Whether a node has an entry.
pub(crate) async fn is_allowed(connection: &mut Connection, node: &NodeName) -> Result<bool, StorageError> {
    Ok(find(connection, node).await?.is_some())
}

/// Deletes a node's entry, if it has one.
pub(crate) async fn withdraw(
    write: &mut Write<'_>,
    node: &NodeName,
) -> Result<Option<NodeEntry>, StorageError> {
    let Some(gone) = find(write.connection(), node).await? else {
        return Ok(None);
    };
    sql::query("DELETE FROM node_entries WHERE node = ?")
        .bind(node.as_str())
        .execute(write.connection())
        .await?;
    let digest = gone.entry.digest();
    write.log(ChangeKind::NodeEntry, node.as_str(), Some(digest), None);
    Ok(Some(gone))
}

fn places(entries: &[NodeEntry]) -> impl Iterator<Item = (NodeName, Vec<PodCidr>)> {
    let place = |known: &NodeEntry| (known.entry.node.clone(), known.entry.pod_cidrs.clone());
    entries.iter().map(place)
}

/// Name, pod CIDRs, addresses, selectors, time.
type Row = (String, String, String, String, i64);

async fn find(connection: &mut Connection, node: &NodeName) -> Result<Option<NodeEntry>, StorageError> {
    let row: Option<Row> = sql::query_as(
        "SELECT node, pod_cidrs, addresses, selectors, created_at FROM node_entries WHERE node = ?",
    )
    .bind(node.as_str())
    .fetch_optional(connection)
    .await?;
    row.map(parse).transpose()
}

async fn all(connection: &mut Connection) -> Result<Vec<NodeEntry>, StorageError> {
    let rows: Vec<Row> = sql::query_as(
        "SELECT node, pod_cidrs, addresses, selectors, created_at FROM node_entries ORDER BY node",
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(parse).collect()
}

fn parse((node, pod_cidrs, addresses, selectors, created_at): Row) -> Result<NodeEntry, StorageError> {
    let corrupt = |column| StorageError::Corrupt { column };
    Ok(NodeEntry {
        entry: NewNodeEntry {
            node: NodeName::parse(&node).map_err(|_| corrupt("node_entries.node"))?,
            pod_cidrs: lists::split(&pod_cidrs, "node_entries.pod_cidrs")?,
            addresses: lists::split(&addresses, "node_entries.addresses")?,
            ways: lists::split(&selectors, "node_entries.selectors")?,
        },
        created_at: moment(created_at, "node_entries.created_at")?,
    })
}
