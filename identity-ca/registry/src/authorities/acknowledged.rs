//! Which nodes have said that they have a bundle.

use signet_rotation::Missing;
use signet_spiffe::{NodeName, UnixTime};

use crate::database::{Registry, StorageError, moment, seconds};
use crate::settings;
use crate::sql::{self, Connection};

impl Registry {
    /// Takes down that a node has the bundle with this sequence and mark, written down and in use. Only the bundle of the
    /// moment counts: of an earlier one, or one of another history, this tells nothing. Says whether it counted.
    pub async fn acknowledge_bundle(
        &self,
        node: &NodeName,
        sequence: u64,
        mark: &str,
    ) -> Result<bool, StorageError> {
        let mut read = self.read().await?;
        let now = settings::bundle(&mut read).await?;
        if now.is_none_or(|(current, content)| current != sequence || content != mark) {
            return Ok(false);
        }
        let known: Option<(i64,)> = sql::query_as("SELECT bundle_acknowledged FROM nodes WHERE name = ?")
            .bind(node.as_str())
            .fetch_optional(&mut read)
            .await?;
        drop(read);
        let sequence = i64::try_from(sequence).unwrap_or(i64::MAX);
        if known.is_some_and(|(known,)| known >= sequence) {
            return Ok(true);
        }
        let mut write = self.write().await?;
        sql::query("UPDATE nodes SET bundle_acknowledged = ?1 WHERE name = ?2 AND bundle_acknowledged < ?1")
            .bind(sequence)
            .bind(node.as_str())
            .execute(write.connection())
            .await?;
        write.commit().await?;
        Ok(true)
    }

    /// The nodes with an SVID that lives which have not said that they have the bundle with this sequence, or a later one.
    pub async fn unacknowledged(&self, sequence: u64, now: UnixTime) -> Result<Vec<Missing>, StorageError> {
        unacknowledged(&mut *self.read().await?, sequence, now).await
    }
}

pub(super) async fn unacknowledged(
    connection: &mut Connection,
    sequence: u64,
    now: UnixTime,
) -> Result<Vec<Missing>, StorageError> {
    // Without those that were revoked: they have to attest anew, and get the bundle of then.
    let rows: Vec<(String, i64)> = sql::query_as(
        "SELECT name, svid_not_after FROM nodes
         WHERE svid_not_after > ? AND bundle_acknowledged < ? AND evicted_at IS NULL
           AND (svid_serial IS NULL OR length(svid_serial) > 0)
           AND NOT EXISTS (SELECT 1 FROM revocations WHERE kind = 'node' AND subject = name AND banned = 1)
         ORDER BY name",
    )
    .bind(seconds(now))
    .bind(i64::try_from(sequence).unwrap_or(i64::MAX))
    .fetch_all(connection)
    .await?;
    let parse = |(name, until): (String, i64)| {
        Ok(Missing {
            node: NodeName::parse(&name).map_err(|_| StorageError::Corrupt { column: "nodes.name" })?,
            until: moment(until, "nodes.svid_not_after")?,
        })
    };
    rows.into_iter().map(parse).collect()
}
