//! What each step needs. Who takes one has all authorities of the kind before them, and nobody changes them meanwhile.

use std::time::Duration;

use signet_spiffe::UnixTime;

use crate::authority::Authority;
use crate::kind::{AuthorityId, AuthorityKind};
use crate::publication::{Enough, Publication, Unpublished};
use crate::state::State;

/// Most authorities of one kind in the bundle: everybody who verifies has them all.
pub const MAX_PUBLISHED: usize = 16;

/// Why a step is not taken. Whoever asked for it is to blame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// No such authority.
    #[error("there is no {kind} authority {id}; `signet ca authority list` shows them")]
    Unknown {
        /// Of which kind.
        kind: AuthorityKind,
        /// Which.
        id: AuthorityId,
    },
    /// Nothing was named, and there is nothing to be meant.
    #[error("there is no prepared {0} authority; `signet ca authority prepare {0}` makes one")]
    NothingPrepared(AuthorityKind),
    /// One is enough.
    #[error("{id} is prepared already; activate it, or retire it first")]
    AlreadyPrepared {
        /// The one.
        id: AuthorityId,
    },
    /// [`MAX_PUBLISHED`].
    #[error("{MAX_PUBLISHED} {0} authorities are published, which is the limit; retire old ones first")]
    TooMany(AuthorityKind),
    /// In its state there is no such step.
    #[error("{id} is {state}: {why}")]
    State {
        /// Which.
        id: AuthorityId,
        /// Its state.
        state: State,
        /// What to do.
        why: &'static str,
    },
    /// Others would not have it yet.
    #[error("{id} cannot be activated yet: {unpublished}")]
    Unpublished {
        /// Which.
        id: AuthorityId,
        /// What is missing.
        unpublished: Unpublished,
    },
    /// Nothing that it signs would count.
    #[error("{id} has ended; prepare another one")]
    Ended {
        /// Which.
        id: AuthorityId,
    },
    /// What it signed still lives.
    #[error(
        "what {id} signed may count for another {} h {:02} min; wait, or revoke it, which ends what it signed",
        left.as_secs() / 3600, left.as_secs() / 60 % 60
    )]
    Alive {
        /// Which.
        id: AuthorityId,
        /// For how long.
        left: Duration,
    },
}

/// Whether another one may be prepared.
pub fn prepare(kind: AuthorityKind, all: &[Authority]) -> Result<(), StepError> {
    if let Some(other) = all.iter().find(|other| other.state == State::Prepared) {
        return Err(StepError::AlreadyPrepared { id: other.id.clone() });
    }
    let published = all.iter().filter(|other| other.state.is_published()).count();
    if published >= MAX_PUBLISHED {
        return Err(StepError::TooMany(kind));
    }
    Ok(())
}

/// Whether `id`, or the prepared one where none is named, may sign from now on in place of the one that does. An old one may
/// again: it never left the bundle.
pub fn activate<'a>(
    kind: AuthorityKind,
    all: &'a [Authority],
    id: Option<&AuthorityId>,
    publication: Publication<'_>,
    enough: Enough,
    now: UnixTime,
) -> Result<&'a Authority, StepError> {
    let wanted = match id {
        Some(id) => find(kind, all, id)?,
        None => all
            .iter()
            .find(|one| one.state == State::Prepared)
            .ok_or(StepError::NothingPrepared(kind))?,
    };
    let id = || wanted.id.clone();
    let refused = |why| StepError::State {
        id: id(),
        state: wanted.state,
        why,
    };
    match wanted.state {
        State::Prepared | State::Old => {}
        State::Active => return Err(refused("it signs already")),
        State::Tainted => return Err(refused("its key may be known to others; prepare another one")),
        State::Retired | State::Revoked => return Err(refused("its key is gone; prepare another one")),
    }
    if now >= wanted.not_after {
        return Err(StepError::Ended { id: id() });
    }
    // Where nothing that is signed counts any more, there is nobody to lose.
    let active = all.iter().find(|one| one.state == State::Active);
    if active.is_some_and(|active| now < active.not_after) {
        let unpublished = |unpublished| StepError::Unpublished {
            id: id(),
            unpublished,
        };
        publication.check(wanted, enough, now).map_err(unpublished)?;
    }
    Ok(wanted)
}

/// Whether what `id` signed may be told to be replaced at once.
pub fn taint<'a>(
    kind: AuthorityKind,
    all: &'a [Authority],
    id: &AuthorityId,
) -> Result<&'a Authority, StepError> {
    let wanted = find(kind, all, id)?;
    let why = match wanted.state {
        State::Prepared | State::Old => return Ok(wanted),
        State::Active => "it signs; prepare and activate another one first",
        State::Tainted => "that is done",
        State::Retired | State::Revoked => "nothing that it signed counts any more",
    };
    Err(refuse(wanted, why))
}

/// Whether `id` may leave the bundle without harm: what it signed lived no longer than `longest`, and has ended.
pub fn retire<'a>(
    kind: AuthorityKind,
    all: &'a [Authority],
    id: &AuthorityId,
    longest: Duration,
    now: UnixTime,
) -> Result<&'a Authority, StepError> {
    let wanted = find(kind, all, id)?;
    match wanted.state {
        State::Prepared => Ok(wanted),
        State::Old | State::Tainted if wanted.is_outlived(longest, now) => Ok(wanted),
        State::Old | State::Tainted => {
            let end = wanted.outlived_at(longest).as_secs();
            Err(StepError::Alive {
                id: wanted.id.clone(),
                left: Duration::from_secs(end.saturating_sub(now.as_secs())),
            })
        }
        State::Active => Err(refuse(wanted, "it signs; prepare and activate another one first")),
        State::Retired | State::Revoked => Err(refuse(wanted, "it is out of the bundle already")),
    }
}

/// Whether `id` may leave the bundle at once, and with it all that it signed.
pub fn revoke<'a>(
    kind: AuthorityKind,
    all: &'a [Authority],
    id: &AuthorityId,
) -> Result<&'a Authority, StepError> {
    let wanted = find(kind, all, id)?;
    let why = match wanted.state {
        State::Prepared | State::Old | State::Tainted => return Ok(wanted),
        // Nothing but WIT-SVIDs rests on it: neither nodes nor the CA.
        State::Active if kind == AuthorityKind::Wit => return Ok(wanted),
        State::Active => {
            "it signs, and revoking it would refuse every SVID and the CA itself; prepare and activate another one first"
        }
        State::Retired => {
            "it is out of the bundle already, and its key is gone; where others may have a copy: `signet ca revoke --authority --force`"
        }
        State::Revoked => "that is done",
    };
    Err(refuse(wanted, why))
}

fn find<'a>(kind: AuthorityKind, all: &'a [Authority], id: &AuthorityId) -> Result<&'a Authority, StepError> {
    let found = all.iter().find(|one| one.kind == kind && one.id == *id);
    found.ok_or_else(|| StepError::Unknown { kind, id: id.clone() })
}

fn refuse(wanted: &Authority, why: &'static str) -> StepError {
    StepError::State {
        id: wanted.id.clone(),
        state: wanted.state,
        why,
    }
}
