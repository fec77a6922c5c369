//! Security identities: the numbers that stand for SPIFFE IDs in kernel maps.

use std::collections::HashMap;
use std::time::Duration;

use signet_spiffe::{NodeName, SpiffeId, UnixTime};

use crate::database::{Registry, StorageError, seconds};
use crate::sql::{self, Connection};

/// The first number that is handed out; those below are reserved.
pub const FIRST_IDENTITY: u32 = 256;

/// How long a released number is given to no other SPIFFE ID: longer than any proof about its last holder can live.
pub const QUARANTINE: Duration = Duration::from_hours(24);

/// A SPIFFE ID and its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Whose it is.
    pub spiffe_id: SpiffeId,
    /// From [`FIRST_IDENTITY`].
    pub number: u32,
    /// Where it is registered, by name.
    pub nodes: Vec<NodeName>,
}

impl Registry {
    /// All identities that have a registration, by number.
    pub async fn identities(&self) -> Result<Vec<Identity>, StorageError> {
        live(&mut *self.read().await?).await
    }
}

pub(crate) async fn live(connection: &mut Connection) -> Result<Vec<Identity>, StorageError> {
    let rows: Vec<(i64, String)> =
        sql::query_as("SELECT number, spiffe_id FROM identities WHERE released_at IS NULL ORDER BY number")
            .fetch_all(&mut *connection)
            .await?;
    let places: Vec<(String, String)> =
        sql::query_as("SELECT DISTINCT spiffe_id, node FROM registrations ORDER BY spiffe_id, node")
            .fetch_all(connection)
            .await?;
    let mut nodes = HashMap::<String, Vec<String>>::new();
    for (id, node) in places {
        nodes.entry(id).or_default().push(node);
    }
    let rows = rows.into_iter().map(|row| {
        let nodes = nodes.remove(&row.1).unwrap_or_default();
        parse(row, &nodes)
    });
    rows.collect()
}

pub(crate) async fn find_live(
    connection: &mut Connection,
    id: &SpiffeId,
) -> Result<Option<Identity>, StorageError> {
    let row: Option<(i64, String)> =
        sql::query_as("SELECT number, spiffe_id FROM identities WHERE spiffe_id = ? AND released_at IS NULL")
            .bind(id.as_str())
            .fetch_optional(&mut *connection)
            .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let nodes: Vec<(String,)> =
        sql::query_as("SELECT DISTINCT node FROM registrations WHERE spiffe_id = ? ORDER BY node")
            .bind(id.as_str())
            .fetch_all(connection)
            .await?;
    let nodes: Vec<_> = nodes.into_iter().map(|(node,)| node).collect();
    parse(row, &nodes).map(Some)
}

/// Whether a SPIFFE ID is registered on a node.
pub(crate) async fn is_on_node(
    connection: &mut Connection,
    id: &SpiffeId,
    node: &NodeName,
) -> Result<bool, StorageError> {
    let (is,): (bool,) =
        sql::query_as("SELECT EXISTS (SELECT 1 FROM registrations WHERE spiffe_id = ? AND node = ?)")
            .bind(id.as_str())
            .bind(node.as_str())
            .fetch_one(connection)
            .await?;
    Ok(is)
}

/// Makes sure that a SPIFFE ID has a number. One that had one gets the same again, for as long as it was not forgotten.
pub(crate) async fn acquire(
    connection: &mut Connection,
    id: &SpiffeId,
    now: UnixTime,
) -> Result<(), StorageError> {
    if find_live(connection, id).await?.is_some() {
        return Ok(());
    }
    let revived = sql::query("UPDATE identities SET released_at = NULL WHERE spiffe_id = ?")
        .bind(id.as_str())
        .execute(&mut *connection)
        .await?;
    if revived.rows_affected() == 0 {
        let number = free(connection, now).await?;
        sql::query("INSERT INTO identities (number, spiffe_id) VALUES (?, ?)")
            .bind(number)
            .bind(id.as_str())
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// Lets go of a SPIFFE ID's number if its last registration is gone.
pub(crate) async fn release_if_unused(
    connection: &mut Connection,
    id: &SpiffeId,
    now: UnixTime,
) -> Result<(), StorageError> {
    sql::query(
        "UPDATE identities SET released_at = ?1
         WHERE spiffe_id = ?2 AND released_at IS NULL
           AND NOT EXISTS (SELECT 1 FROM registrations WHERE spiffe_id = ?2)",
    )
    .bind(seconds(now))
    .bind(id.as_str())
    .execute(connection)
    .await?;
    Ok(())
}

/// The lowest number whose quarantine is over, or else one above all others. Either is found at once, however many there are.
async fn free(connection: &mut Connection, now: UnixTime) -> Result<i64, StorageError> {
    let quarantine = i64::try_from(QUARANTINE.as_secs()).unwrap_or(i64::MAX);
    let (over,): (Option<i64>,) = sql::query_as("SELECT MIN(number) FROM identities WHERE released_at <= ?")
        .bind(seconds(now).saturating_sub(quarantine))
        .fetch_one(&mut *connection)
        .await?;
    if let Some(number) = over {
        sql::query("DELETE FROM identities WHERE number = ?")
            .bind(number)
            .execute(connection)
            .await?;
        return Ok(number);
    }
    let (highest,): (Option<i64>,) = sql::query_as("SELECT MAX(number) FROM identities")
        .fetch_one(connection)
        .await?;
    Ok(highest.map_or(FIRST_IDENTITY.into(), |highest| highest.saturating_add(1)))
}

fn parse((number, spiffe_id): (i64, String), nodes: &[String]) -> Result<Identity, StorageError> {
    let corrupt = |column| StorageError::Corrupt { column };
    Ok(Identity {
        spiffe_id: SpiffeId::parse(&spiffe_id).map_err(|_| corrupt("identities.spiffe_id"))?,
        number: number.try_into().map_err(|_| corrupt("identities.number"))?,
        nodes: nodes
            .iter()
            .map(|node| NodeName::parse(node).map_err(|_| corrupt("registrations.node")))
            .collect::<Result<_, _>>()?,
    })
}
