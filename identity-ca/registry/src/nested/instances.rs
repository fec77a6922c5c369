//! Which of the CAs that have one SPIFFE ID is the one below this one: CAs on one database are replicas of each other, and others are not.

use std::time::Duration;

use signet_spiffe::{SpiffeId, UnixTime};

use super::below::BelowError;
use crate::database::{Registry, StorageError, moment, seconds};
use crate::settings;
use crate::sql::{self, Connection};

/// For so long after it was seen last a CA below this one keeps its place.
pub const INSTANCE_KEPT: Duration = Duration::from_secs(90);

/// For so long after one of its streams has ended in good order. Not at once: its other streams, which may be with other replicas of this
/// CA, say within this time that it is still there.
pub const INSTANCE_LEFT: Duration = Duration::from_mins(1);

/// Longest name of an instance.
const LONGEST: usize = 64;

impl Registry {
    /// The name that tells this registry's CAs from those with another one: `fresh` where there is none yet.
    pub async fn instance(&self, fresh: &str) -> Result<String, StorageError> {
        let mut write = self.write().await?;
        if let Some(known) = settings::instance(write.connection()).await? {
            return Ok(known);
        }
        settings::set_instance(write.connection(), fresh).await?;
        write.commit().await?;
        Ok(fresh.to_owned())
    }

    /// Whether it is this instance that is the CA below, or may be: no other one has been seen lately. A CA of a version that has no
    /// such name is asked nothing.
    pub async fn check_instance(
        &self,
        id: &SpiffeId,
        instance: &str,
        now: UnixTime,
    ) -> Result<(), BelowError> {
        check(&mut *self.read().await?, id, instance, now).await
    }

    /// The same, and it is that from now on for [`INSTANCE_KEPT`].
    pub async fn see_instance(&self, id: &SpiffeId, instance: &str, now: UnixTime) -> Result<(), BelowError> {
        if instance.is_empty() {
            return Ok(());
        }
        let mut write = self.write().await?;
        check(write.connection(), id, instance, now).await?;
        sql::query(
            "INSERT INTO downstream_instances (spiffe_id, instance, seen) VALUES (?, ?, ?)
             ON CONFLICT (spiffe_id) DO UPDATE SET instance = excluded.instance, seen = excluded.seen",
        )
        .bind(id.as_str())
        .bind(instance)
        .bind(seconds(now))
        .execute(write.connection())
        .await
        .map_err(StorageError::from)?;
        write.commit().await?;
        Ok(())
    }

    /// One of its streams has ended: another one may take its place after [`INSTANCE_LEFT`], unless it is seen again before.
    pub async fn leave_instance(
        &self,
        id: &SpiffeId,
        instance: &str,
        now: UnixTime,
    ) -> Result<(), StorageError> {
        let ago = INSTANCE_KEPT.saturating_sub(INSTANCE_LEFT).as_secs();
        let seen = i64::try_from(now.as_secs().saturating_sub(ago)).unwrap_or(i64::MAX);
        let mut write = self.write().await?;
        sql::query(
            "UPDATE downstream_instances SET seen = ? WHERE spiffe_id = ? AND instance = ? AND seen > ?",
        )
        .bind(seen)
        .bind(id.as_str())
        .bind(instance)
        .bind(seen)
        .execute(write.connection())
        .await?;
        write.commit().await?;
        Ok(())
    }
}

async fn check(
    connection: &mut Connection,
    id: &SpiffeId,
    instance: &str,
    now: UnixTime,
) -> Result<(), BelowError> {
    if instance.is_empty() {
        return Ok(());
    }
    if instance.len() > LONGEST || !instance.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(BelowError::Instance);
    }
    let known: Option<(String, i64)> =
        sql::query_as("SELECT instance, seen FROM downstream_instances WHERE spiffe_id = ?")
            .bind(id.as_str())
            .fetch_optional(connection)
            .await
            .map_err(StorageError::from)?;
    let Some((other, seen)) = known.filter(|(known, _)| known != instance) else {
        return Ok(());
    };
    let seen = moment(seen, "downstream_instances.seen")?;
    let ago = now.as_secs().saturating_sub(seen.as_secs());
    if ago >= INSTANCE_KEPT.as_secs() {
        return Ok(());
    }
    tracing::debug!(spiffe.id = %id, instance, other, "another CA below this one has that SPIFFE ID");
    Err(BelowError::Other { id: id.clone(), ago })
}
