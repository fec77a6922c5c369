//! JWT keys of CAs below this one: others check with them what those sign, so they are in the bundle.

use std::collections::BTreeMap;

use signet_log::{ChangeKind, Hash};
use signet_spiffe::{JwtBundle, JwtKey, MAX_JWT_KEYS, SpiffeId, TrustDomain, UnixTime};

use super::below::{BelowError, is_downstream};
use crate::authorities;
use crate::changes::Change;
use crate::database::{Registry, StorageError, Write, seconds};
use crate::settings;
use crate::sql::{self, Connection};

/// Most JWT keys that one CA below this one may have in the bundle: as many as it may itself.
pub const MAX_DOWNSTREAM_KEYS: usize = 16;

/// Room in the bundle that is left for the CA's own.
const RESERVED: usize = 16;

impl Registry {
    /// Puts the JWT keys of a CA below this one into the bundle, in place of those that it had there. Says whether anything
    /// changed.
    pub async fn publish_downstream_keys(
        &self,
        id: &SpiffeId,
        keys: &JwtBundle,
        now: UnixTime,
    ) -> Result<bool, BelowError> {
        let mut write = self.write().await?;
        if !is_downstream(write.connection(), id).await? {
            return Err(BelowError::NotDownstream(id.clone()));
        }
        let wanted: BTreeMap<String, String> = keys
            .keys()
            .iter()
            .map(|key| Ok((key.id().to_owned(), alone(keys.trust_domain(), key)?)))
            .collect::<Result<_, StorageError>>()?;
        if wanted.len() > MAX_DOWNSTREAM_KEYS {
            let count = wanted.len();
            let why = format!(
                "{count} JWT keys are too many, {MAX_DOWNSTREAM_KEYS} is the limit: retire old ones first"
            );
            return Err(BelowError::Keys { why });
        }
        let known = rows(write.connection()).await?;
        let ours = authorities::jwt_key_ids(write.connection()).await?;
        let of_others = || known.iter().filter(|row| row.spiffe_id != id.as_str());
        if let Some(taken) = wanted
            .keys()
            .find(|key| ours.contains(*key) || of_others().any(|row| row.id == **key))
        {
            let why = format!("there is another JWT key with the ID {taken}");
            return Err(BelowError::Keys { why });
        }
        if of_others().count() + wanted.len() > MAX_JWT_KEYS - RESERVED {
            let why =
                "there is no room for more JWT keys in the bundle: too many CAs below this one".to_owned();
            return Err(BelowError::Keys { why });
        }
        let before: BTreeMap<_, _> = known
            .iter()
            .filter(|row| row.spiffe_id == id.as_str())
            .map(|row| (row.id.clone(), row.jwks.clone()))
            .collect();
        if before == wanted {
            return Ok(false);
        }
        replace(&mut write, id, &before, &wanted, now).await?;
        write.commit().await?;
        Ok(true)
    }

    /// IDs of the JWT keys that a CA below this one has in the bundle.
    pub async fn downstream_keys(&self, id: &SpiffeId) -> Result<Vec<String>, StorageError> {
        let rows = rows(&mut *self.read().await?).await?;
        let own = rows.into_iter().filter(|row| row.spiffe_id == id.as_str());
        Ok(own.map(|row| row.id).collect())
    }
}

fn alone(trust_domain: &TrustDomain, key: &JwtKey) -> Result<String, StorageError> {
    let set = JwtBundle::new(trust_domain.clone(), vec![key.clone()]).map_err(|_| CORRUPT)?;
    Ok(set.to_jwks())
}

const CORRUPT: StorageError = StorageError::Corrupt {
    column: "downstream_keys.jwks",
};

async fn replace(
    write: &mut Write<'_>,
    id: &SpiffeId,
    before: &BTreeMap<String, String>,
    wanted: &BTreeMap<String, String>,
    now: UnixTime,
) -> Result<(), StorageError> {
    let digest = |jwks: &String| Hash::sha256(jwks.as_bytes());
    for (key, jwks) in before
        .iter()
        .filter(|(key, jwks)| wanted.get(*key) != Some(*jwks))
    {
        sql::query("DELETE FROM downstream_keys WHERE id = ?")
            .bind(key.as_str())
            .execute(write.connection())
            .await?;
        write.log(
            ChangeKind::Authority,
            format!("jwt-below:{key}"),
            Some(digest(jwks)),
            None,
        );
    }
    for (key, jwks) in wanted
        .iter()
        .filter(|(key, jwks)| before.get(*key) != Some(*jwks))
    {
        sql::query("INSERT INTO downstream_keys (id, spiffe_id, jwks, published) VALUES (?, ?, ?, ?)")
            .bind(key.as_str())
            .bind(id.as_str())
            .bind(jwks.as_str())
            .bind(seconds(now))
            .execute(write.connection())
            .await?;
        write.log(
            ChangeKind::Authority,
            format!("jwt-below:{key}"),
            None,
            Some(digest(jwks)),
        );
    }
    authorities::publish(write).await?;
    write.record(Change::Bundle).await
}

/// Takes the keys of a CA below this one out of the bundle.
pub(super) async fn take_out(
    write: &mut Write<'_>,
    id: &SpiffeId,
    now: UnixTime,
) -> Result<(), StorageError> {
    let known = rows(write.connection()).await?;
    let own = known.into_iter().filter(|row| row.spiffe_id == id.as_str());
    let before: BTreeMap<_, _> = own.map(|row| (row.id, row.jwks)).collect();
    if before.is_empty() {
        return Ok(());
    }
    replace(write, id, &before, &BTreeMap::new(), now).await
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    spiffe_id: String,
    jwks: String,
}

async fn rows(connection: &mut Connection) -> Result<Vec<Row>, StorageError> {
    sql::query_as("SELECT id, spiffe_id, jwks FROM downstream_keys ORDER BY published, id")
        .fetch_all(connection)
        .await
        .map_err(StorageError::from)
}

/// Those of all CAs below this one.
pub(crate) async fn all(connection: &mut Connection) -> Result<Vec<JwtKey>, StorageError> {
    let rows = rows(&mut *connection).await?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let trust_domain = settings::trust_domain(connection).await?.ok_or(CORRUPT)?;
    let mut keys = Vec::with_capacity(rows.len());
    for row in rows {
        let set = JwtBundle::from_jwks(trust_domain.clone(), &row.jwks).map_err(|_| CORRUPT)?;
        keys.extend(set.keys().iter().cloned());
    }
    Ok(keys)
}
