//! What is issued and live, as far as it matters for how long the CA may be gone.

use signet_spiffe::{NodeName, SpiffeId, UnixTime};

use crate::database::{Registry, StorageError, moment, seconds};
use crate::sql::{self, Connection};

/// What would lapse if nothing were issued any more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Live {
    /// Nodes whose own SVIDs count, and when those end.
    pub nodes: Vec<(NodeName, UnixTime)>,
    /// The SVIDs of what is registered, by node and life.
    pub workloads: Vec<LiveSvids>,
}

/// The live SVIDs of one node's registrations that say the same about their life. Of the SVIDs of one registration the one
/// that ends last counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveSvids {
    /// Where they are.
    pub node: NodeName,
    /// As the registrations have it: seconds, or 0 for the CA's default.
    pub ttl: u32,
    /// How many.
    pub count: u32,
    /// When the first ends.
    pub first: UnixTime,
    /// Whose that is.
    pub spiffe_id: SpiffeId,
}

impl Registry {
    /// What would lapse, from `now` on, if nothing were issued any more. What is revoked, expired or not registered is not live.
    pub async fn live(&self, now: UnixTime) -> Result<Live, StorageError> {
        let mut read = self.read().await?;
        Ok(Live {
            nodes: nodes(&mut read, now).await?,
            workloads: workloads(&mut read, now).await?,
        })
    }
}

async fn nodes(
    connection: &mut Connection,
    now: UnixTime,
) -> Result<Vec<(NodeName, UnixTime)>, StorageError> {
    // A node whose SVIDs were ended has an empty serial number.
    let rows: Vec<(String, i64)> = sql::query_as(
        "SELECT name, svid_not_after FROM nodes
         WHERE svid_not_after > ? AND evicted_at IS NULL AND (svid_serial IS NULL OR length(svid_serial) > 0)
           AND NOT EXISTS (SELECT 1 FROM revocations WHERE kind = 'node' AND subject = name AND banned = 1)
         ORDER BY name",
    )
    .bind(seconds(now))
    .fetch_all(connection)
    .await?;
    let parse = |(name, end): (String, i64)| Ok((node_name(&name)?, moment(end, "nodes.svid_not_after")?));
    rows.into_iter().map(parse).collect()
}

/// Node, life, end, SPIFFE ID, count.
type Row = (String, i64, i64, String, i64);

async fn workloads(connection: &mut Connection, now: UnixTime) -> Result<Vec<LiveSvids>, StorageError> {
    let rows: Vec<Row> = sql::query_as(
        "SELECT node, ttl, last, spiffe_id, live FROM (
             SELECT r.node AS node, r.ttl AS ttl, i.last AS last, r.spiffe_id AS spiffe_id,
                    ROW_NUMBER() OVER (PARTITION BY r.node, r.ttl ORDER BY i.last, r.spiffe_id) AS place,
                    COUNT(*) OVER (PARTITION BY r.node, r.ttl) AS live
             FROM registrations AS r JOIN (
                 SELECT spiffe_id, node, MAX(not_after) AS last FROM issued
                 WHERE not_after > ?1 AND serial NOT IN (SELECT serial FROM intermediates) AND NOT EXISTS (
                     SELECT 1 FROM revocations WHERE (kind = 'spiffe-id' AND subject = spiffe_id AND not_before <= cut)
                         OR (kind = 'node' AND subject = node AND not_before <= cut)
                         OR (kind = 'serial' AND subject = lower(hex(serial))))
                 GROUP BY spiffe_id, node
             ) AS i ON i.spiffe_id = r.spiffe_id AND i.node = r.node
         ) AS ranked WHERE place = 1 ORDER BY node, ttl",
    )
    .bind(seconds(now))
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(parse).collect()
}

fn parse((node, ttl, first, spiffe_id, count): Row) -> Result<LiveSvids, StorageError> {
    let corrupt = |column| StorageError::Corrupt { column };
    Ok(LiveSvids {
        node: node_name(&node)?,
        ttl: u32::try_from(ttl).map_err(|_| corrupt("registrations.ttl"))?,
        count: u32::try_from(count).unwrap_or(u32::MAX),
        first: moment(first, "issued.not_after")?,
        spiffe_id: SpiffeId::parse(&spiffe_id).map_err(|_| corrupt("registrations.spiffe_id"))?,
    })
}

fn node_name(text: &str) -> Result<NodeName, StorageError> {
    NodeName::parse(text).map_err(|_| StorageError::Corrupt { column: "nodes.name" })
}
