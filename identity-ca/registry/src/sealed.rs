//! The CA's own secrets, sealed elsewhere: here they are bytes.

use std::collections::BTreeMap;

use signet_log::{ChangeKind, Hash};

use crate::authorities;
use crate::authority_requests;
use crate::changes::Change;
use crate::database::{Registry, StorageError};
use crate::sql::{self, Connection};

/// What names of the records of authorities' keys begin with.
pub const AUTHORITY_KEYS: &str = "authority:";

/// The same for keys that wait for their certificates. No kind of authority has such a name.
const REQUEST_KEYS: &str = "authority:request:";

/// Longest name, and most bytes of a secret.
const MAX_NAME: usize = 64;
const MAX_BYTES: usize = 16 * 1024;

/// Why nothing was sealed anew.
#[derive(Debug, thiserror::Error)]
pub enum ResealError<E> {
    /// Whoever seals.
    #[error(transparent)]
    Seal(E),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Registry {
    /// What is kept under a name.
    pub async fn sealed(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        get(&mut *self.read().await?, name).await
    }

    /// Keeps a sealed secret under a name that has none yet. Returns what is kept there now: of several CAs that come at once,
    /// the first one's.
    pub async fn keep_sealed(&self, name: &str, value: &[u8]) -> Result<Vec<u8>, StorageError> {
        if name.len() > MAX_NAME || value.len() > MAX_BYTES {
            return Err(StorageError::Corrupt {
                column: "sealed.value",
            });
        }
        let mut write = self.write().await?;
        if let Some(kept) = get(write.connection(), name).await? {
            return Ok(kept);
        }
        set(write.connection(), name, value).await?;
        write.log(
            ChangeKind::Setting,
            subject(name),
            None,
            Some(Hash::sha256(value)),
        );
        write.commit().await?;
        Ok(value.to_vec())
    }

    /// Replaces all of them by what is made of them, in one transaction: all or none. `reseal` gets every secret by its name, and
    /// the records of authorities' keys under names that begin with [`AUTHORITY_KEYS`].
    pub async fn reseal<E>(
        &self,
        reseal: impl FnOnce(&BTreeMap<String, Vec<u8>>) -> Result<BTreeMap<String, Vec<u8>>, E>,
    ) -> Result<(), ResealError<E>> {
        let mut write = self.write().await?;
        let rows: Vec<(String, Vec<u8>)> = sql::query_as("SELECT name, value FROM sealed ORDER BY name")
            .fetch_all(write.connection())
            .await
            .map_err(StorageError::from)?;
        let mut before: BTreeMap<_, _> = rows.into_iter().collect();
        for (name, record) in authorities::key_records(write.connection()).await? {
            before.insert(format!("{AUTHORITY_KEYS}{name}"), record);
        }
        for (name, record) in authority_requests::key_records(write.connection()).await? {
            before.insert(format!("{REQUEST_KEYS}{name}"), record);
        }
        let after = reseal(&before).map_err(ResealError::Seal)?;
        for (name, value) in &after {
            if let Some(name) = name.strip_prefix(REQUEST_KEYS) {
                authority_requests::set_key_record(write.connection(), name, value).await?;
            } else if let Some(name) = name.strip_prefix(AUTHORITY_KEYS) {
                authorities::set_key_record(write.connection(), name, value).await?;
            } else {
                set(write.connection(), name, value).await?;
            }
            let digest = |value: &Vec<u8>| Hash::sha256(value);
            let known = before.get(name).map(digest);
            write.log(ChangeKind::Setting, subject(name), known, Some(digest(value)));
        }
        // Other CAs have opened what does not open anything any more.
        write.record(Change::Bundle).await?;
        write.commit().await?;
        Ok(())
    }
}

fn subject(name: &str) -> String {
    format!("sealed:{name}")
}

pub(crate) async fn get(connection: &mut Connection, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
    let row: Option<(Vec<u8>,)> = sql::query_as("SELECT value FROM sealed WHERE name = ?")
        .bind(name)
        .fetch_optional(connection)
        .await?;
    Ok(row.map(|(value,)| value))
}

async fn set(connection: &mut Connection, name: &str, value: &[u8]) -> Result<(), StorageError> {
    sql::query("INSERT INTO sealed (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value")
        .bind(name)
        .bind(value)
        .execute(connection)
        .await?;
    Ok(())
}
