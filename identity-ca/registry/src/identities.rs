//! Security identities: the numbers that stand for SPIFFE IDs in kernel maps.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use signet_spiffe::{NodeName, SpiffeId, UnixTime};

use crate::database::{Registry, StorageError, seconds};
use crate::many::{any_of, many, next};
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

/// The number of a SPIFFE ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) number: i64,
    /// Whether it is registered. One that was gets the same number again, for as long as it was not forgotten.
    pub(crate) live: bool,
}

/// The numbers of those of several SPIFFE IDs that have one, or had.
pub(crate) async fn held(
    connection: &mut Connection,
    ids: &BTreeSet<&SpiffeId>,
) -> Result<BTreeMap<SpiffeId, Held>, StorageError> {
    let ids: Vec<_> = ids.iter().collect();
    let mut held = BTreeMap::new();
    let mut rest = ids.as_slice();
    while let Some((now, later)) = next(rest) {
        let query = sql::query_as(any_of(
            "SELECT number, spiffe_id, released_at FROM identities WHERE spiffe_id",
            now.len(),
        ));
        let query = now.iter().fold(query, |query, id| query.bind(id.as_str()));
        let rows: Vec<(i64, String, Option<i64>)> = query.fetch_all(&mut *connection).await?;
        for (number, id, released) in rows {
            let live = released.is_none();
            held.insert(spiffe_id(&id)?, Held { number, live });
        }
        rest = later;
    }
    Ok(held)
}

/// These are registered again.
pub(crate) async fn revive(connection: &mut Connection, ids: &[SpiffeId]) -> Result<(), StorageError> {
    let mut rest = ids;
    while let Some((now, later)) = next(rest) {
        let query = sql::query(any_of(
            "UPDATE identities SET released_at = NULL WHERE spiffe_id",
            now.len(),
        ));
        let query = now.iter().fold(query, |query, id| query.bind(id.as_str()));
        query.execute(&mut *connection).await?;
        rest = later;
    }
    Ok(())
}

/// The last holders of these numbers do not get them back.
pub(crate) async fn forget(connection: &mut Connection, numbers: &[i64]) -> Result<(), StorageError> {
    let mut rest = numbers;
    while let Some((now, later)) = next(rest) {
        let query = sql::query(any_of("DELETE FROM identities WHERE number", now.len()));
        let query = now.iter().fold(query, |query, number| query.bind(*number));
        query.execute(&mut *connection).await?;
        rest = later;
    }
    Ok(())
}

/// Gives numbers to SPIFFE IDs that have none.
pub(crate) async fn insert(
    connection: &mut Connection,
    given: &[(i64, SpiffeId)],
) -> Result<(), StorageError> {
    let mut rest = given;
    while let Some((now, later)) = next(rest) {
        let query = sql::query(many("INSERT INTO identities (number, spiffe_id)", 2, now.len()));
        let bind =
            |query: sql::Query<()>, (number, id): &(i64, SpiffeId)| query.bind(*number).bind(id.as_str());
        now.iter().fold(query, bind).execute(&mut *connection).await?;
        rest = later;
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

/// Numbers that may be given.
#[derive(Debug, Default)]
pub(crate) struct Free {
    /// As many as were asked for, in order.
    pub(crate) numbers: Vec<i64>,
    /// Those among them that somebody had.
    pub(crate) freed: Vec<i64>,
}

/// So many numbers whose quarantine is over, those first that were released first, or else above all others; none of `but`. Either is found at
/// once, however many there are: by the index of what was released, in its order. Asked for the lowest, PostgreSQL walks along all numbers
/// where it has not counted yet that hardly one is free.
pub(crate) async fn free(
    connection: &mut Connection,
    count: usize,
    but: &BTreeSet<i64>,
    now: UnixTime,
) -> Result<Free, StorageError> {
    if count == 0 {
        return Ok(Free::default());
    }
    let quarantine = i64::try_from(QUARANTINE.as_secs()).unwrap_or(i64::MAX);
    let over: Vec<(i64,)> =
        sql::query_as("SELECT number FROM identities WHERE released_at <= ? ORDER BY released_at LIMIT ?")
            .bind(seconds(now).saturating_sub(quarantine))
            .bind(i64::try_from(count.saturating_add(but.len())).unwrap_or(i64::MAX))
            .fetch_all(&mut *connection)
            .await?;
    let freed = over.into_iter().map(|(number,)| number);
    let mut freed: Vec<_> = freed.filter(|number| !but.contains(number)).take(count).collect();
    freed.sort_unstable();
    let mut numbers = freed.clone();
    if numbers.len() < count {
        let (highest,): (Option<i64>,) = sql::query_as("SELECT MAX(number) FROM identities")
            .fetch_one(connection)
            .await?;
        let first = highest.map_or(FIRST_IDENTITY.into(), |highest| highest.saturating_add(1));
        numbers.extend((first..).take(count - numbers.len()));
    }
    Ok(Free { numbers, freed })
}

/// Of several, those that are registered.
pub(crate) async fn live_of(
    connection: &mut Connection,
    ids: &[SpiffeId],
) -> Result<Vec<Identity>, StorageError> {
    let mut found = Vec::with_capacity(ids.len());
    let mut rest = ids;
    while let Some((now, later)) = next(rest) {
        let query = sql::query_as(any_of(
            "SELECT number, spiffe_id FROM identities WHERE released_at IS NULL AND spiffe_id",
            now.len(),
        ));
        let query = now.iter().fold(query, |query, id| query.bind(id.as_str()));
        let rows: Vec<(i64, String)> = query.fetch_all(&mut *connection).await?;
        let query = sql::query_as(any_of(
            "SELECT DISTINCT spiffe_id, node FROM registrations WHERE spiffe_id",
            now.len(),
        ));
        let query = now.iter().fold(query, |query, id| query.bind(id.as_str()));
        let places: Vec<(String, String)> = query.fetch_all(&mut *connection).await?;
        let mut nodes = BTreeMap::<String, Vec<String>>::new();
        for (id, node) in places {
            nodes.entry(id).or_default().push(node);
        }
        for row in rows {
            let mut nodes = nodes.remove(&row.1).unwrap_or_default();
            nodes.sort_unstable();
            found.push(parse(row, &nodes)?);
        }
        rest = later;
    }
    Ok(found)
}

fn spiffe_id(text: &str) -> Result<SpiffeId, StorageError> {
    SpiffeId::parse(text).map_err(|_| StorageError::Corrupt {
        column: "identities.spiffe_id",
    })
}

fn parse((number, spiffe_id): (i64, String), nodes: &[String]) -> Result<Identity, StorageError> {
    let corrupt = |column| StorageError::Corrupt { column };
    Ok(Identity {
        spiffe_id: self::spiffe_id(&spiffe_id)?,
        number: number.try_into().map_err(|_| corrupt("identities.number"))?,
        nodes: nodes
            .iter()
            .map(|node| NodeName::parse(node).map_err(|_| corrupt("registrations.node")))
            .collect::<Result<_, _>>()?,
    })
}
