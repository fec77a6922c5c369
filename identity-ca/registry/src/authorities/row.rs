//! The table.

use std::collections::BTreeSet;
use std::fmt;

use rustls_pki_types::CertificateDer;
use signet_log::{Change as Logged, Hash};
use signet_rotation::{Authority, AuthorityId, AuthorityKind, State};
use signet_spiffe::{KeyId, UnixTime};

use super::bundle::PublishedBundle;
use crate::changes::{Revision, current};
use crate::database::{Registry, StorageError, moment, seconds};
use crate::revocation::SignedBy;
use crate::sql::{self, Connection};

/// An authority as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredAuthority {
    /// Its life.
    pub life: Authority,
    /// When its key was made.
    pub created: UnixTime,
    /// Of an X.509 authority its certificates, as [`StoredAuthority::chain_to_bytes`] writes them; of a key for tokens a JWK set.
    pub public: Vec<u8>,
    /// By what its key manager opens the key again; nothing once the key is gone.
    pub key: Option<Vec<u8>>,
}

/// Without the key's record, which may hold the key.
impl fmt::Debug for StoredAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredAuthority")
            .field("life", &self.life)
            .finish_non_exhaustive()
    }
}

/// An authority to be.
#[derive(Clone)]
pub struct NewAuthority {
    /// What it signs.
    pub kind: AuthorityKind,
    /// What it is called.
    pub id: AuthorityId,
    /// As in [`StoredAuthority`].
    pub public: Vec<u8>,
    /// As in [`StoredAuthority`].
    pub key: Vec<u8>,
    /// From when on what it signs can count.
    pub not_before: UnixTime,
    /// Nothing that it signs counts from then on.
    pub not_after: UnixTime,
}

/// All authorities at one revision.
#[derive(Debug, Clone)]
pub struct Authorities {
    /// The registry's revision.
    pub revision: Revision,
    /// By kind, the oldest first.
    pub all: Vec<StoredAuthority>,
    /// What is published of them; nothing before there is one of each kind.
    pub bundle: Option<PublishedBundle>,
}

impl Authorities {
    /// Those of a kind.
    pub fn of(&self, kind: AuthorityKind) -> impl Iterator<Item = &StoredAuthority> {
        self.all.iter().filter(move |one| one.life.kind == kind)
    }

    /// The one of a kind that signs.
    pub fn active(&self, kind: AuthorityKind) -> Option<&StoredAuthority> {
        self.of(kind).find(|one| one.life.state == State::Active)
    }
}

impl StoredAuthority {
    /// Certificates as a row has them, the one that signs first.
    pub fn chain_to_bytes(chain: &[CertificateDer<'_>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for certificate in chain {
            let length = u32::try_from(certificate.len()).unwrap_or(u32::MAX);
            bytes.extend(length.to_be_bytes());
            bytes.extend_from_slice(certificate);
        }
        bytes
    }

    /// An X.509 authority's certificates, the one that signs first.
    pub fn chain(&self) -> Result<Vec<CertificateDer<'static>>, StorageError> {
        chain_from_bytes(&self.public)
    }

    /// A key for tokens, as a JWK set.
    pub fn jwks(&self) -> Result<&str, StorageError> {
        std::str::from_utf8(&self.public).map_err(|_| CORRUPT)
    }

    /// `<kind>:<id>`: its name in the issuance log.
    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.life.kind, self.life.id)
    }

    /// What the issuance log has of it: all but its key.
    pub fn digest(&self) -> Hash {
        let number = |at: UnixTime| at.as_secs().to_string();
        let life = &self.life;
        Logged::digest(&[
            life.kind.as_str(),
            life.id.as_str(),
            life.state.as_str(),
            &Hash::sha256(&self.public).to_string(),
            &number(life.published),
            &life.sequence.to_string(),
            &life.activated.map(number).unwrap_or_default(),
            &life.ceased.map(number).unwrap_or_default(),
            &number(life.not_after),
        ])
    }
}

const CORRUPT: StorageError = StorageError::Corrupt {
    column: "authorities.public",
};

/// Certificates as [`StoredAuthority::chain_to_bytes`] writes them.
pub(crate) fn chain_from_bytes(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, StorageError> {
    let mut chain = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk().ok_or(CORRUPT)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| CORRUPT)?;
        let (certificate, after) = after.split_at_checked(length).ok_or(CORRUPT)?;
        chain.push(CertificateDer::from(certificate.to_vec()));
        rest = after;
    }
    Ok(chain)
}

impl Registry {
    /// All authorities and what is published of them, at one revision.
    pub async fn authorities(&self) -> Result<Authorities, StorageError> {
        let mut read = self.read().await?;
        let all = all(&mut read).await?;
        Ok(Authorities {
            bundle: super::bundle::published(&mut read, &all).await?,
            revision: current(&mut read).await?,
            all,
        })
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    kind: String,
    id: String,
    state: String,
    public: Vec<u8>,
    key: Option<Vec<u8>>,
    created: i64,
    published: i64,
    sequence: i64,
    activated: Option<i64>,
    ceased: Option<i64>,
    not_after: i64,
}

/// By kind, the oldest first.
pub(super) async fn all(connection: &mut Connection) -> Result<Vec<StoredAuthority>, StorageError> {
    let rows: Vec<Row> = sql::query_as("SELECT * FROM authorities ORDER BY kind DESC, created, sequence, id")
        .fetch_all(connection)
        .await?;
    rows.into_iter().map(parse).collect()
}

/// The authorities that sign, and those that did and still count.
pub(crate) struct Signing(Vec<(AuthorityKind, AuthorityId, State)>);

impl Signing {
    /// Whether what this one signed may be logged.
    pub(crate) fn may(&self, by: &SignedBy) -> bool {
        self.0.iter().any(|(kind, id, state)| match by {
            SignedBy::Active(wanted, by) => *state == State::Active && kind == wanted && id == by,
            SignedBy::Former(by) => *kind == AuthorityKind::X509 && id == by,
        })
    }
}

pub(crate) async fn signing(connection: &mut Connection) -> Result<Signing, StorageError> {
    let rows: Vec<(String, String, String)> =
        sql::query_as("SELECT kind, id, state FROM authorities WHERE state IN ('active', 'old')")
            .fetch_all(connection)
            .await?;
    let parse = |(kind, id, state): (String, String, String)| {
        Ok((parse_kind(&kind)?, parse_id(&id)?, parse_state(&state)?))
    };
    Ok(Signing(
        rows.into_iter().map(parse).collect::<Result<_, StorageError>>()?,
    ))
}

/// Whether there is or was an X.509 authority with this key, ours or a CA's below.
pub(crate) async fn is_known(connection: &mut Connection, key: &KeyId) -> Result<bool, StorageError> {
    let (known,): (bool,) = sql::query_as(
        "SELECT EXISTS (SELECT 1 FROM authorities WHERE kind = 'x509' AND id = ?1
                        UNION ALL SELECT 1 FROM intermediates WHERE authority = ?1)",
    )
    .bind(key.to_string())
    .fetch_one(connection)
    .await?;
    Ok(known)
}

/// Whether there are any.
pub(crate) async fn are_any(connection: &mut Connection) -> Result<bool, StorageError> {
    let (any,): (bool,) = sql::query_as("SELECT EXISTS (SELECT 1 FROM authorities)")
        .fetch_one(connection)
        .await?;
    Ok(any)
}

/// IDs of all keys for tokens that there are or were.
pub(crate) async fn token_key_ids(connection: &mut Connection) -> Result<BTreeSet<String>, StorageError> {
    let rows: Vec<(String,)> = sql::query_as("SELECT id FROM authorities WHERE kind IN ('jwt', 'wit')")
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Records of keys that are not gone, by `<kind>:<id>`.
pub(crate) async fn key_records(connection: &mut Connection) -> Result<Vec<(String, Vec<u8>)>, StorageError> {
    let rows: Vec<(String, String, Vec<u8>)> =
        sql::query_as("SELECT kind, id, key FROM authorities WHERE key IS NOT NULL")
            .fetch_all(connection)
            .await?;
    Ok(rows
        .into_iter()
        .map(|(kind, id, key)| (format!("{kind}:{id}"), key))
        .collect())
}

/// Puts another record in the place of a key's.
pub(crate) async fn set_key_record(
    connection: &mut Connection,
    name: &str,
    record: &[u8],
) -> Result<(), StorageError> {
    let (kind, id) = name.split_once(':').unwrap_or_default();
    sql::query("UPDATE authorities SET key = ? WHERE kind = ? AND id = ? AND key IS NOT NULL")
        .bind(record)
        .bind(kind)
        .bind(id)
        .execute(connection)
        .await?;
    Ok(())
}

/// Enters one, or what has changed of it.
pub(super) async fn put(connection: &mut Connection, one: &StoredAuthority) -> Result<(), StorageError> {
    let life = &one.life;
    sql::query(
        "INSERT INTO authorities
             (kind, id, state, public, key, created, published, sequence, activated, ceased, not_after)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
         ON CONFLICT (kind, id) DO UPDATE SET
             state = excluded.state, key = excluded.key, sequence = excluded.sequence,
             activated = excluded.activated, ceased = excluded.ceased",
    )
    .bind(life.kind.as_str())
    .bind(life.id.as_str())
    .bind(life.state.as_str())
    .bind(one.public.as_slice())
    .bind(one.key.clone())
    .bind(seconds(one.created))
    .bind(seconds(life.published))
    .bind(i64::try_from(life.sequence).unwrap_or(i64::MAX))
    .bind(life.activated.map(seconds))
    .bind(life.ceased.map(seconds))
    .bind(seconds(life.not_after))
    .execute(connection)
    .await?;
    Ok(())
}

fn parse(row: Row) -> Result<StoredAuthority, StorageError> {
    let at = |at: Option<i64>, column| at.map(|at| moment(at, column)).transpose();
    Ok(StoredAuthority {
        life: Authority {
            kind: parse_kind(&row.kind)?,
            id: parse_id(&row.id)?,
            state: parse_state(&row.state)?,
            published: moment(row.published, "authorities.published")?,
            sequence: u64::try_from(row.sequence).map_err(|_| StorageError::Corrupt {
                column: "authorities.sequence",
            })?,
            activated: at(row.activated, "authorities.activated")?,
            ceased: at(row.ceased, "authorities.ceased")?,
            not_after: moment(row.not_after, "authorities.not_after")?,
        },
        created: moment(row.created, "authorities.created")?,
        public: row.public,
        key: row.key,
    })
}

fn parse_kind(kind: &str) -> Result<AuthorityKind, StorageError> {
    kind.parse().map_err(|_| StorageError::Corrupt {
        column: "authorities.kind",
    })
}

fn parse_state(state: &str) -> Result<State, StorageError> {
    state.parse().map_err(|_| StorageError::Corrupt {
        column: "authorities.state",
    })
}

fn parse_id(id: &str) -> Result<AuthorityId, StorageError> {
    id.parse().map_err(|_| StorageError::Corrupt {
        column: "authorities.id",
    })
}
