//! What a clock that is ahead of ours has issued.

use std::time::Duration;

use signet_log::{Document, Entry, Issuance, Record};
use signet_spiffe::{UnixTime, node_serials_since};

use crate::database::StorageError;
use crate::revocation::Target;
use crate::sql::{self, Connection};

/// Most SVIDs that are looked through for those of a target: only what is dated later than now is.
const MOST: usize = 10_000;

/// When the last token of a SPIFFE ID or a node was issued, but at least now: another CA of this registry may have a clock that
/// is ahead of ours. Where too many are dated later to look at each, this may be later than it had to be, never earlier.
pub(crate) async fn last_token(
    connection: &mut Connection,
    target: &Target,
    now: UnixTime,
) -> Result<UnixTime, StorageError> {
    if matches!(target, Target::Serial(_) | Target::Authority(_)) {
        return Ok(now);
    }
    let later = node_serials_since(UnixTime::since_unix_epoch(Duration::from_secs(
        now.as_secs().saturating_add(1),
    )));
    let rows: Vec<(Vec<u8>,)> = sql::query_as(
        "SELECT leaf FROM log_leaves WHERE serial >= ? AND serial < ? ORDER BY serial DESC LIMIT ?",
    )
    .bind(later.start.to_vec())
    .bind(later.end.to_vec())
    .bind(i64::try_from(MOST).unwrap_or(i64::MAX))
    .fetch_all(connection)
    .await?;
    let mut seen = now;
    for (leaf,) in &rows {
        let entry = Entry::decode(leaf).map_err(|_| StorageError::Corrupt {
            column: "log_leaves.leaf",
        })?;
        seen = UnixTime::since_unix_epoch(Duration::from_secs(entry.at));
        if let Record::Issuance(issuance) = entry.record
            && matches!(issuance.document, Document::Jwt | Document::Wit)
            && is_of(&issuance, target)
        {
            return Ok(seen.max(now));
        }
    }
    // The rest is not later than the last one that was looked at.
    Ok(if rows.len() < MOST { now } else { seen.max(now) })
}

fn is_of(issuance: &Issuance, target: &Target) -> bool {
    match target {
        Target::Id(id) => issuance.spiffe_id == *id,
        Target::Node(name) => issuance.node.as_ref() == Some(name),
        Target::Serial(_) | Target::Authority(_) => false,
    }
}
