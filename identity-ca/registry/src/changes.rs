//! The change log, and what a node is told of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use signet_spiffe::{NodeName, SpiffeId, TrustDomain};

use crate::database::{Registry, StorageError};
use crate::federation::{self, ForeignBundle};
use crate::identities::{self, Identity};
use crate::many::{many, next};
use crate::nodes::{self, Node};
use crate::position::{self, Mark, Position};
use crate::registration_id::RegistrationId;
use crate::registration_rows;
use crate::registrations::Registration;
use crate::revocation::{Revocation, Target};
use crate::revocations;
use crate::settings::{self, Encryption};
use crate::sql::{self, Connection};

/// Changes that are kept. Whoever is further behind gets a snapshot.
pub const MAX_CHANGES: u32 = 10_000;

/// A point in the history of the registry. Zero is before everything; each committed mutation goes beyond all earlier
/// ones, and revisions are never given twice in the life of a database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What brings a node from one revision to a later one, or, as a snapshot, from nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Where the node is once it has applied this.
    pub revision: Revision,
    /// Of the revision.
    pub mark: Mark,
    /// True: the node came from another history, or it cannot be told. What it made under the numbers that it knew is void.
    pub reset: bool,
    /// True: what is not in here is gone.
    pub snapshot: bool,
    /// Changed or new.
    pub nodes: Vec<Node>,
    /// Gone.
    pub removed_nodes: Vec<NodeName>,
    /// Changed or new.
    pub identities: Vec<Identity>,
    /// Gone.
    pub removed_identities: Vec<SpiffeId>,
    /// Changed or new, of the asking node alone if one asks.
    pub registrations: Vec<Registration>,
    /// Gone, of the asking node alone if one asks.
    pub removed_registrations: Vec<RegistrationId>,
    /// The cluster's encryption, where it changed.
    pub encryption: Option<Encryption>,
    /// How long SVIDs should outlast the CA at least, where a setting of the cluster changed; zero: nobody has said.
    pub availability_target: Option<Duration>,
    /// Whether the trust bundle changed.
    pub bundle: bool,
    /// Bundles of other trust domains: changed or new.
    pub foreign: Vec<ForeignBundle>,
    /// Trust domains that have no bundle here any more.
    pub removed_foreign: Vec<TrustDomain>,
    /// Changed or new. One that is missing from a snapshot has no certificate left to matter for.
    pub revocations: Vec<Revocation>,
}

/// One line of the log.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change<'a> {
    Node(&'a NodeName),
    Identity(&'a SpiffeId),
    Registration(RegistrationId, &'a NodeName),
    Cluster,
    Bundle,
    /// The bundle of another trust domain.
    Foreign(&'a TrustDomain),
    Revocation(&'a Target),
}

impl Change<'_> {
    /// Kind, key, and the node that it is for alone.
    fn line(&self) -> (&'static str, String, Option<&str>) {
        match self {
            Self::Node(name) => ("node", name.to_string(), None),
            Self::Identity(id) => ("identity", id.to_string(), None),
            Self::Registration(id, node) => ("registration", id.to_string(), Some(node.as_str())),
            Self::Cluster => ("cluster", String::new(), None),
            Self::Bundle => ("bundle", String::new(), None),
            Self::Foreign(trust_domain) => ("bundle", trust_domain.to_string(), None),
            Self::Revocation(target) => ("revocation", target.to_string(), None),
        }
    }
}

impl Registry {
    /// What `node` has to learn after `since`: a delta if the log reaches back that far and knows the mark, a snapshot
    /// otherwise. `None` where there is nothing new.
    pub async fn changes_since(
        &self,
        node: &NodeName,
        since: Position,
    ) -> Result<Option<Changes>, StorageError> {
        self.changes_for(Some(node), since).await
    }

    /// The same for who has to know of all nodes' registrations.
    pub async fn all_changes_since(&self, since: Position) -> Result<Option<Changes>, StorageError> {
        self.changes_for(None, since).await
    }

    async fn changes_for(
        &self,
        node: Option<&NodeName>,
        since: Position,
    ) -> Result<Option<Changes>, StorageError> {
        let mut read = self.read().await?;
        if !position::is_ours(&mut read, since).await? {
            return snapshot(&mut read, node, since).await.map(Some);
        }
        let now = current(&mut read).await?;
        if since.revision == now {
            return Ok(None);
        }
        let changes = delta(&mut read, node, since.revision).await?;
        stamp(&mut read, changes).await.map(Some)
    }

    /// All that `node` should know, whatever it knew at `since`.
    pub async fn snapshot(&self, node: &NodeName, since: Position) -> Result<Changes, StorageError> {
        snapshot(&mut *self.read().await?, Some(node), since).await
    }
}

pub(crate) async fn current(connection: &mut Connection) -> Result<Revision, StorageError> {
    let (revision,): (i64,) = sql::query_as("SELECT COALESCE(MAX(revision), 0) FROM changes")
        .fetch_one(connection)
        .await?;
    to_revision(revision)
}

/// Adds where the reader is afterwards.
pub(crate) async fn stamp(connection: &mut Connection, changes: Changes) -> Result<Changes, StorageError> {
    let revision = current(connection).await?;
    let mark = position::of(connection, revision).await?;
    Ok(Changes {
        revision,
        // A reader that got none starts anew the next time.
        mark: mark.unwrap_or_default(),
        ..changes
    })
}

fn to_revision(revision: i64) -> Result<Revision, StorageError> {
    let corrupt = StorageError::Corrupt {
        column: "changes.revision",
    };
    u64::try_from(revision).map(Revision).map_err(|_| corrupt)
}

/// Notes changes, in this order.
pub(crate) async fn record(connection: &mut Connection, changes: &[Change<'_>]) -> Result<(), StorageError> {
    let mut rest = changes;
    while let Some((now, later)) = next(rest) {
        let mut query = sql::query(many("INSERT INTO changes (kind, key, node, mark)", 4, now.len()));
        for change in now {
            let (kind, key, node) = change.line();
            query = query
                .bind(kind)
                .bind(key)
                .bind(node)
                .bind(Mark::draw()?.as_bytes().as_slice());
        }
        query.execute(&mut *connection).await?;
        rest = later;
    }
    Ok(())
}

pub(crate) async fn compact(connection: &mut Connection) -> Result<(), StorageError> {
    sql::query("DELETE FROM changes WHERE revision <= (SELECT MAX(revision) FROM changes) - ?")
        .bind(MAX_CHANGES)
        .execute(connection)
        .await?;
    Ok(())
}

/// The nodes that changed after a revision.
pub(crate) async fn nodes_since(
    connection: &mut Connection,
    since: Revision,
) -> Result<Vec<NodeName>, StorageError> {
    let rows: Vec<(String,)> =
        sql::query_as("SELECT DISTINCT key FROM changes WHERE revision > ? AND kind = 'node'")
            .bind(i64::try_from(since.0).unwrap_or(i64::MAX))
            .fetch_all(connection)
            .await?;
    let parse = |(name,): (String,)| {
        NodeName::parse(&name).map_err(|_| StorageError::Corrupt {
            column: "changes.key",
        })
    };
    rows.into_iter().map(parse).collect()
}

async fn snapshot(
    connection: &mut Connection,
    node: Option<&NodeName>,
    since: Position,
) -> Result<Changes, StorageError> {
    let reset = !position::is_ours(connection, since).await?;
    let registrations = match node {
        Some(node) => registration_rows::of_node(connection, node).await?,
        None => registration_rows::all(connection).await?,
    };
    Ok(Changes {
        reset,
        registrations,
        ..shared_snapshot(connection).await?
    })
}

/// All but registrations.
pub(crate) async fn shared_snapshot(connection: &mut Connection) -> Result<Changes, StorageError> {
    let changes = Changes {
        snapshot: true,
        nodes: nodes::admitted(connection).await?,
        identities: identities::live(connection).await?,
        encryption: Some(settings::encryption(connection).await?),
        availability_target: Some(settings::availability_target(connection).await?),
        bundle: true,
        foreign: federation::all_foreign(connection).await?,
        revocations: revocations::all(connection).await?,
        ..Changes::default()
    };
    stamp(connection, changes).await
}

/// Each key that changed is looked up as it is now, so a delta never tells of a state that has passed, and one that spans
/// many changes of the same thing tells of it once.
pub(crate) async fn delta(
    connection: &mut Connection,
    node: Option<&NodeName>,
    since: Revision,
) -> Result<Changes, StorageError> {
    let since = i64::try_from(since.0).unwrap_or(i64::MAX);
    let lines: Vec<(String, String)> = sql::query_as(
        "SELECT DISTINCT kind, key FROM changes WHERE revision > ?1 AND (node IS NULL OR ?2 IS NULL OR node = ?2)",
    )
    .bind(since)
    .bind(node.map(NodeName::as_str))
    .fetch_all(&mut *connection)
    .await?;
    let mut changes = Changes::default();
    let mut by_kind = BTreeMap::<String, BTreeSet<String>>::new();
    for (kind, key) in lines {
        by_kind.entry(kind).or_default().insert(key);
    }
    for (kind, keys) in by_kind {
        match kind.as_str() {
            // Of these there may be thousands, and they are looked up together.
            "node" => resolve_nodes(connection, &mut changes, &keys).await?,
            "identity" => resolve_identities(connection, &mut changes, &keys).await?,
            "registration" => resolve_registrations(connection, &mut changes, &keys).await?,
            _ => {
                for key in keys {
                    resolve(connection, &mut changes, &kind, &key).await?;
                }
            }
        }
    }
    Ok(changes)
}

fn parse<T>(keys: &BTreeSet<String>, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, StorageError> {
    let corrupt = StorageError::Corrupt {
        column: "changes.key",
    };
    let parsed: Option<_> = keys.iter().map(|key| parse(key)).collect();
    parsed.ok_or(corrupt)
}

async fn resolve_nodes(
    connection: &mut Connection,
    changes: &mut Changes,
    keys: &BTreeSet<String>,
) -> Result<(), StorageError> {
    let names = parse(keys, |key| NodeName::parse(key).ok())?;
    let banned = revocations::banned(connection, &names).await?;
    let mut found: BTreeMap<_, _> = nodes::find_all(connection, &names)
        .await?
        .into_iter()
        .map(|node| (node.name.clone(), node))
        .collect();
    for name in names {
        match found.remove(&name).filter(|_| !banned.contains(&name)) {
            Some(node) => changes.nodes.push(node),
            None => changes.removed_nodes.push(name),
        }
    }
    Ok(())
}

async fn resolve_identities(
    connection: &mut Connection,
    changes: &mut Changes,
    keys: &BTreeSet<String>,
) -> Result<(), StorageError> {
    let ids = parse(keys, |key| SpiffeId::parse(key).ok())?;
    let mut found: BTreeMap<_, _> = identities::live_of(connection, &ids)
        .await?
        .into_iter()
        .map(|identity| (identity.spiffe_id.clone(), identity))
        .collect();
    for id in ids {
        match found.remove(&id) {
            Some(identity) => changes.identities.push(identity),
            None => changes.removed_identities.push(id),
        }
    }
    Ok(())
}

async fn resolve_registrations(
    connection: &mut Connection,
    changes: &mut Changes,
    keys: &BTreeSet<String>,
) -> Result<(), StorageError> {
    let ids = parse(keys, |key| key.parse::<RegistrationId>().ok())?;
    let mut found: BTreeMap<_, _> = registration_rows::find_all(connection, &ids)
        .await?
        .into_iter()
        .map(|registration| (registration.id, registration))
        .collect();
    for id in ids {
        match found.remove(&id) {
            Some(registration) => changes.registrations.push(registration),
            None => changes.removed_registrations.push(id),
        }
    }
    Ok(())
}

async fn resolve(
    connection: &mut Connection,
    changes: &mut Changes,
    kind: &str,
    key: &str,
) -> Result<(), StorageError> {
    let corrupt = || StorageError::Corrupt {
        column: "changes.key",
    };
    match kind {
        "cluster" => {
            changes.encryption = Some(settings::encryption(connection).await?);
            changes.availability_target = Some(settings::availability_target(connection).await?);
        }
        "bundle" if key.is_empty() => changes.bundle = true,
        "bundle" => {
            let trust_domain = TrustDomain::parse(key).map_err(|_| corrupt())?;
            match federation::foreign(connection, &trust_domain).await? {
                Some(bundle) => changes.foreign.push(bundle),
                None => changes.removed_foreign.push(trust_domain),
            }
        }
        "revocation" => changes
            .revocations
            .extend(revocations::find(connection, &key.parse()?).await?),
        _ => {
            return Err(StorageError::Corrupt {
                column: "changes.kind",
            });
        }
    }
    Ok(())
}
