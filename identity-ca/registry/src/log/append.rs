//! Appending leaves inside a transaction.

use signet_log::{Entry, Frontier, Hash, Record};

use super::read;
use crate::database::StorageError;
use crate::many::insert_all;
use crate::sql::{Connection, Value};

struct Row {
    position: i64,
    leaf: Vec<u8>,
    hashes: Vec<u8>,
    serial: Option<Vec<u8>>,
}

impl Row {
    fn values(self) -> [Value; 4] {
        let Self {
            position,
            leaf,
            hashes,
            serial,
        } = self;
        [position.into(), leaf.into(), hashes.into(), serial.into()]
    }
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
    let rows = rows.into_iter().map(Row::values).collect();
    let insert = "INSERT INTO log_leaves (position, leaf, hashes, serial)";
    insert_all(connection, insert, rows).await?;
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
