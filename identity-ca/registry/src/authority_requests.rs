//! Keys that wait for a certificate from elsewhere.

use signet_log::{ChangeKind, Hash};
use signet_spiffe::UnixTime;

use crate::database::{Registry, StorageError, seconds};
use crate::sql::{self, Connection};

/// Most keys that wait. Who asks for another one gives up the oldest.
pub const MAX_AUTHORITY_REQUESTS: usize = 8;

impl Registry {
    /// Keeps a key's record until its certificate comes. Returns the records of those that were given up for it, for the key manager
    /// to forget.
    pub async fn keep_authority_request(
        &self,
        public_key: &[u8],
        record: &[u8],
        now: UnixTime,
    ) -> Result<Vec<Vec<u8>>, StorageError> {
        let mut write = self.write().await?;
        write.check_record(record).await?;
        let waiting: Vec<(Vec<u8>, Vec<u8>)> =
            sql::query_as("SELECT public_key, key FROM authority_requests ORDER BY created DESC, public_key")
                .fetch_all(write.connection())
                .await?;
        let mut given_up = Vec::new();
        for (public, record) in waiting.into_iter().skip(MAX_AUTHORITY_REQUESTS - 1) {
            sql::query("DELETE FROM authority_requests WHERE public_key = ?")
                .bind(public)
                .execute(write.connection())
                .await?;
            given_up.push(record);
        }
        sql::query("INSERT INTO authority_requests (public_key, key, created) VALUES (?, ?, ?)")
            .bind(public_key)
            .bind(record)
            .bind(seconds(now))
            .execute(write.connection())
            .await?;
        let subject = format!("authority-request:{}", Hash::sha256(public_key));
        write.log(ChangeKind::Setting, subject, None, Some(Hash::sha256(public_key)));
        write.commit().await?;
        Ok(given_up)
    }

    /// The record of a key that waits.
    pub async fn authority_request(&self, public_key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let row: Option<(Vec<u8>,)> =
            sql::query_as("SELECT key FROM authority_requests WHERE public_key = ?")
                .bind(public_key)
                .fetch_optional(&mut *self.read().await?)
                .await?;
        Ok(row.map(|(key,)| key))
    }
}

/// Ends the waiting of a key, whose record stays valid. False: it does not wait.
pub(crate) async fn end(connection: &mut Connection, public_key: &[u8]) -> Result<bool, StorageError> {
    let done = sql::query("DELETE FROM authority_requests WHERE public_key = ?")
        .bind(public_key)
        .execute(connection)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Records of the keys that wait, by their public halves' digests.
pub(crate) async fn key_records(connection: &mut Connection) -> Result<Vec<(String, Vec<u8>)>, StorageError> {
    let rows: Vec<(Vec<u8>, Vec<u8>)> =
        sql::query_as("SELECT public_key, key FROM authority_requests ORDER BY public_key")
            .fetch_all(connection)
            .await?;
    let named = rows
        .into_iter()
        .map(|(public, record)| (Hash::sha256(&public).to_string(), record));
    Ok(named.collect())
}

/// Replaces the record of a key that waits.
pub(crate) async fn set_key_record(
    connection: &mut Connection,
    name: &str,
    record: &[u8],
) -> Result<(), StorageError> {
    let rows: Vec<(Vec<u8>,)> = sql::query_as("SELECT public_key FROM authority_requests")
        .fetch_all(connection)
        .await?;
    for (public,) in rows {
        if Hash::sha256(&public).to_string() == name {
            sql::query("UPDATE authority_requests SET key = ? WHERE public_key = ?")
                .bind(record)
                .bind(public)
                .execute(connection)
                .await?;
        }
    }
    Ok(())
}
