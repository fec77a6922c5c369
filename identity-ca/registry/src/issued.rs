//! The certificates that have been issued, for as long as they may be valid.

use std::sync::atomic::{AtomicI64, Ordering};

use signet_spiffe::{NODE_SERIAL_BYTES, NodeName, SerialNumber, SpiffeId, UnixTime};

use crate::authorities;
use crate::database::{Registry, StorageError, moment, seconds};
use crate::many::{batch, many};
use crate::revocation::{Issued, MAX_NAMED, MAX_REVOCATIONS, Revocation, Shown, Target, Withheld};
use crate::revocations;
use crate::sql::{self, Connection, Value};

/// Most serial numbers in one list of revoked certificates.
const MAX_LISTED: i64 = 500_000;

/// How long an expired certificate is remembered, seconds: clocks differ.
const GRACE: i64 = 300;

/// Between two looks for those, seconds.
const SWEEP: u64 = 10;

/// A certificate that outsiders should refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokedCertificate {
    /// Which.
    pub serial: SerialNumber,
    /// When it was revoked.
    pub at: UnixTime,
    /// In the operator's words.
    pub reason: String,
}

impl Registry {
    /// The moment that the validity of a new certificate of `id`, asked for by `node`, has to begin after, if there is one.
    /// Refused where there may be no new one at all.
    ///
    /// What this says can be overtaken: [`Registry::record_issued`] has the last word.
    pub async fn may_issue(
        &self,
        id: &SpiffeId,
        node: &NodeName,
    ) -> Result<Result<Option<UnixTime>, Withheld>, StorageError> {
        let mut read = self.read().await?;
        judge(&mut read, id, node).await
    }

    /// Takes down certificates before they are handed out, all in one transaction. Tells for each whether it may be: one
    /// that has been revoked meanwhile is not taken down and must not be seen by anybody.
    pub async fn record_issued(
        &self,
        issued: &[Issued],
        now: UnixTime,
    ) -> Result<Vec<Result<(), Withheld>>, StorageError> {
        let mut write = self.write().await?;
        let all: Vec<_> = issued.iter().map(|issued| (Some(issued), None)).collect();
        let verdicts = take_down(write.connection(), &all).await?;
        self.sweep(write.connection(), now).await?;
        write.commit().await?;
        Ok(verdicts)
    }

    /// Whether anything is known of a target, so that it is hardly a slip of the pen: a certificate that may still be valid,
    /// a SPIFFE ID that is registered or was a day ago, a node that has attested, or whatever is revoked already.
    pub async fn knows(&self, target: &Target) -> Result<bool, StorageError> {
        let mut read = self.read().await?;
        if revocations::find(&mut read, target).await?.is_some() {
            return Ok(true);
        }
        let query = match target {
            Target::Serial(serial) => {
                // Tokens stand in the log alone.
                sql::query_as(
                    "SELECT EXISTS (SELECT 1 FROM issued WHERE serial = ?1 UNION ALL SELECT 1 FROM log_leaves WHERE serial = ?1)",
                )
                    .bind(serial.as_bytes().to_vec())
            }
            Target::Id(id) => sql::query_as(
                "SELECT EXISTS (SELECT 1 FROM identities WHERE spiffe_id = ?1 UNION ALL SELECT 1 FROM issued WHERE spiffe_id = ?1)",
            )
            .bind(id.to_string()),
            Target::Node(name) => {
                sql::query_as("SELECT EXISTS (SELECT 1 FROM nodes WHERE name = ?)").bind(name.to_string())
            }
            Target::Authority(key) => return authorities::is_known(&mut read, key).await,
        };
        let (known,): (bool,) = query.fetch_one(&mut read).await?;
        Ok(known)
    }

    /// All revoked certificates that have not expired, by serial number: what a revocation list holds.
    pub async fn revoked_certificates(&self, now: UnixTime) -> Result<Vec<RevokedCertificate>, StorageError> {
        let mut read = self.read().await?;
        let rows: Vec<(String, i64, String)> = sql::query_as(
            "SELECT serial, at, reason FROM (
                 SELECT serial, at, reason, ROW_NUMBER() OVER (PARTITION BY serial ORDER BY at) AS place FROM (
                     SELECT subject AS serial, at, reason FROM revocations WHERE kind = 'serial' AND until > ?1
                     UNION ALL
                     SELECT lower(hex(serial)), at, reason FROM issued JOIN revocations
                         ON kind = 'spiffe-id' AND subject = spiffe_id AND not_before <= cut WHERE not_after > ?1
                     UNION ALL
                     SELECT lower(hex(serial)), at, reason FROM issued JOIN revocations
                         ON kind = 'node' AND subject = node AND not_before <= cut WHERE not_after > ?1
                 ) AS hits
             ) AS ranked WHERE place = 1 ORDER BY serial LIMIT ?2",
        )
        .bind(seconds(now))
        .bind(MAX_LISTED)
        .fetch_all(&mut read)
        .await?;
        let parse = |(serial, at, reason): (String, i64, String)| {
            Ok(RevokedCertificate {
                serial: serial.parse().map_err(|_| StorageError::Corrupt {
                    column: "revocations.subject",
                })?,
                at: moment(at, "revocations.at")?,
                reason,
            })
        };
        rows.into_iter().map(parse).collect()
    }
}

async fn rules(
    connection: &mut Connection,
    id: &SpiffeId,
    node: &NodeName,
) -> Result<[Option<Revocation>; 2], StorageError> {
    let by_id = revocations::find(connection, &Target::Id(id.clone())).await?;
    let by_node = revocations::find(connection, &Target::Node(node.clone())).await?;
    Ok([by_id, by_node])
}

async fn judge(
    connection: &mut Connection,
    id: &SpiffeId,
    node: &NodeName,
) -> Result<Result<Option<UnixTime>, Withheld>, StorageError> {
    let [by_id, by_node] = rules(connection, id, node).await?;
    Ok(weigh([by_id.as_ref(), by_node.as_ref()], id, node))
}

/// What the revocations of a SPIFFE ID and of a node mean for a new certificate of the one on the other: the moment that its
/// validity has to begin after, if there is one, or why there may be none at all.
pub fn weigh(
    rules: [Option<&Revocation>; 2],
    id: &SpiffeId,
    node: &NodeName,
) -> Result<Option<UnixTime>, Withheld> {
    let mut floor = None;
    for rule in rules.into_iter().flatten() {
        if rule.banned {
            return Err(Withheld::Banned {
                node: node.clone(),
                reason: rule.reason.clone(),
            });
        }
        if rule.closed {
            return Err(Withheld::Closed {
                id: id.clone(),
                reason: rule.reason.clone(),
            });
        }
        floor = floor.max(Some(rule.cut));
    }
    Ok(floor)
}

/// Takes down those that may be. Tells of each whether it may be: by itself, and by what
/// its node showed when it asked. The node was known by that before, but a revocation may have come since: what begins
/// after it must not be for whom it meant.
pub(crate) async fn take_down(
    connection: &mut Connection,
    issued: &[(Option<&Issued>, Option<&Shown>)],
) -> Result<Vec<Result<(), Withheld>>, StorageError> {
    // An authority that is revoked signs nothing that nodes show.
    let (any,): (bool,) =
        sql::query_as("SELECT EXISTS (SELECT 1 FROM revocations WHERE kind <> 'authority')")
            .fetch_one(&mut *connection)
            .await?;
    let mut verdicts = Vec::with_capacity(issued.len());
    let mut rows = Vec::with_capacity(issued.len());
    for &(new, shown) in issued {
        let mut verdict = Ok(());
        if let Some(new) = new.filter(|_| any) {
            verdict = overtaken(connection, new).await?;
        }
        if let Some(shown) = shown.filter(|_| any && verdict.is_ok()) {
            verdict = still_counts(connection, shown).await?;
        }
        rows.extend(new.filter(|_| verdict.is_ok()));
        verdicts.push(verdict);
    }
    insert(connection, &rows).await?;
    Ok(verdicts)
}

/// Forgets those that are long over, where that was not done just now. `swept` is when it was done last, Unix seconds.
pub(crate) async fn sweep(
    connection: &mut Connection,
    now: UnixTime,
    swept: &AtomicI64,
) -> Result<(), StorageError> {
    let now = seconds(now);
    // A clock that was put back sweeps as well.
    if now.abs_diff(swept.load(Ordering::Relaxed)) < SWEEP {
        return Ok(());
    }
    sql::query("DELETE FROM issued WHERE not_after < ?")
        .bind(now.saturating_sub(GRACE))
        .execute(connection)
        .await?;
    swept.store(now, Ordering::Relaxed);
    Ok(())
}

async fn overtaken(connection: &mut Connection, new: &Issued) -> Result<Result<(), Withheld>, StorageError> {
    let verdict = judge(connection, &new.spiffe_id, &new.node).await?;
    let floor = match verdict {
        Ok(floor) => floor,
        Err(withheld) => return Ok(Err(withheld)),
    };
    if floor.is_some_and(|floor| new.not_before <= floor) {
        let rules = rules(connection, &new.spiffe_id, &new.node).await?;
        let reason = rules.into_iter().flatten().next().map(|rule| rule.reason);
        return Ok(Err(Withheld::Overtaken {
            reason: reason.unwrap_or_default(),
        }));
    }
    Ok(Ok(()))
}

/// Whether what a node showed is good still.
async fn still_counts(
    connection: &mut Connection,
    shown: &Shown,
) -> Result<Result<(), Withheld>, StorageError> {
    let overtaken = |rule: Revocation| Err(Withheld::Overtaken { reason: rule.reason });
    if let Some(rule) = revocations::find(connection, &Target::Node(shown.node.clone())).await? {
        if rule.banned {
            return Ok(Err(Withheld::Banned {
                node: shown.node.clone(),
                reason: rule.reason,
            }));
        }
        if shown.not_before <= rule.cut {
            return Ok(overtaken(rule));
        }
    }
    let Some(serial) = &shown.serial else {
        return Ok(Ok(()));
    };
    let by_serial = revocations::find(connection, &Target::Serial(serial.clone())).await?;
    Ok(by_serial.map_or(Ok(()), overtaken))
}

async fn insert(connection: &mut Connection, mut rows: &[&Issued]) -> Result<(), StorageError> {
    while let Some((now, later)) = rows
        .split_at_checked(batch(rows.len()))
        .filter(|(now, _)| !now.is_empty())
    {
        let text = many(
            "INSERT INTO issued (serial, spiffe_id, node, not_before, not_after)",
            5,
            now.len(),
        );
        let mut query = sql::query(text);
        for new in now {
            query = query
                .bind(new.serial.as_bytes())
                .bind(new.spiffe_id.as_str())
                .bind(new.node.as_str())
                .bind(seconds(new.not_before))
                .bind(seconds(new.not_after));
        }
        query.execute(&mut *connection).await?;
        rows = later;
    }
    Ok(())
}

/// When the validity of the last certificate of an ID or a node begins; the epoch where there is none.
pub(crate) async fn latest(connection: &mut Connection, target: &Target) -> Result<UnixTime, StorageError> {
    let query = match target {
        Target::Id(id) => {
            sql::query_as("SELECT MAX(not_before) FROM issued WHERE spiffe_id = ?").bind(id.to_string())
        }
        Target::Node(name) => {
            sql::query_as("SELECT MAX(not_before) FROM issued WHERE node = ?").bind(name.to_string())
        }
        Target::Serial(_) | Target::Authority(_) => return moment(0, "issued.not_before"),
    };
    let (latest,): (Option<i64>,) = query.fetch_one(connection).await?;
    moment(latest.unwrap_or(0), "issued.not_before")
}

/// What a target means of the certificates that are known and have not expired.
#[derive(Debug, Default)]
pub(crate) struct Meant {
    /// How many.
    pub(crate) count: usize,
    /// Whose, sorted, at most [`MAX_NAMED`].
    pub(crate) ids: Vec<SpiffeId>,
    /// When the last one ends.
    pub(crate) end: Option<UnixTime>,
}

/// Counts what a target means. Which of several authorities signed a certificate is in the certificate alone.
pub(crate) async fn meant(
    connection: &mut Connection,
    target: &Target,
    now: UnixTime,
) -> Result<Meant, StorageError> {
    let (count, ids, subject): (_, _, Value) = match target {
        Target::Serial(serial) => (
            "SELECT COUNT(*), MAX(not_after) FROM issued WHERE not_after > ? AND serial = ?",
            "SELECT DISTINCT spiffe_id FROM issued WHERE not_after > ? AND serial = ? ORDER BY spiffe_id LIMIT ?",
            serial.as_bytes().into(),
        ),
        Target::Id(id) => (
            "SELECT COUNT(*), MAX(not_after) FROM issued WHERE not_after > ? AND spiffe_id = ?",
            "SELECT DISTINCT spiffe_id FROM issued WHERE not_after > ? AND spiffe_id = ? ORDER BY spiffe_id LIMIT ?",
            id.as_str().into(),
        ),
        Target::Node(name) => (
            "SELECT COUNT(*), MAX(not_after) FROM issued WHERE not_after > ? AND node = ?",
            "SELECT DISTINCT spiffe_id FROM issued WHERE not_after > ? AND node = ? ORDER BY spiffe_id LIMIT ?",
            name.as_str().into(),
        ),
        Target::Authority(_) => return Ok(Meant::default()),
    };
    let (count, end): (i64, Option<i64>) = sql::query_as(count)
        .bind(seconds(now))
        .bind(subject.clone())
        .fetch_one(connection)
        .await?;
    let ids: Vec<(String,)> = sql::query_as(ids)
        .bind(seconds(now))
        .bind(subject)
        .bind(i64::try_from(MAX_NAMED).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await?;
    let id = |(id,): (String,)| {
        SpiffeId::parse(&id).map_err(|_| StorageError::Corrupt {
            column: "issued.spiffe_id",
        })
    };
    Ok(Meant {
        count: usize::try_from(count).unwrap_or(usize::MAX),
        ids: ids.into_iter().map(id).collect::<Result<_, _>>()?,
        end: end.map(|end| moment(end, "issued.not_after")).transpose()?,
    })
}

/// The certificates of a node that have not expired and whose serial numbers do not name it, as an earlier version made them.
/// There are no new ones, so soon there are none.
pub(crate) async fn nameless(
    connection: &mut Connection,
    node: &NodeName,
    now: UnixTime,
) -> Result<Vec<Issued>, StorageError> {
    let rows: Vec<Row> = sql::query_as(
        "SELECT serial, spiffe_id, node, not_before, not_after FROM issued
         WHERE not_after > ? AND node = ? AND length(serial) <> ? ORDER BY serial LIMIT ?",
    )
    .bind(seconds(now))
    .bind(node.as_str())
    .bind(i64::try_from(NODE_SERIAL_BYTES).unwrap_or(i64::MAX))
    .bind(
        i64::try_from(MAX_REVOCATIONS)
            .unwrap_or(i64::MAX)
            .saturating_add(1),
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(parse).collect()
}

/// Serial number, SPIFFE ID, node, beginning and end of validity.
type Row = (Vec<u8>, String, String, i64, i64);

fn parse((serial, spiffe_id, node, not_before, not_after): Row) -> Result<Issued, StorageError> {
    let corrupt = |column| StorageError::Corrupt { column };
    Ok(Issued {
        serial: SerialNumber::new(&serial).map_err(|_| corrupt("issued.serial"))?,
        spiffe_id: SpiffeId::parse(&spiffe_id).map_err(|_| corrupt("issued.spiffe_id"))?,
        node: NodeName::parse(&node).map_err(|_| corrupt("issued.node"))?,
        not_before: moment(not_before, "issued.not_before")?,
        not_after: moment(not_after, "issued.not_after")?,
    })
}
