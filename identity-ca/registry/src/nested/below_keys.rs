//! Keys for tokens of CAs below this one: others check with them what those sign, so they are in the bundle.

use std::collections::BTreeMap;

use signet_log::{ChangeKind, Hash};
use signet_spiffe::{JwtBundle, JwtKey, MAX_JWT_KEYS, SpiffeId, UnixTime, WitBundle};

use super::below::{BelowError, is_downstream};
use crate::authorities;
use crate::changes::Change;
use crate::database::{Registry, StorageError, Write, seconds};
use crate::settings;
use crate::sql::{self, Connection};

/// Most keys of each kind that one CA below this one may have in the bundle: as many as it may itself.
pub const MAX_DOWNSTREAM_KEYS: usize = 16;

/// Room in the bundle that is left for the CA's own.
const RESERVED: usize = 16;

/// Keys for tokens of one kind, with which others check what a CA below this one signs.
#[derive(Debug, Clone)]
pub enum TokenKeys {
    /// For JWT-SVIDs.
    Jwt(JwtBundle),
    /// For WIT-SVIDs.
    Wit(WitBundle),
}

impl TokenKeys {
    fn kind(&self) -> &'static str {
        match self {
            Self::Jwt(_) => JWT,
            Self::Wit(_) => WIT,
        }
    }

    fn keys(&self) -> &[JwtKey] {
        match self {
            Self::Jwt(keys) => keys.keys(),
            Self::Wit(keys) => keys.keys(),
        }
    }

    /// A set with one of them alone.
    fn alone(&self, key: &JwtKey) -> Result<String, StorageError> {
        let key = vec![key.clone()];
        match self {
            Self::Jwt(keys) => JwtBundle::new(keys.trust_domain().clone(), key).map(|set| set.to_jwks()),
            Self::Wit(keys) => WitBundle::new(keys.trust_domain().clone(), key).map(|set| set.to_jwks()),
        }
        .map_err(|_| CORRUPT)
    }
}

/// Names of kinds in the table.
const JWT: &str = "jwt";
const WIT: &str = "wit";

/// Keys of all CAs below this one, by kind.
#[derive(Debug, Default)]
pub(crate) struct KeysBelow {
    pub(crate) jwt: Vec<JwtKey>,
    pub(crate) wit: Vec<JwtKey>,
}

impl Registry {
    /// Puts the keys of one kind of a CA below this one into the bundle, in place of those that it had there. Says whether anything
    /// changed.
    pub async fn publish_downstream_keys(
        &self,
        id: &SpiffeId,
        keys: &TokenKeys,
        now: UnixTime,
    ) -> Result<bool, BelowError> {
        let mut write = self.write().await?;
        if !is_downstream(write.connection(), id).await? {
            return Err(BelowError::NotDownstream(id.clone()));
        }
        let wanted: BTreeMap<String, String> = keys
            .keys()
            .iter()
            .map(|key| Ok((key.id().to_owned(), keys.alone(key)?)))
            .collect::<Result<_, StorageError>>()?;
        if wanted.len() > MAX_DOWNSTREAM_KEYS {
            let count = wanted.len();
            let why = format!(
                "{count} {} keys are too many, {MAX_DOWNSTREAM_KEYS} is the limit: retire old ones first",
                keys.kind().to_uppercase()
            );
            return Err(BelowError::Keys { why });
        }
        let known = rows(write.connection()).await?;
        let ours = authorities::token_key_ids(write.connection()).await?;
        let is_own = |row: &Row| row.spiffe_id == id.as_str();
        let of_kind = |row: &Row| row.kind == keys.kind();
        if let Some(taken) = wanted.keys().find(|key| {
            ours.contains(*key)
                || known
                    .iter()
                    .any(|row| row.id == **key && !(is_own(row) && of_kind(row)))
        }) {
            let why = format!("there is another key with the ID {taken}");
            return Err(BelowError::Keys { why });
        }
        let of_others = known.iter().filter(|row| !is_own(row) && of_kind(row));
        if of_others.count() + wanted.len() > MAX_JWT_KEYS - RESERVED {
            let why = "there is no room for more keys in the bundle: too many CAs below this one".to_owned();
            return Err(BelowError::Keys { why });
        }
        let before: BTreeMap<_, _> = known
            .iter()
            .filter(|row| is_own(row) && of_kind(row))
            .map(|row| (row.id.clone(), row.jwks.clone()))
            .collect();
        if before == wanted {
            return Ok(false);
        }
        replace(&mut write, id, keys.kind(), &before, &wanted, now).await?;
        write.commit().await?;
        Ok(true)
    }

    /// IDs of the keys for JWT-SVIDs, and of those for WIT-SVIDs, that a CA below this one has in the bundle.
    pub async fn downstream_keys(&self, id: &SpiffeId) -> Result<(Vec<String>, Vec<String>), StorageError> {
        let rows = rows(&mut *self.read().await?).await?;
        let own = rows.into_iter().filter(|row| row.spiffe_id == id.as_str());
        let (wit, jwt): (Vec<_>, Vec<_>) = own.partition(|row| row.kind == WIT);
        let ids = |rows: Vec<Row>| rows.into_iter().map(|row| row.id).collect();
        Ok((ids(jwt), ids(wit)))
    }
}

const CORRUPT: StorageError = StorageError::Corrupt {
    column: "downstream_keys.jwks",
};

async fn replace(
    write: &mut Write<'_>,
    id: &SpiffeId,
    kind: &'static str,
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
        sql::query(
            "INSERT INTO downstream_keys (id, spiffe_id, jwks, published, kind) VALUES (?, ?, ?, ?, ?)",
        )
        .bind(key.as_str())
        .bind(id.as_str())
        .bind(jwks.as_str())
        .bind(seconds(now))
        .bind(kind)
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
    for kind in [JWT, WIT] {
        let own = known
            .iter()
            .filter(|row| row.spiffe_id == id.as_str() && row.kind == kind);
        let before: BTreeMap<_, _> = own.map(|row| (row.id.clone(), row.jwks.clone())).collect();
        if !before.is_empty() {
            replace(write, id, kind, &before, &BTreeMap::new(), now).await?;
        }
    }
    Ok(())
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    spiffe_id: String,
    jwks: String,
    kind: String,
}

async fn rows(connection: &mut Connection) -> Result<Vec<Row>, StorageError> {
    sql::query_as("SELECT id, spiffe_id, jwks, kind FROM downstream_keys ORDER BY published, id")
        .fetch_all(connection)
        .await
        .map_err(StorageError::from)
}

/// Those of all CAs below this one.
pub(crate) async fn all(connection: &mut Connection) -> Result<KeysBelow, StorageError> {
    let rows = rows(&mut *connection).await?;
    let mut keys = KeysBelow::default();
    if rows.is_empty() {
        return Ok(keys);
    }
    let trust_domain = settings::trust_domain(connection).await?.ok_or(CORRUPT)?;
    for row in rows {
        if row.kind == WIT {
            let set = WitBundle::from_jwks(trust_domain.clone(), &row.jwks).map_err(|_| CORRUPT)?;
            keys.wit.extend(set.keys().iter().cloned());
        } else {
            let set = JwtBundle::from_jwks(trust_domain.clone(), &row.jwks).map_err(|_| CORRUPT)?;
            keys.jwt.extend(set.keys().iter().cloned());
        }
    }
    Ok(keys)
}
