//! Reading the log: leaves, proofs, checkpoints.

use std::collections::BTreeMap;

use signet_log::{Frontier, HASH_BYTES, Hash, Plan, Subtree};
use signet_spiffe::UnixTime;

use crate::database::{Registry, StorageError, seconds};
use crate::sql::{self, Connection};

/// A leaf as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLeaf {
    /// Its place in the log, from 0.
    pub position: u64,
    /// Its bytes.
    pub leaf: Vec<u8>,
    /// The hashes of the complete subtrees that it is the last leaf of, smallest first; the first is its own.
    pub hashes: Vec<Hash>,
}

/// A tree head that was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCheckpoint {
    /// Leaves in the tree.
    pub size: u64,
    /// The signed note.
    pub note: String,
}

/// Position, leaf, hashes.
type Row = (i64, Vec<u8>, Vec<u8>);

impl Registry {
    /// Leaves in the log.
    pub async fn log_size(&self) -> Result<u64, StorageError> {
        size(&mut *self.read().await?).await
    }

    /// Leaves from a position on, in order, at most `limit`.
    pub async fn log_leaves(&self, start: u64, limit: u32) -> Result<Vec<StoredLeaf>, StorageError> {
        let mut read = self.read().await?;
        let rows: Vec<Row> = sql::query_as(
            "SELECT position, leaf, hashes FROM log_leaves WHERE position >= ? ORDER BY position LIMIT ?",
        )
        .bind(i64::try_from(start).unwrap_or(i64::MAX))
        .bind(limit)
        .fetch_all(&mut read)
        .await?;
        rows.into_iter().map(parse).collect()
    }

    /// What changed from a position on, in order and without issuances, at most `limit` entries: positions and leaves, and where to go
    /// on reading.
    pub async fn log_changes(
        &self,
        start: u64,
        limit: u32,
    ) -> Result<(Vec<(u64, Vec<u8>)>, u64), StorageError> {
        let mut read = self.read().await?;
        let size = size(&mut read).await?;
        let rows: Vec<(i64, Vec<u8>)> = sql::query_as(
            "SELECT position, leaf FROM log_leaves WHERE position >= ? AND serial IS NULL ORDER BY position LIMIT ?",
        )
        .bind(i64::try_from(start).unwrap_or(i64::MAX))
        .bind(limit)
        .fetch_all(&mut read)
        .await?;
        let is_all = rows.len() < usize::try_from(limit).unwrap_or(usize::MAX);
        let parsed = rows
            .into_iter()
            .map(|(position, leaf)| Ok((to_position(position)?, leaf)));
        let changes: Vec<_> = parsed.collect::<Result<_, StorageError>>()?;
        let next = changes
            .last()
            .filter(|_| !is_all)
            .map_or(size, |(last, _)| last + 1);
        Ok((changes, next.max(start)))
    }

    /// Where the SVID with this serial number stands in the log; the last one, should there be several.
    pub async fn log_position(&self, serial: &[u8]) -> Result<Option<u64>, StorageError> {
        let mut read = self.read().await?;
        let (position,): (Option<i64>,) =
            sql::query_as("SELECT MAX(position) FROM log_leaves WHERE serial = ?")
                .bind(serial)
                .fetch_one(&mut read)
                .await?;
        position.map(to_position).transpose()
    }

    /// A proof, or a root, from the hashes that its plan names.
    pub async fn log_proof(&self, plan: &Plan) -> Result<Vec<Hash>, StorageError> {
        let mut read = self.read().await?;
        let hashes = look_up(&mut read, plan.subtrees()).await?;
        Ok(plan.assemble(|subtree| hashes.get(&subtree).copied())?)
    }

    /// The root of the tree of the first `size` leaves, from stored hashes.
    pub async fn log_root(&self, size: u64) -> Result<Hash, StorageError> {
        let mut proof = self.log_proof(&Plan::root(size)).await?;
        Ok(proof.pop().unwrap_or_else(Hash::empty_tree))
    }

    /// Keeps a tree head that was signed.
    pub async fn keep_checkpoint(
        &self,
        checkpoint: &StoredCheckpoint,
        now: UnixTime,
    ) -> Result<(), StorageError> {
        let mut write = self.write().await?;
        sql::query(
            "INSERT INTO log_checkpoints (size, note, signed_at) VALUES (?, ?, ?) ON CONFLICT (size) DO NOTHING",
        )
        .bind(i64::try_from(checkpoint.size).unwrap_or(i64::MAX))
        .bind(&checkpoint.note)
        .bind(seconds(now))
        .execute(write.connection())
        .await?;
        write.commit().await?;
        Ok(())
    }

    /// The largest tree head that was signed.
    pub async fn last_checkpoint(&self) -> Result<Option<StoredCheckpoint>, StorageError> {
        let mut read = self.read().await?;
        let row: Option<(i64, String)> =
            sql::query_as("SELECT size, note FROM log_checkpoints ORDER BY size DESC LIMIT 1")
                .fetch_optional(&mut read)
                .await?;
        row.map(|(size, note)| {
            Ok(StoredCheckpoint {
                size: to_position(size)?,
                note,
            })
        })
        .transpose()
    }
}

pub(crate) async fn size(connection: &mut Connection) -> Result<u64, StorageError> {
    let (size,): (i64,) = sql::query_as("SELECT COALESCE(MAX(position) + 1, 0) FROM log_leaves")
        .fetch_one(connection)
        .await?;
    to_position(size)
}

pub(crate) async fn frontier(connection: &mut Connection, size: u64) -> Result<Frontier, StorageError> {
    let subtrees = Frontier::subtrees(size);
    let hashes = look_up(connection, subtrees.iter().copied()).await?;
    let peaks = subtrees.iter().filter_map(|subtree| hashes.get(subtree).copied());
    Frontier::restore(size, peaks.collect()).map_err(|_| StorageError::Corrupt {
        column: "log_leaves.hashes",
    })
}

/// One look-up by primary key per subtree. Those that are not there are left out.
async fn look_up(
    connection: &mut Connection,
    subtrees: impl Iterator<Item = Subtree>,
) -> Result<BTreeMap<Subtree, Hash>, StorageError> {
    let mut found = BTreeMap::new();
    for subtree in subtrees {
        let row: Option<(Vec<u8>,)> = sql::query_as("SELECT hashes FROM log_leaves WHERE position = ?")
            .bind(i64::try_from(subtree.last_leaf()).unwrap_or(i64::MAX))
            .fetch_optional(&mut *connection)
            .await?;
        let Some((hashes,)) = row else { continue };
        let level = usize::try_from(subtree.level()).unwrap_or(usize::MAX);
        if let Some(&hash) = split(&hashes)?.get(level) {
            found.insert(subtree, hash);
        }
    }
    Ok(found)
}

fn parse((position, leaf, hashes): Row) -> Result<StoredLeaf, StorageError> {
    Ok(StoredLeaf {
        position: to_position(position)?,
        leaf,
        hashes: split(&hashes)?,
    })
}

fn split(hashes: &[u8]) -> Result<Vec<Hash>, StorageError> {
    let (hashes, rest) = hashes.as_chunks::<HASH_BYTES>();
    if hashes.is_empty() || !rest.is_empty() {
        return Err(StorageError::Corrupt {
            column: "log_leaves.hashes",
        });
    }
    Ok(hashes.iter().copied().map(Hash).collect())
}

fn to_position(number: i64) -> Result<u64, StorageError> {
    u64::try_from(number).map_err(|_| StorageError::Corrupt {
        column: "log_leaves.position",
    })
}
