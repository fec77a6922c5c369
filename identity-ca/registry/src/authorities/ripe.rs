//! When prepared authorities may sign at the earliest: as whoever prepared them was told, whatever another CA was started with.

use std::time::Duration;

use signet_rotation::Authority;

use crate::database::{StorageError, seconds};
use crate::sql::{self, Connection};

/// Notes for how long an authority is to be published before it signs.
pub(super) async fn set(
    connection: &mut Connection,
    one: &Authority,
    interval: Duration,
) -> Result<(), StorageError> {
    let ripe = seconds(one.published).saturating_add(i64::try_from(interval.as_secs()).unwrap_or(i64::MAX));
    sql::query(
        "INSERT INTO authority_publication (kind, id, ripe_at) VALUES (?, ?, ?)
         ON CONFLICT (kind, id) DO UPDATE SET ripe_at = excluded.ripe_at",
    )
    .bind(one.kind.as_str())
    .bind(one.id.as_str())
    .bind(ripe)
    .execute(connection)
    .await?;
    Ok(())
}

/// For how long it is to be published: what was noted, or what is asked for now, whichever is longer.
pub(super) async fn interval(
    connection: &mut Connection,
    one: &Authority,
    asked: Duration,
) -> Result<Duration, StorageError> {
    let noted: Option<(i64,)> =
        sql::query_as("SELECT ripe_at FROM authority_publication WHERE kind = ? AND id = ?")
            .bind(one.kind.as_str())
            .bind(one.id.as_str())
            .fetch_optional(connection)
            .await?;
    let noted = noted.map_or(0, |(ripe,)| ripe.saturating_sub(seconds(one.published)));
    Ok(asked.max(Duration::from_secs(u64::try_from(noted).unwrap_or(0))))
}
