//! The steps of an authority's life. Each is one transaction, decided in it by what the table says then: of several CAs that
//! take the same one, one does. Rehearsed, it tells what would happen.

use std::time::Duration;

use signet_log::ChangeKind;
use signet_rotation::{
    Authority, AuthorityId, AuthorityKind, Enough, Missing, Publication, State, StepError, activate, prepare,
    retire, revoke, taint,
};
use signet_spiffe::{KeyId, NodeName, UnixTime, node_serials_since};

use super::acknowledged::unacknowledged;
use super::bundle::publish;
use super::ripe;
use super::row::{self, NewAuthority, StoredAuthority};
use crate::authority_requests;
use crate::changes::Change;
use crate::database::{Registry, StorageError, Write, seconds};
use crate::nested;
use crate::revocation::RevokeError;
use crate::settings;
use crate::sql;

/// Why an authority's life did not go on.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// It is not its time, or there is no such step.
    #[error(transparent)]
    Step(#[from] StepError),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a key that waited for its certificate became no authority.
#[derive(Debug, thiserror::Error)]
pub enum RequestedError {
    /// It was given up, or its certificate has been taken already.
    #[error("no request for this key waits any more: make a new one")]
    NotWaiting,
    /// As of any other.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

/// What came of first authorities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adopted {
    /// At least one signs.
    Yes,
    /// There were others already.
    No,
}

impl Registry {
    /// Makes authorities the first ones of their kinds, active at once: there is nobody yet who could lack them, or who has them
    /// already from before authorities were kept here. Those of a kind that there is one of are left out; says whether any was taken.
    pub async fn adopt_authorities(
        &self,
        new: Vec<NewAuthority>,
        now: UnixTime,
    ) -> Result<Adopted, StorageError> {
        let mut write = self.write().await?;
        let mut adopted = Vec::new();
        for new in new {
            if !of(&mut write, new.kind).await?.is_empty() {
                continue;
            }
            let since = new.not_before.min(now);
            let mut one = entry(new, State::Active, since);
            // One from before signs for as long from now on as a new one: whoever has to learn of its successor has the same time.
            one.life.activated = Some(now);
            row::put(write.connection(), &one).await?;
            adopted.push(one);
        }
        if adopted.is_empty() {
            return Ok(Adopted::No);
        }
        // A version that had its keys in files may have published them: then it is the bundle that nodes know.
        let known = settings::bundle(write.connection()).await?;
        let sequence = publish(&mut write).await?;
        for mut one in adopted {
            one.life.sequence = sequence;
            row::put(write.connection(), &one).await?;
            note(&mut write, None, &one);
        }
        if known.is_some_and(|(known, _)| known != sequence) {
            write.record(Change::Bundle).await?;
        }
        write.commit().await?;
        Ok(Adopted::Yes)
    }

    /// Publishes another authority, which signs nothing yet, and not before it was published for `interval`, whatever another CA is
    /// told.
    pub async fn prepare_authority(
        &self,
        new: NewAuthority,
        interval: Duration,
        now: UnixTime,
    ) -> Result<StoredAuthority, AuthorityError> {
        let mut write = self.write().await?;
        write.check_clock(now).await?;
        let one = publish_new(&mut write, new, interval, now).await?;
        write.commit().await?;
        Ok(one)
    }

    /// The same of a key that waited for its certificate, which it does no more then. In one step: the keys of requests that are given
    /// up are destroyed, and that of an authority must never be among them.
    pub async fn prepare_requested_authority(
        &self,
        new: NewAuthority,
        public_key: &[u8],
        interval: Duration,
        now: UnixTime,
    ) -> Result<StoredAuthority, RequestedError> {
        let storage = AuthorityError::Storage;
        let mut write = self.write().await.map_err(storage)?;
        write.check_clock(now).await.map_err(storage)?;
        let waited = authority_requests::end(write.connection(), public_key).await;
        if !waited.map_err(storage)? {
            return Err(RequestedError::NotWaiting);
        }
        let one = publish_new(&mut write, new, interval, now).await?;
        write.commit().await.map_err(storage)?;
        Ok(one)
    }

    /// Lets an authority sign from now on, the prepared one unless another is named, in place of the one that did. Tells which, and
    /// the nodes that have not said that they have it.
    pub async fn activate_authority(
        &self,
        kind: AuthorityKind,
        id: Option<&AuthorityId>,
        interval: Duration,
        enough: Enough,
        now: UnixTime,
        rehearse: bool,
    ) -> Result<(StoredAuthority, Vec<Missing>), AuthorityError> {
        let mut write = self.write().await?;
        write.check_clock(now).await?;
        let all = of(&mut write, kind).await?;
        let lives = lives(&all);
        let wanted = |one: &&Authority| match id {
            Some(id) => one.id == *id,
            None => one.state == State::Prepared,
        };
        let chosen = lives.iter().find(wanted);
        let sequence = chosen.map_or(u64::MAX, |one| one.sequence);
        let interval = match chosen {
            Some(one) => ripe::interval(write.connection(), one, interval).await?,
            None => interval,
        };
        let missing = unacknowledged(write.connection(), sequence, now).await?;
        let publication = Publication {
            interval,
            missing: &missing,
        };
        let chosen = activate(kind, &lives, id, publication, enough, now)?.id.clone();
        // In this order: there is never a second one.
        for before in all.iter().filter(|one| one.life.state == State::Active) {
            let mut after = before.clone();
            after.life.state = State::Old;
            after.life.ceased = Some(now);
            change(&mut write, before, &after).await?;
        }
        let before = all.iter().find(|one| one.life.id == chosen);
        let before = before.ok_or(StepError::Unknown { kind, id: chosen })?;
        let mut after = before.clone();
        after.life.state = State::Active;
        after.life.activated = Some(now);
        after.life.ceased = None;
        change(&mut write, before, &after).await?;
        write.record(Change::Bundle).await?;
        if !rehearse {
            write.commit().await?;
        }
        Ok((after, missing))
    }

    /// Has all that an authority signed replaced at once.
    pub async fn taint_authority(
        &self,
        kind: AuthorityKind,
        id: &AuthorityId,
        now: UnixTime,
        rehearse: bool,
    ) -> Result<StoredAuthority, AuthorityError> {
        let mut write = self.write().await?;
        let all = of(&mut write, kind).await?;
        let life = taint(kind, &lives(&all), id)?.clone();
        let after = end(&mut write, &all, &life, State::Tainted, now).await?;
        write.record(Change::Bundle).await?;
        if !rehearse {
            write.commit().await?;
        }
        Ok(after)
    }

    /// Takes an authority out of the bundle whose work has ended: what it signed lived no longer than `longest`.
    pub async fn retire_authority(
        &self,
        kind: AuthorityKind,
        id: &AuthorityId,
        longest: Duration,
        now: UnixTime,
        rehearse: bool,
    ) -> Result<StoredAuthority, AuthorityError> {
        let mut write = self.write().await?;
        write.check_clock(now).await?;
        let all = of(&mut write, kind).await?;
        let life = retire(kind, &lives(&all), id, longest, now)?.clone();
        // What it signed for a CA below lives longer than any SVID.
        if let Some(until) = nested::lives_until(write.connection(), id.as_str(), now).await? {
            let left = Duration::from_secs(until.as_secs().saturating_sub(now.as_secs()));
            return Err(StepError::Alive { id: id.clone(), left }.into());
        }
        let after = end(&mut write, &all, &life, State::Retired, now).await?;
        publish(&mut write).await?;
        write.record(Change::Bundle).await?;
        if !rehearse {
            write.commit().await?;
        }
        Ok(after)
    }

    /// Takes a JWT key out of the bundle at once: no token that it signed counts any more. An X.509 authority is revoked with its
    /// revocation ([`Registry::revoke`]).
    pub async fn revoke_jwt_authority(
        &self,
        id: &AuthorityId,
        now: UnixTime,
        rehearse: bool,
    ) -> Result<StoredAuthority, AuthorityError> {
        self.revoke_tokens(AuthorityKind::Jwt, id, now, rehearse).await
    }

    /// The same of a WIT key, also the one that signs.
    pub async fn revoke_wit_authority(
        &self,
        id: &AuthorityId,
        now: UnixTime,
        rehearse: bool,
    ) -> Result<StoredAuthority, AuthorityError> {
        self.revoke_tokens(AuthorityKind::Wit, id, now, rehearse).await
    }

    async fn revoke_tokens(
        &self,
        kind: AuthorityKind,
        id: &AuthorityId,
        now: UnixTime,
        rehearse: bool,
    ) -> Result<StoredAuthority, AuthorityError> {
        let mut write = self.write().await?;
        let after = remove(&mut write, kind, id, now).await?;
        if !rehearse {
            write.commit().await?;
        }
        Ok(after)
    }

    /// Notes that an authority's key is gone from wherever it was. Nothing where it is still needed.
    pub async fn forget_key(&self, kind: AuthorityKind, id: &AuthorityId) -> Result<(), StorageError> {
        let mut write = self.write().await?;
        let done = sql::query(
            "UPDATE authorities SET key = NULL
             WHERE kind = ? AND id = ? AND state IN ('retired', 'revoked') AND key IS NOT NULL",
        )
        .bind(kind.as_str())
        .bind(id.as_str())
        .execute(write.connection())
        .await?;
        if done.rows_affected() > 0 {
            // So that other CAs do not look for it any more.
            write.record(Change::Bundle).await?;
        }
        write.commit().await?;
        Ok(())
    }

    /// Nodes whose SVID of the moment was signed while that authority did, by the time in its serial number, which counts whole seconds:
    /// they would have to attest anew if it were revoked.
    pub async fn nodes_signed_by(
        &self,
        authority: &Authority,
        now: UnixTime,
    ) -> Result<Vec<NodeName>, StorageError> {
        if authority.activated.is_none() {
            return Ok(Vec::new());
        }
        // It may have signed before it last began to, but not before it was published.
        let since = node_serials_since(authority.published);
        let until = authority
            .ceased
            .map_or(since.end, |ceased| node_serials_since(next_second(ceased)).start);
        let rows: Vec<(String,)> = sql::query_as(
            "SELECT name FROM nodes WHERE svid_not_after > ? AND svid_serial >= ? AND svid_serial < ? ORDER BY name",
        )
        .bind(seconds(now))
        .bind(since.start.as_slice())
        .bind(until.as_slice())
        .fetch_all(&mut *self.read().await?)
        .await?;
        let parse = |(name,): (String,)| {
            NodeName::parse(&name).map_err(|_| StorageError::Corrupt { column: "nodes.name" })
        };
        rows.into_iter().map(parse).collect()
    }
}

/// Takes an X.509 authority out of the bundle together with its revocation, where there is one in it with this key.
pub(crate) async fn withdraw(write: &mut Write<'_>, key: &KeyId, now: UnixTime) -> Result<(), RevokeError> {
    let Ok(id) = key.to_string().parse::<AuthorityId>() else {
        return Ok(());
    };
    let all = of(write, AuthorityKind::X509).await?;
    let ours = |one: &&StoredAuthority| one.life.id == id && one.life.state.is_published();
    if all.iter().any(|one| ours(&one)) {
        remove(write, AuthorityKind::X509, &id, now)
            .await
            .map_err(|error| match error {
                AuthorityError::Step(error) => RevokeError::Step(error),
                AuthorityError::Storage(error) => RevokeError::Storage(error),
            })?;
    }
    Ok(())
}

async fn remove(
    write: &mut Write<'_>,
    kind: AuthorityKind,
    id: &AuthorityId,
    now: UnixTime,
) -> Result<StoredAuthority, AuthorityError> {
    let all = of(write, kind).await?;
    let life = revoke(kind, &lives(&all), id)?.clone();
    let after = end(write, &all, &life, State::Revoked, now).await?;
    publish(write).await?;
    write.record(Change::Bundle).await?;
    Ok(after)
}

async fn end(
    write: &mut Write<'_>,
    all: &[StoredAuthority],
    life: &Authority,
    state: State,
    now: UnixTime,
) -> Result<StoredAuthority, AuthorityError> {
    let before = all.iter().find(|one| one.life.id == life.id);
    let before = before.ok_or_else(|| StepError::Unknown {
        kind: life.kind,
        id: life.id.clone(),
    })?;
    let mut after = before.clone();
    after.life.state = state;
    after.life.ceased = Some(before.life.ceased.unwrap_or(now));
    change(write, before, &after).await?;
    Ok(after)
}

fn next_second(at: UnixTime) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(at.as_secs().saturating_add(1)))
}

async fn of(write: &mut Write<'_>, kind: AuthorityKind) -> Result<Vec<StoredAuthority>, StorageError> {
    let mut all = row::all(write.connection()).await?;
    all.retain(|one| one.life.kind == kind);
    Ok(all)
}

fn lives(all: &[StoredAuthority]) -> Vec<Authority> {
    all.iter().map(|one| one.life.clone()).collect()
}

fn entry(new: NewAuthority, state: State, now: UnixTime) -> StoredAuthority {
    StoredAuthority {
        life: Authority {
            kind: new.kind,
            id: new.id,
            state,
            published: now,
            sequence: 0,
            activated: None,
            ceased: None,
            not_after: new.not_after,
        },
        created: now,
        public: new.public,
        key: Some(new.key),
    }
}

async fn change(
    write: &mut Write<'_>,
    before: &StoredAuthority,
    after: &StoredAuthority,
) -> Result<(), StorageError> {
    row::put(write.connection(), after).await?;
    note(write, Some(before), after);
    Ok(())
}

fn note(write: &mut Write<'_>, before: Option<&StoredAuthority>, after: &StoredAuthority) {
    let before = before.map(StoredAuthority::digest);
    write.log(ChangeKind::Authority, after.name(), before, Some(after.digest()));
}

/// Publishes another authority, in a transaction that is under way.
async fn publish_new(
    write: &mut Write<'_>,
    new: NewAuthority,
    interval: Duration,
    now: UnixTime,
) -> Result<StoredAuthority, AuthorityError> {
    write.check_record(&new.key).await?;
    prepare(new.kind, &lives(&of(write, new.kind).await?))?;
    let mut one = entry(new, State::Prepared, now);
    row::put(write.connection(), &one).await?;
    one.life.sequence = publish(write).await?;
    row::put(write.connection(), &one).await?;
    ripe::set(write.connection(), &one.life, interval).await?;
    note(write, None, &one);
    write.record(Change::Bundle).await?;
    Ok(one)
}
