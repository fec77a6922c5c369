//! The change log for one who tells many: what is everybody's once, and what is of each node apart.

use std::collections::{BTreeMap, BTreeSet};

use signet_spiffe::NodeName;

use crate::changes::{self, Changes, Revision};
use crate::database::{Registry, StorageError};
use crate::position::{self, Position};
use crate::registration_id::RegistrationId;
use crate::registration_rows;
use crate::registrations::Registration;
use crate::sql::{self, Connection};

/// What of a change is one node's alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeChanges {
    /// Changed or new.
    pub registrations: Vec<Registration>,
    /// Gone.
    pub removed: Vec<RegistrationId>,
}

/// What brings everybody from one position to a later one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// Without registrations.
    pub shared: Changes,
    /// Of those nodes that have any.
    pub own: BTreeMap<NodeName, NodeChanges>,
}

/// What there is after a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stepped {
    /// This.
    Step(Box<Step>),
    /// Nothing yet.
    UpToDate,
    /// The position is of another history, or the log does not reach back to it: a snapshot is needed.
    Unknown,
}

impl Registry {
    /// What everybody who is at `since` has to learn.
    pub async fn step_after(&self, since: Position) -> Result<Stepped, StorageError> {
        let mut read = self.read().await?;
        if !position::is_ours(&mut read, since).await? {
            return Ok(Stepped::Unknown);
        }
        if since.revision == changes::current(&mut read).await? {
            return Ok(Stepped::UpToDate);
        }
        let delta = changes::delta(&mut read, None, since.revision).await?;
        let mut shared = changes::stamp(&mut read, delta).await?;
        let own = by_node(&mut read, &mut shared, since.revision).await?;
        Ok(Stepped::Step(Box::new(Step { shared, own })))
    }

    /// All that everybody should know, for many who know nothing: without registrations.
    pub async fn shared_snapshot(&self) -> Result<Changes, StorageError> {
        changes::shared_snapshot(&mut *self.read().await?).await
    }

    /// The registrations of a node.
    pub async fn registrations_of(&self, node: &NodeName) -> Result<Vec<Registration>, StorageError> {
        registration_rows::of_node(&mut *self.read().await?, node).await
    }

    /// Whether a position is of this history.
    pub async fn is_ours(&self, position: Position) -> Result<bool, StorageError> {
        position::is_ours(&mut *self.read().await?, position).await
    }
}

/// Takes the registrations out of `shared`. A node that lost one to another node hears that it is gone.
async fn by_node(
    connection: &mut Connection,
    shared: &mut Changes,
    since: Revision,
) -> Result<BTreeMap<NodeName, NodeChanges>, StorageError> {
    let mut own: BTreeMap<NodeName, NodeChanges> = BTreeMap::new();
    let registrations = std::mem::take(&mut shared.registrations);
    if registrations.is_empty() && std::mem::take(&mut shared.removed_registrations).is_empty() {
        return Ok(own);
    }
    let places: BTreeMap<_, _> = registrations
        .iter()
        .map(|registration| (registration.id, registration.node.clone()))
        .collect();
    let lines: Vec<(String, Option<String>)> =
        sql::query_as("SELECT key, node FROM changes WHERE revision > ? AND kind = 'registration'")
            .bind(i64::try_from(since.0).unwrap_or(i64::MAX))
            .fetch_all(connection)
            .await?;
    let corrupt = |column| StorageError::Corrupt { column };
    for (key, node) in lines.into_iter().collect::<BTreeSet<_>>() {
        let id: RegistrationId = key.parse().map_err(|_| corrupt("changes.key"))?;
        let Some(node) = node else { continue };
        let node = NodeName::parse(&node).map_err(|_| corrupt("changes.node"))?;
        if places.get(&id) != Some(&node) {
            own.entry(node).or_default().removed.push(id);
        }
    }
    for registration in registrations {
        let changes = own.entry(registration.node.clone()).or_default();
        changes.registrations.push(registration);
    }
    Ok(own)
}
