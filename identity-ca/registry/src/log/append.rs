//! Appending leaves inside a transaction.

use signet_log::{Entry, Frontier, Hash, Record};

use super::read;
use crate::database::StorageError;
use crate::many::{batch, many};
use crate::sql::{self, Connection};

struct Row {
    position: i64,
    leaf: Vec<u8>,
    hashes: Vec<u8>,
    serial: Option<Vec<u8>>,
}

/// Appends entries, in order. `known` is the right edge as this process last left it; where somebody else appended since,
/// the right edge is read anew. Returns the new one, which is true once the transaction is committed.
pub(crate) async fn append(
    connection: &mut Connection,
    known: &Frontier,
    entries: &[&Entry],
) -> Result<Frontier, StorageError> {
    let size = read::size(connection).await?;
    if size < known.size() {
        return Err(StorageError::Shrunk {
            known: known.size(),
            size,
        });
    }
    let mut frontier = if known.size() == size {
        known.clone()
    } else {
        read::frontier(connection, size).await?
    };
    let rows = entries
        .iter()
        .map(|entry| row(&mut frontier, entry))
        .collect::<Result<Vec<_>, _>>()?;
    insert(connection, rows).await?;
    Ok(frontier)
}

fn row(frontier: &mut Frontier, entry: &Entry) -> Result<Row, StorageError> {
    let leaf = entry.encode();
    let position = i64::try_from(frontier.size()).map_err(|_| StorageError::Corrupt {
        column: "log_leaves.position",
    })?;
    let hashes = frontier.append(Hash::leaf(&leaf));
    Ok(Row {
        position,
        leaf,
        hashes: hashes.iter().flat_map(|hash| hash.0).collect(),
        serial: match &entry.record {
            Record::Issuance(issuance) => Some(issuance.serial.clone()),
            Record::Change(_) => None,
        },
    })
}

async fn insert(connection: &mut Connection, mut rows: Vec<Row>) -> Result<(), StorageError> {
    while !rows.is_empty() {
        let count = batch(rows.len());
        let text = many(
            "INSERT INTO log_leaves (position, leaf, hashes, serial)",
            4,
            count,
        );
        let mut query = sql::query(text);
        for row in rows.drain(..count) {
            query = query
                .bind(row.position)
                .bind(row.leaf)
                .bind(row.hashes)
                .bind(row.serial);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}
