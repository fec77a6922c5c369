//! Signing certificates of CAs below this one.

use std::collections::BTreeSet;
use std::time::Duration;

use signet_log::{Change as Logged, ChangeKind};
use signet_spiffe::{KeyId, SerialNumber, SpiffeId, UnixTime};

use super::below_keys;
use super::instances::INSTANCE_KEPT;
use crate::database::{Registry, StorageError, Write, moment, seconds};
use crate::many::{any_of, next};
use crate::nodes::{self, NodeNumber};
use crate::revocation::{NewRevocation, Target};
use crate::revocations;
use crate::sql::{self, Connection, Value};

/// Most signing certificates of one CA below this one that live at a time: it asks for one more at each half of a life.
pub const MAX_INTERMEDIATES: i64 = 64;

/// A signing certificate that a CA below this one is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intermediate {
    /// Its subject key identifier.
    pub authority: KeyId,
    /// Its serial number.
    pub serial: SerialNumber,
    /// Who asked for it.
    pub spiffe_id: SpiffeId,
    /// The node that who asked runs on, where that is known.
    pub node: Option<NodeNumber>,
    /// The authority of ours that signed it.
    pub signer: KeyId,
    /// Start of its validity.
    pub not_before: UnixTime,
    /// End of its validity.
    pub not_after: UnixTime,
}

/// Why a CA below this one does not get what it asks for. It is to blame.
#[derive(Debug, thiserror::Error)]
pub enum BelowError {
    /// Not registered, or not everywhere as one.
    #[error(
        "{0} is not registered as a downstream CA (`signet ca register --downstream`), or not in all its registrations"
    )]
    NotDownstream(SpiffeId),
    /// The key was revoked, or another CA has it.
    #[error("the key {0} was revoked, or is another CA's: make a new one")]
    Key(KeyId),
    /// [`MAX_INTERMEDIATES`].
    #[error(
        "{id} has {MAX_INTERMEDIATES} signing certificates that have not ended, which is the limit; revoke it (`signet ca revoke`) if that is not its doing"
    )]
    TooMany {
        /// Whose.
        id: SpiffeId,
    },
    /// Another CA has that SPIFFE ID now.
    #[error(
        "{id} is another CA with a database of its own, which was here {ago} s ago: register a SPIFFE ID of its own for each of them (`signet ca \
         register --downstream`), or let both use one database; one that has ended makes room after {} s", INSTANCE_KEPT.as_secs()
    )]
    Other {
        /// Whose it is.
        id: SpiffeId,
        /// Seconds since it was heard of.
        ago: u64,
    },
    /// No name of an instance.
    #[error("a CA below this one names itself with 1 to 64 letters and digits")]
    Instance,
    /// More than [`MAX_DOWNSTREAM_KEYS`](super::MAX_DOWNSTREAM_KEYS) keys, or no room in the bundle.
    #[error("{why}")]
    Keys {
        /// What to do.
        why: String,
    },
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Intermediate {
    fn name(&self) -> String {
        format!("x509-below:{}", self.authority)
    }

    fn digest(&self) -> signet_log::Hash {
        Logged::digest(&[
            &self.authority.to_string(),
            &self.serial.to_string(),
            self.spiffe_id.as_str(),
            &self.signer.to_string(),
            &self.not_before.as_secs().to_string(),
            &self.not_after.as_secs().to_string(),
        ])
    }
}

impl Registry {
    /// Takes down a signing certificate before anybody has it: from then on whatever revokes who asked revokes it as well. Whether
    /// they may have one is decided in the same transaction.
    pub async fn permit_intermediate(&self, new: &Intermediate, now: UnixTime) -> Result<(), BelowError> {
        let mut write = self.write().await?;
        if !is_downstream(write.connection(), &new.spiffe_id).await? {
            return Err(BelowError::NotDownstream(new.spiffe_id.clone()));
        }
        let revoked =
            revocations::find(write.connection(), &Target::Authority(new.authority.clone())).await?;
        let owner: Option<(String,)> =
            sql::query_as("SELECT spiffe_id FROM intermediates WHERE authority = ?")
                .bind(new.authority.to_string())
                .fetch_optional(write.connection())
                .await
                .map_err(StorageError::from)?;
        if revoked.is_some() || owner.is_some_and(|(owner,)| owner != new.spiffe_id.as_str()) {
            return Err(BelowError::Key(new.authority.clone()));
        }
        sql::query("DELETE FROM intermediates WHERE not_after < ?")
            .bind(seconds(now))
            .execute(write.connection())
            .await
            .map_err(StorageError::from)?;
        // One more of the same key takes the place of the one before, and what is revoked harms nobody any more.
        let (living,): (i64,) = sql::query_as(
            "SELECT COUNT(*) FROM intermediates WHERE spiffe_id = ? AND authority <> ?
                 AND NOT EXISTS (SELECT 1 FROM revocations WHERE kind = 'authority' AND subject = authority)",
        )
        .bind(new.spiffe_id.as_str())
        .bind(new.authority.to_string())
        .fetch_one(write.connection())
        .await
        .map_err(StorageError::from)?;
        if living >= MAX_INTERMEDIATES {
            return Err(BelowError::TooMany {
                id: new.spiffe_id.clone(),
            });
        }
        put(write.connection(), new).await?;
        write.log(ChangeKind::Authority, new.name(), None, Some(new.digest()));
        write.commit().await?;
        Ok(())
    }

    /// The signing certificates of CAs below this one that have not ended, those that end first in front.
    pub async fn intermediates(&self, now: UnixTime) -> Result<Vec<Intermediate>, StorageError> {
        meant(
            &mut *self.read().await?,
            "not_after > ?",
            vec![seconds(now).into()],
        )
        .await
    }
}

async fn put(connection: &mut Connection, new: &Intermediate) -> Result<(), StorageError> {
    sql::query(
        "INSERT INTO intermediates (authority, serial, spiffe_id, node, signer, not_before, not_after)
         VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (authority) DO UPDATE SET
             serial = excluded.serial, node = excluded.node, signer = excluded.signer,
             not_before = excluded.not_before, not_after = excluded.not_after",
    )
    .bind(new.authority.to_string())
    .bind(new.serial.as_bytes())
    .bind(new.spiffe_id.as_str())
    .bind(new.node.map_or(0, |number| i64::from(number.0)))
    .bind(new.signer.to_string())
    .bind(seconds(new.not_before))
    .bind(seconds(new.not_after))
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether all registrations of an ID say so. Who registers it once more without takes it from all.
pub(super) async fn is_downstream(connection: &mut Connection, id: &SpiffeId) -> Result<bool, StorageError> {
    let (all,): (Option<i64>,) =
        sql::query_as("SELECT MIN(downstream) FROM registrations WHERE spiffe_id = ?")
            .bind(id.as_str())
            .fetch_one(connection)
            .await?;
    Ok(all == Some(1))
}

/// The same of several: those of which it is so.
pub(crate) async fn which_downstream(
    connection: &mut Connection,
    ids: &BTreeSet<&SpiffeId>,
) -> Result<BTreeSet<SpiffeId>, StorageError> {
    let ids: Vec<_> = ids.iter().map(|id| (*id).clone()).collect();
    let mut some = BTreeSet::new();
    let mut rest = ids.as_slice();
    while let Some((now, later)) = next(rest) {
        // Nearly all have none, and what else is registered of them is not looked at.
        let query = sql::query_as(any_of(
            "SELECT DISTINCT spiffe_id FROM registrations WHERE downstream = 1 AND spiffe_id",
            now.len(),
        ));
        let query = now.iter().fold(query, |query, id| query.bind(id.as_str()));
        let rows: Vec<(String,)> = query.fetch_all(&mut *connection).await?;
        some.extend(rows.into_iter().map(|(id,)| id));
        rest = later;
    }
    let mut all = BTreeSet::new();
    for id in ids.into_iter().filter(|id| some.contains(id.as_str())) {
        if is_downstream(connection, &id).await? {
            all.insert(id);
        }
    }
    Ok(all)
}

/// Until when an authority of ours has to stay in the bundle for those that it signed for CAs below.
pub(crate) async fn lives_until(
    connection: &mut Connection,
    signer: &str,
    now: UnixTime,
) -> Result<Option<UnixTime>, StorageError> {
    let (until,): (Option<i64>,) = sql::query_as(
        "SELECT MAX(not_after) FROM intermediates WHERE signer = ?1 AND not_after > ?2
             AND NOT EXISTS (SELECT 1 FROM revocations WHERE kind = 'authority' AND subject = authority)",
    )
    .bind(signer)
    .bind(seconds(now))
    .fetch_one(connection)
    .await?;
    until
        .map(|until| moment(until, "intermediates.not_after"))
        .transpose()
}

/// Revokes what a revocation means among the signing certificates of CAs below: those of a SPIFFE ID, one by its serial number, or
/// those that were asked for on a node. With it everything that they signed.
pub(crate) async fn revoke_meant(
    write: &mut Write<'_>,
    new: &NewRevocation,
    at: UnixTime,
    now: UnixTime,
) -> Result<(), StorageError> {
    let living = seconds(now);
    let (condition, subject): (_, Value) = match &new.target {
        Target::Id(id) => ("not_after > ? AND spiffe_id = ?", id.as_str().into()),
        Target::Serial(serial) => ("not_after > ? AND serial = ?", serial.as_bytes().into()),
        Target::Node(name) => match nodes::find(write.connection(), name).await? {
            Some(node) => ("not_after > ? AND node = ?", i64::from(node.number.0).into()),
            None => return Ok(()),
        },
        Target::Authority(_) => return Ok(()),
    };
    let found = meant(write.connection(), condition, vec![living.into(), subject]).await?;
    revoke_each(write, &found, new, at).await?;
    if let Target::Id(id) = &new.target {
        below_keys::take_out(write, id, now).await?;
    }
    Ok(())
}

async fn revoke_each(
    write: &mut Write<'_>,
    found: &[Intermediate],
    new: &NewRevocation,
    at: UnixTime,
) -> Result<(), StorageError> {
    // Nothing new is issued for a key that is revoked, and nobody can reopen one: it may be forgotten when it has ended.
    let new = &NewRevocation {
        closed: false,
        ..new.clone()
    };
    for one in found {
        let target = Target::Authority(one.authority.clone());
        let cause = Some(new.target.to_string());
        revocations::put_beside(write, &target, new, one.not_after, cause, at).await?;
    }
    Ok(())
}

/// Takes everything from a CA below this one whose permission has ended: what it signed counts no more. Says whether there was
/// anything.
pub(crate) async fn withdraw(
    write: &mut Write<'_>,
    id: &SpiffeId,
    asker: &str,
    now: UnixTime,
) -> Result<(), StorageError> {
    if is_downstream(write.connection(), id).await? {
        return Ok(());
    }
    let condition = "not_after > ? AND spiffe_id = ?";
    let found = meant(
        write.connection(),
        condition,
        vec![seconds(now).into(), id.as_str().into()],
    )
    .await?;
    let new = NewRevocation {
        target: Target::Id(id.clone()),
        cut: UnixTime::since_unix_epoch(Duration::ZERO),
        until: now,
        reason: format!("{id} is not registered as a downstream CA any more"),
        asker: asker.to_owned(),
        closed: false,
    };
    revoke_each(write, &found, &new, now).await?;
    below_keys::take_out(write, id, now).await
}

#[derive(sqlx::FromRow)]
struct Row {
    authority: String,
    serial: Vec<u8>,
    spiffe_id: String,
    node: i64,
    signer: String,
    not_before: i64,
    not_after: i64,
}

async fn meant(
    connection: &mut Connection,
    condition: &'static str,
    values: Vec<Value>,
) -> Result<Vec<Intermediate>, StorageError> {
    let text = sqlx::AssertSqlSafe(format!(
        "SELECT authority, serial, spiffe_id, node, signer, not_before, not_after FROM intermediates
         WHERE {condition} ORDER BY not_after, authority"
    ));
    let query = values.into_iter().fold(sql::query_as(text), sql::Query::bind);
    let rows: Vec<Row> = query.fetch_all(connection).await?;
    rows.iter().map(parse).collect()
}

fn parse(row: &Row) -> Result<Intermediate, StorageError> {
    let corrupt = |column| StorageError::Corrupt { column };
    let number = u16::try_from(row.node).map_err(|_| corrupt("intermediates.node"))?;
    Ok(Intermediate {
        authority: row
            .authority
            .parse()
            .map_err(|_| corrupt("intermediates.authority"))?,
        serial: SerialNumber::new(&row.serial).map_err(|_| corrupt("intermediates.serial"))?,
        spiffe_id: SpiffeId::parse(&row.spiffe_id).map_err(|_| corrupt("intermediates.spiffe_id"))?,
        node: (number != 0).then_some(NodeNumber(number)),
        signer: row.signer.parse().map_err(|_| corrupt("intermediates.signer"))?,
        not_before: moment(row.not_before, "intermediates.not_before")?,
        not_after: moment(row.not_after, "intermediates.not_after")?,
    })
}
