//! Which SVID of a node counts.
//!
//! A node has one that it uses, and after a renewal a successor. The successor takes over with its first use, so that a
//! node whose renewal was answered into the void still has the old one. A new join token ends both: whoever carried an old
//! SVID off is out.
//!
//! Serial numbers are unsigned and big-endian, with or without zeros before them.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use signet_spiffe::{NodeName, UnixTime};

use crate::database::{Registry, StorageError, seconds};
use crate::many::{any_of, batch};
use crate::sql::{self, Connection, Done};

/// Whether an SVID of a node counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "an SVID that was replaced counts no more"]
pub enum Standing {
    /// It is the one in use, or has become it by this very look.
    Good,
    /// Another one has been issued and used since, or the node attested anew.
    Replaced,
}

impl Standing {
    /// After an update that only finds a node whose SVID may have this one follow it.
    fn of(done: Done) -> Self {
        match done.rows_affected() {
            0 => Self::Replaced,
            _ => Self::Good,
        }
    }
}

impl Registry {
    /// Judges the SVID that a node shows. Shown for the first time, a successor takes over and its predecessor is out.
    pub async fn recognize(&self, node: &NodeName, serial: &[u8]) -> Result<Standing, StorageError> {
        if self
            .looked_up()
            .is_some_and(|known| known.is_in_use(node, serial))
        {
            return Ok(Standing::Good);
        }
        let writes = self.looked_up().map(LookedUp::writes);
        let standing = self.serials(node).await?;
        match standing.judge(serial) {
            Verdict::InUse => {
                if let Some((known, writes)) = self.looked_up().zip(writes) {
                    known.keep(node, serial, writes);
                }
                Ok(Standing::Good)
            }
            Verdict::Unknown => Ok(Standing::Replaced),
            Verdict::Successor | Verdict::Unrecorded => self.take_over(node, serial).await,
        }
    }

    /// The same without any effect.
    pub async fn stands(&self, node: &NodeName, serial: &[u8]) -> Result<Standing, StorageError> {
        let standing = find(&mut *self.read().await?, node).await?;
        Ok(match standing.judge(serial) {
            Verdict::InUse | Verdict::Successor | Verdict::Unrecorded => Standing::Good,
            Verdict::Unknown => Standing::Replaced,
        })
    }

    /// Takes down the first SVID since a node attested. All earlier ones are out. Not news for other nodes. Refused if the
    /// node was evicted meanwhile: the SVID must not be handed out then.
    pub async fn record_first_svid(
        &self,
        node: &NodeName,
        serial: &[u8],
        not_after: UnixTime,
    ) -> Result<Standing, StorageError> {
        let mut write = self.write().await?;
        let done = sql::query(
            "UPDATE nodes SET svid_serial = ?, svid_successor = NULL, svid_not_after = ?
             WHERE name = ? AND evicted_at IS NULL",
        )
        .bind(significant(serial))
        .bind(seconds(not_after))
        .bind(node.as_str())
        .execute(write.connection())
        .await?;
        write.commit().await?;
        Ok(Standing::of(done))
    }

    /// Takes down the successor of the SVID `of`, in place of an earlier successor that was never used. Refused if `of` has
    /// been replaced meanwhile: the successor must not be handed out then.
    pub async fn record_successor(
        &self,
        node: &NodeName,
        of: &[u8],
        serial: &[u8],
        not_after: UnixTime,
    ) -> Result<Standing, StorageError> {
        let mut write = self.write().await?;
        let done = sql::query(
            "UPDATE nodes SET svid_successor = ?, svid_not_after = ? WHERE name = ? AND svid_serial = ?
               AND length(svid_serial) > 0",
        )
        .bind(significant(serial))
        .bind(seconds(not_after))
        .bind(node.as_str())
        .bind(significant(of))
        .execute(write.connection())
        .await?;
        write.commit().await?;
        Ok(Standing::of(done))
    }

    async fn take_over(&self, node: &NodeName, serial: &[u8]) -> Result<Standing, StorageError> {
        let mut write = self.write().await?;
        // Judged again: somebody else may have been quicker.
        let standing = match find(write.connection(), node).await?.judge(serial) {
            Verdict::InUse => Standing::Good,
            Verdict::Unknown => Standing::Replaced,
            Verdict::Successor | Verdict::Unrecorded => {
                sql::query("UPDATE nodes SET svid_serial = ?, svid_successor = NULL WHERE name = ?")
                    .bind(significant(serial))
                    .bind(node.as_str())
                    .execute(write.connection())
                    .await?;
                Standing::Good
            }
        };
        write.commit().await?;
        Ok(standing)
    }
}

/// The SVIDs that nodes use, as they were looked up since the last write: every call of a node asks.
///
/// A look-up that a write overtakes is not kept, and one that overlaps with a write may have been before it.
#[derive(Debug, Default)]
pub(crate) struct LookedUp(Mutex<InUse>);

#[derive(Debug, Default)]
struct InUse {
    writes: u64,
    serials: HashMap<NodeName, Vec<u8>>,
}

impl LookedUp {
    /// Something was written: nobody knows what it means for whom.
    pub(crate) fn forget(&self) {
        let mut known = self.known();
        known.writes += 1;
        known.serials.clear();
    }

    fn writes(&self) -> u64 {
        self.known().writes
    }

    fn is_in_use(&self, node: &NodeName, serial: &[u8]) -> bool {
        let known = self.known();
        known
            .serials
            .get(node)
            .is_some_and(|known| known == significant(serial))
    }

    /// Keeps what was looked up after so many writes.
    fn keep(&self, node: &NodeName, serial: &[u8], writes: u64) {
        let mut known = self.known();
        if known.writes == writes {
            known.serials.insert(node.clone(), significant(serial).to_vec());
        }
    }

    fn known(&self) -> MutexGuard<'_, InUse> {
        // Each change is one map operation or two that stand for themselves, so poison leaves none half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// DER has a zero before a number that would look negative, and none before one that begins with zeros.
fn significant(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    serial.get(zeros..).unwrap_or_default()
}

/// Ends all SVIDs of a node.
pub(crate) async fn end(connection: &mut Connection, node: &NodeName) -> Result<(), StorageError> {
    let none: &[u8] = &[];
    sql::query("UPDATE nodes SET svid_serial = ?, svid_successor = NULL WHERE name = ?")
        .bind(none)
        .bind(node.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

/// Serial numbers of a node's SVIDs that count.
#[derive(Debug, Clone)]
pub(crate) struct Serials {
    in_use: Option<Vec<u8>>,
    successor: Option<Vec<u8>>,
}

enum Verdict {
    InUse,
    Successor,
    /// The database is from before serial numbers were kept, and takes the first that comes.
    Unrecorded,
    Unknown,
}

impl Serials {
    /// Of a node that is not known, none counts.
    fn of_nobody() -> Self {
        Self {
            in_use: Some(Vec::new()),
            successor: None,
        }
    }

    fn judge(&self, serial: &[u8]) -> Verdict {
        let serial = significant(serial);
        let is = |known: &Option<Vec<u8>>| known.as_deref() == Some(serial) && !serial.is_empty();
        if is(&self.in_use) {
            Verdict::InUse
        } else if is(&self.successor) {
            Verdict::Successor
        } else if self.in_use.is_none() {
            Verdict::Unrecorded
        } else {
            Verdict::Unknown
        }
    }
}

/// In use, successor.
type Row = (Option<Vec<u8>>, Option<Vec<u8>>);

/// The same, after the node's name.
type NamedRow = (String, Option<Vec<u8>>, Option<Vec<u8>>);

pub(crate) async fn find(connection: &mut Connection, node: &NodeName) -> Result<Serials, StorageError> {
    let row: Option<Row> = sql::query_as("SELECT svid_serial, svid_successor FROM nodes WHERE name = ?")
        .bind(node.as_str())
        .fetch_optional(connection)
        .await?;
    Ok(
        row.map_or_else(Serials::of_nobody, |(in_use, successor)| Serials {
            in_use,
            successor,
        }),
    )
}

/// Of several nodes, in their order.
pub(crate) async fn find_all(
    connection: &mut Connection,
    nodes: &[NodeName],
) -> Result<Vec<Serials>, StorageError> {
    let distinct: BTreeSet<_> = nodes.iter().collect();
    let mut found = HashMap::with_capacity(distinct.len());
    let mut rest: Vec<_> = distinct.into_iter().collect();
    while !rest.is_empty() {
        let now = rest.split_off(rest.len() - batch(rest.len()));
        let query = sql::query_as(any_of(
            "SELECT name, svid_serial, svid_successor FROM nodes WHERE name",
            now.len(),
        ));
        let query = now.iter().fold(query, |query, name| query.bind(name.as_str()));
        let rows: Vec<NamedRow> = query.fetch_all(&mut *connection).await?;
        for (name, in_use, successor) in rows {
            found.insert(name, Serials { in_use, successor });
        }
    }
    let of = |node: &NodeName| found.get(node.as_str()).cloned();
    Ok(nodes
        .iter()
        .map(|node| of(node).unwrap_or_else(Serials::of_nobody))
        .collect())
}
