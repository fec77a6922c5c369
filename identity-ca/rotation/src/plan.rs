//! What is due without an operator.

use std::time::Duration;

use signet_spiffe::UnixTime;

use crate::authority::{Authority, later};
use crate::kind::AuthorityId;
use crate::publication::{Enough, Missing, Publication};
use crate::state::State;

/// How authorities of one kind come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How long one may sign at most. The next one is prepared at half of it.
    pub life: Duration,
    /// How long one is published before it signs.
    pub publish_interval: Duration,
    /// The longest life of what it signs.
    pub longest: Duration,
}

/// A step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// Make and publish another one.
    Prepare,
    /// Let the prepared one sign.
    Activate {
        /// Which.
        id: AuthorityId,
        /// What has to be true then.
        enough: Enough,
    },
    /// Take one out of the bundle.
    Retire(AuthorityId),
}

/// What is due now, and when to look again if nothing happens before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// One after another.
    pub due: Vec<Due>,
    /// Nothing: never.
    pub next: Option<UnixTime>,
}

impl Plan {
    fn at(&mut self, moment: UnixTime) {
        self.next = Some(self.next.map_or(moment, |next| next.min(moment)));
    }
}

/// When one that signs since `activated` is to be followed by another one.
struct Turns {
    prepare: UnixTime,
    /// From then on nobody is waited for who has not said that they have the next one.
    hurry: UnixTime,
}

impl Turns {
    fn of(active: &Authority, policy: &Policy) -> Self {
        let start = active.activated.unwrap_or(active.published);
        let end = later(start, policy.life).min(active.not_after);
        let life = end.as_secs().saturating_sub(start.as_secs());
        Self {
            prepare: later(start, Duration::from_secs(life / 2)),
            hurry: later(start, Duration::from_secs(life / 4 * 3)),
        }
    }
}

/// When the next one is prepared after one that signs.
pub fn successor_at(active: &Authority, policy: &Policy) -> UnixTime {
    Turns::of(active, policy).prepare
}

/// What is due for the authorities of one kind, which there is to be one of. `missing` are the nodes that lack the prepared one.
///
/// Who prepares one by hand activates it by hand, until half of the active one's life is over.
pub fn plan(all: &[Authority], missing: &[Missing], policy: &Policy, now: UnixTime) -> Plan {
    let mut plan = Plan::default();
    for one in all {
        let end = match one.state {
            State::Old | State::Tainted => one.outlived_at(policy.longest),
            // It would sign nothing that counts.
            State::Prepared => one.not_after,
            State::Active | State::Retired | State::Revoked => continue,
        };
        if now >= end {
            plan.due.push(Due::Retire(one.id.clone()));
        } else {
            plan.at(end);
        }
    }
    // Last: there is room for a prepared one once another has gone.
    match all.iter().find(|one| one.state == State::Active) {
        Some(active) => succeed(&mut plan, active, all, missing, policy, now),
        None => begin(&mut plan, all, missing, policy, now),
    }
    plan
}

/// The first one of its kind, or the first after the one that signed was revoked: nobody relies on anything that it would replace,
/// so it signs as soon as all nodes have it, or the time has passed.
fn begin(plan: &mut Plan, all: &[Authority], missing: &[Missing], policy: &Policy, now: UnixTime) {
    let usable = |one: &&Authority| one.state == State::Prepared && now < one.not_after;
    let Some(first) = all.iter().find(usable) else {
        plan.due.push(Due::Prepare);
        return;
    };
    let publication = Publication {
        interval: policy.publish_interval,
        missing,
    };
    let enough = [Enough::Acknowledged, Enough::Time];
    let met = enough
        .into_iter()
        .find(|enough| publication.check(first, *enough, now).is_ok());
    match met {
        Some(enough) => plan.due.push(Due::Activate {
            id: first.id.clone(),
            enough,
        }),
        None => plan.at(publication.ripe_at(first)),
    }
}

fn succeed(
    plan: &mut Plan,
    active: &Authority,
    all: &[Authority],
    missing: &[Missing],
    policy: &Policy,
    now: UnixTime,
) {
    let turns = Turns::of(active, policy);
    if now < turns.prepare {
        plan.at(turns.prepare);
        return;
    }
    let usable = |one: &&Authority| one.state == State::Prepared && now < one.not_after;
    let Some(next) = all.iter().find(usable) else {
        plan.due.push(Due::Prepare);
        return;
    };
    let publication = Publication {
        interval: policy.publish_interval,
        missing,
    };
    let enough = if now >= turns.hurry {
        Enough::Time
    } else {
        Enough::TimeAndAcknowledged
    };
    if publication.check(next, enough, now).is_ok() || now >= active.not_after {
        plan.due.push(Due::Activate {
            id: next.id.clone(),
            enough,
        });
        return;
    }
    let ripe = publication.ripe_at(next);
    if now < ripe {
        plan.at(ripe);
    } else {
        // Acknowledgements wake whoever plans; those who give none are waited for until they are gone.
        plan.at(turns.hurry);
        for missing in missing {
            plan.at(later(missing.until, Duration::from_secs(1)));
        }
    }
}
