//! The table of revocations.

use std::collections::BTreeSet;

use signet_log::ChangeKind;
use signet_spiffe::{NodeName, SpiffeId, UnixTime};

use crate::authorities;
use crate::changes::Change;
use crate::database::{Registry, StorageError, Write, moment, seconds};
use crate::issued;
use crate::log;
use crate::many::{any_of, next};
use crate::nested;
use crate::node_entries;
use crate::nodes::{self, NodeNumber};
use crate::revocation::{
    Effect, Issued, MAX_REVOCATIONS, NewRevocation, NodeFate, Revocation, RevokeError, Target,
};
use crate::sql::{self, Connection};
use crate::tokens;

impl Registry {
    /// Revokes, and does with a node what its fate is. With `rehearse` it only tells what would happen.
    pub async fn revoke(
        &self,
        new: &NewRevocation,
        fate: NodeFate,
        now: UnixTime,
        rehearse: bool,
    ) -> Result<Effect, RevokeError> {
        let mut write = self.write().await?;
        forget_expired(write.connection(), now).await?;
        let cut = issued::latest(write.connection(), &new.target)
            .await?
            .max(new.cut);
        let new = &NewRevocation { cut, ..new.clone() };
        // By now, and by the clock of whoever issued a token last.
        let at = log::last_token(write.connection(), &new.target, now).await?;
        let meant = issued::meant(write.connection(), &new.target, now).await?;
        match &new.target {
            Target::Node(name) => settle(&mut write, name, fate, now).await?,
            Target::Authority(key) => authorities::withdraw(&mut write, key, now).await?,
            Target::Serial(_) | Target::Id(_) => {}
        }
        let owner = match &new.target {
            Target::Serial(_) => meant.ids.first(),
            Target::Id(_) | Target::Node(_) | Target::Authority(_) => None,
        };
        let banned = match fate {
            NodeFate::Stays => None,
            NodeFate::Banned => Some(true),
            NodeFate::Evicted => Some(false),
        };
        let row = Row {
            until: meant.end.unwrap_or(new.until).max(new.until),
            owner,
            cause: None,
            banned,
            new,
        };
        put(&mut write, &new.target, &row, at).await?;
        if let Target::Node(name) = &new.target {
            let own = |issued: &&Issued| issued.spiffe_id.node_name().as_ref() != Some(name);
            let nameless = issued::nameless(write.connection(), name, now).await?;
            for issued in nameless.iter().filter(own) {
                let target = Target::Serial(issued.serial.clone());
                let row = Row {
                    until: issued.not_after,
                    owner: Some(&issued.spiffe_id),
                    cause: Some(new.target.to_string()),
                    banned: None,
                    new,
                };
                put(&mut write, &target, &row, at).await?;
            }
        }
        nested::revoke_meant(&mut write, new, at, now).await?;
        if count(write.connection()).await? > MAX_REVOCATIONS {
            return Err(RevokeError::TooMany);
        }
        let revocation = find(write.connection(), &new.target).await?;
        let revocation = revocation.ok_or(StorageError::Corrupt {
            column: "revocations.subject",
        })?;
        if !rehearse {
            write.commit().await?;
        }
        Ok(Effect {
            revocation,
            certificates: meant.count,
            spiffe_ids: meant.ids,
        })
    }

    /// Lets a closed SPIFFE ID have new certificates. What was revoked stays revoked.
    pub async fn reopen(&self, id: &SpiffeId) -> Result<Revocation, RevokeError> {
        let target = Target::Id(id.clone());
        let mut write = self.write().await?;
        let before = find(write.connection(), &target).await?;
        if before.as_ref().is_none_or(|found| !found.closed) {
            return Err(RevokeError::NotClosed(id.clone()));
        }
        sql::query("UPDATE revocations SET closed = 0, version = version + 1 WHERE kind = ? AND subject = ?")
            .bind(target.kind())
            .bind(target.subject())
            .execute(write.connection())
            .await
            .map_err(StorageError::from)?;
        write.record(Change::Revocation(&target)).await?;
        let found = find(write.connection(), &target).await?;
        note(&mut write, &target, before.as_ref(), found.as_ref());
        write.commit().await?;
        Ok(found.ok_or(StorageError::Corrupt {
            column: "revocations.subject",
        })?)
    }

    /// All revocations, the oldest first.
    pub async fn revocations(&self) -> Result<Vec<Revocation>, StorageError> {
        all(&mut *self.read().await?).await
    }

    /// Why a node is kept out, where it is.
    pub async fn ban(&self, node: &NodeName) -> Result<Option<Revocation>, StorageError> {
        ban(&mut *self.read().await?, node).await
    }
}

/// Does with a node what was decided, beside the revocation of its certificates.
async fn settle(
    write: &mut Write<'_>,
    name: &NodeName,
    fate: NodeFate,
    now: UnixTime,
) -> Result<(), RevokeError> {
    let node = nodes::find(write.connection(), name).await?;
    let expected = tokens::outstanding(write.connection(), now)
        .await?
        .iter()
        .any(|(node, _)| node == name)
        || node_entries::is_allowed(write.connection(), name).await?;
    let banned = ban(write.connection(), name).await?.is_some();
    if node.is_none() && !expected && !banned {
        return Err(RevokeError::UnknownNode(name.clone()));
    }
    match fate {
        NodeFate::Stays => return Ok(()),
        NodeFate::Banned => {}
        NodeFate::Evicted => {
            nodes::evict(write.connection(), name, now).await?;
            if let Some(node) = node {
                write.log(ChangeKind::Node, name.as_str(), Some(node.digest()), None);
            }
        }
    }
    tokens::withdraw(write, name).await?;
    node_entries::withdraw(write, name).await?;
    write.record(Change::Node(name)).await?;
    Ok(())
}

/// A row to be: what the operator asked for, and what follows from it for this target.
struct Row<'a> {
    new: &'a NewRevocation,
    until: UnixTime,
    owner: Option<&'a SpiffeId>,
    cause: Option<String>,
    /// Nothing: as it was.
    banned: Option<bool>,
}

/// Enters a row that follows from another one: of a CA below, whose certificates end later than others.
pub(crate) async fn put_beside(
    write: &mut Write<'_>,
    target: &Target,
    new: &NewRevocation,
    until: UnixTime,
    cause: Option<String>,
    at: UnixTime,
) -> Result<(), StorageError> {
    let row = Row {
        new,
        until,
        owner: None,
        cause,
        banned: None,
    };
    put(write, target, &row, at).await
}

/// Enters a row, or merges it into the one of the same target: what was revoked stays revoked.
async fn put(
    write: &mut Write<'_>,
    target: &Target,
    row: &Row<'_>,
    at: UnixTime,
) -> Result<(), StorageError> {
    let before = find(write.connection(), target).await?;
    sql::query(
        "INSERT INTO revocations
             (kind, subject, owner, cause, cut, reason, asker, at, until, closed, banned, version)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, COALESCE(?11, 0), 1)
         ON CONFLICT (kind, subject) DO UPDATE SET
             owner = CASE excluded.owner WHEN '' THEN revocations.owner ELSE excluded.owner END,
             cut = CASE WHEN revocations.cut > excluded.cut THEN revocations.cut ELSE excluded.cut END,
             reason = excluded.reason,
             asker = excluded.asker,
             at = CASE WHEN revocations.at > excluded.at THEN revocations.at ELSE excluded.at END,
             until = CASE WHEN revocations.until > excluded.until THEN revocations.until ELSE excluded.until END,
             closed = excluded.closed,
             banned = COALESCE(?11, revocations.banned),
             version = revocations.version + 1",
    )
    .bind(target.kind())
    .bind(target.subject())
    .bind(row.owner.map_or("", SpiffeId::as_str))
    .bind(row.cause.as_deref().unwrap_or_default())
    .bind(seconds(row.new.cut))
    .bind(&row.new.reason)
    .bind(&row.new.asker)
    .bind(seconds(at))
    .bind(seconds(row.until))
    .bind(row.new.closed)
    .bind(row.banned)
    .execute(write.connection())
    .await?;
    let after = find(write.connection(), target).await?;
    note(write, target, before.as_ref(), after.as_ref());
    write.record(Change::Revocation(target)).await
}

fn note(write: &mut Write<'_>, target: &Target, before: Option<&Revocation>, after: Option<&Revocation>) {
    let (before, after) = (before.map(Revocation::digest), after.map(Revocation::digest));
    write.log(ChangeKind::Revocation, target.to_string(), before, after);
}

/// Nobody has to hear of it: receivers know the end of each themselves.
async fn forget_expired(connection: &mut Connection, now: UnixTime) -> Result<(), StorageError> {
    sql::query("DELETE FROM revocations WHERE until < ? AND closed = 0 AND banned = 0")
        .bind(seconds(now))
        .execute(connection)
        .await?;
    Ok(())
}

/// Without those of nodes: whatever there is, a node can be kept out.
async fn count(connection: &mut Connection) -> Result<usize, StorageError> {
    let (count,): (i64,) = sql::query_as("SELECT COUNT(*) FROM revocations WHERE kind <> 'node'")
        .fetch_one(connection)
        .await?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

#[derive(sqlx::FromRow)]
struct Found {
    kind: String,
    subject: String,
    owner: String,
    cause: String,
    cut: i64,
    reason: String,
    asker: String,
    at: i64,
    until: i64,
    closed: i64,
    banned: i64,
    version: i64,
    number: Option<i64>,
}

pub(crate) async fn find(
    connection: &mut Connection,
    target: &Target,
) -> Result<Option<Revocation>, StorageError> {
    let row: Option<Found> = sql::query_as(
        "SELECT revocations.*, number FROM revocations LEFT JOIN nodes ON kind = 'node' AND name = subject
         WHERE kind = ? AND subject = ?",
    )
    .bind(target.kind())
    .bind(target.subject())
    .fetch_optional(connection)
    .await?;
    row.map(parse).transpose()
}

pub(crate) async fn all(connection: &mut Connection) -> Result<Vec<Revocation>, StorageError> {
    let rows: Vec<Found> = sql::query_as(
        "SELECT revocations.*, number FROM revocations LEFT JOIN nodes ON kind = 'node' AND name = subject
         ORDER BY at, kind, subject",
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(parse).collect()
}

pub(crate) async fn ban(
    connection: &mut Connection,
    node: &NodeName,
) -> Result<Option<Revocation>, StorageError> {
    let found = find(connection, &Target::Node(node.clone())).await?;
    Ok(found.filter(|revocation| revocation.banned))
}

/// Of several nodes, those that are kept out.
pub(crate) async fn banned(
    connection: &mut Connection,
    nodes: &[NodeName],
) -> Result<BTreeSet<NodeName>, StorageError> {
    let mut banned = BTreeSet::new();
    let mut rest = nodes;
    while let Some((now, later)) = next(rest) {
        let query = sql::query_as(any_of(
            "SELECT subject FROM revocations WHERE kind = 'node' AND banned = 1 AND subject",
            now.len(),
        ));
        let query = now.iter().fold(query, |query, name| query.bind(name.as_str()));
        let rows: Vec<(String,)> = query.fetch_all(&mut *connection).await?;
        let kept_out = |name: &&NodeName| rows.iter().any(|(subject,)| subject == name.as_str());
        banned.extend(now.iter().filter(kept_out).cloned());
        rest = later;
    }
    Ok(banned)
}

fn parse(row: Found) -> Result<Revocation, StorageError> {
    let corrupt = |column| StorageError::Corrupt { column };
    let owner = match row.owner.as_str() {
        "" => None,
        owner => Some(SpiffeId::parse(owner).map_err(|_| corrupt("revocations.owner"))?),
    };
    let number = row.number.map(u16::try_from).transpose();
    Ok(Revocation {
        target: Target::parse(&row.kind, &row.subject)?,
        cut: moment(row.cut, "revocations.cut")?,
        reason: row.reason,
        asker: row.asker,
        at: moment(row.at, "revocations.at")?,
        until: moment(row.until, "revocations.until")?,
        closed: row.closed != 0,
        banned: row.banned != 0,
        version: row
            .version
            .try_into()
            .map_err(|_| corrupt("revocations.version"))?,
        owner,
        cause: Some(row.cause).filter(|cause| !cause.is_empty()),
        node_number: number.map_err(|_| corrupt("nodes.number"))?.map(NodeNumber),
    })
}
