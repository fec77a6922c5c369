//! Takes the steps that are due.
//!
//! All CAs on one registry do this, and each step is decided in its transaction: whoever comes second finds it done.

use std::sync::Arc;
use std::time::Duration;

use signet_keys::KeyRecord;
use signet_log::Caller;
use signet_registry::{AuthorityError, Registry, StorageError, StoredAuthority};
use signet_rotation::{Authority, AuthorityId, AuthorityKind, Due, Missing, State, plan};
use signet_spiffe::UnixTime;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};
use tracing::{error, info, warn};

use super::current::Current;
use super::make::Maker;
use crate::audit::AUDIT;
use crate::ca::Ca;
use crate::nested;

/// Pause after a failure.
const RETRY: Duration = Duration::from_secs(30);

/// Pause before keys are tried again that could not be opened.
const KEYS_RETRY: Duration = Duration::from_secs(5);

/// Clocks are put forward: nothing is slept through for longer.
const LONGEST: Duration = Duration::from_hours(1);

/// Why a step was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepFailure {
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("{0:#}")]
    Make(anyhow::Error),
}

/// Follows the registry's authorities for ever, and takes what is due.
pub(crate) async fn run(ca: Arc<Ca>) {
    let mut revisions = ca.registry.watch();
    // What was looked at last, and when to look at it again.
    let mut seen = ca.signing.latest();
    let mut again = Instant::now();
    loop {
        let is_time = tokio::select! {
            () = sleep_until(again) => true,
            () = ca.signing.due.notified() => true,
            changed = revisions.changed() => match changed {
                Ok(()) => false,
                Err(_) => return,
            },
        };
        // Whoever has to follow the authorities hears of them here, also where nobody calls.
        let current = if is_time && seen.lacks_keys {
            ca.try_keys_again().await
        } else {
            ca.authorities().await
        };
        let pause = match current {
            Ok(current) if !is_time && Arc::ptr_eq(&seen, &current) => continue,
            Ok(current) => {
                seen = current;
                let pause = take_due(&ca, &seen).await;
                if seen.lacks_keys {
                    pause.min(KEYS_RETRY)
                } else {
                    pause
                }
            }
            Err(error) => {
                error!(%error, "failed to read the authorities");
                RETRY
            }
        };
        again = Instant::now() + pause;
    }
}

/// Takes what is due now, and tells when to look again if nothing happens before.
async fn take_due(ca: &Ca, current: &Current) -> Duration {
    let now = ca.clock.now();
    let mut pause = LONGEST;
    for kind in AuthorityKind::ALL {
        match of_kind(ca, current, kind, now).await {
            Ok(Some(at)) => {
                let wait = at.as_secs().saturating_sub(now.as_secs());
                pause = pause.min(Duration::from_secs(wait.max(1)));
            }
            Ok(None) => {}
            Err(error) => {
                pause = pause.min(RETRY);
                tell(ca, kind.as_str(), Err(error));
                continue;
            }
        }
        tell(ca, kind.as_str(), Ok(()));
    }
    for (step, done) in [
        ("what the CA above gave up", nested::heed(ca, current).await),
        ("forgetting keys that are over", forget_keys(ca, current).await),
    ] {
        if done.is_err() {
            pause = pause.min(RETRY);
        }
        tell(ca, step, done);
    }
    pause
}

/// Says what keeps a step from being taken once, and that it was taken after that: status says it as long as it is so.
fn tell(ca: &Ca, step: &'static str, done: Result<(), StepFailure>) {
    let trouble = done.err().map(|error| error.to_string());
    if ca.signing.note_trouble(step, trouble.clone()) {
        if let Some(error) = trouble {
            error!(step, error, "a step of the authorities' life waits");
        } else {
            info!(step, "nothing keeps the authorities' life from going on any more");
        }
    }
}

async fn of_kind(
    ca: &Ca,
    current: &Current,
    kind: AuthorityKind,
    now: UnixTime,
) -> Result<Option<UnixTime>, StepFailure> {
    let rotation = ca.signing.rotation;
    if !rotation.automatic || !rotation.has(kind) {
        return Ok(None);
    }
    let all = current.lives(kind);
    let missing = ca.missing(&all, now).await?;
    let policy = rotation.policy(kind);
    let plan = plan(&all, &missing, &policy, now);
    for due in plan.due {
        if kind != AuthorityKind::X509 && !ca.is_published_above(kind, &due, &all, now) {
            // It wakes this once it has.
            continue;
        }
        take(ca, kind, due, now).await?;
    }
    Ok(plan.next)
}

async fn take(ca: &Ca, kind: AuthorityKind, due: Due, now: UnixTime) -> Result<(), StepFailure> {
    let registry = ca.registry.acting(Caller::Ca, now);
    let rotation = ca.signing.rotation;
    let done = match due {
        Due::Prepare => ca.prepare(&registry, kind).await.map(drop),
        Due::Activate { id, enough } => {
            let interval = rotation.publish_interval;
            let done = registry
                .activate_authority(kind, Some(&id), interval, enough, now, false)
                .await;
            done.map(|(_, missing)| activated(kind, &id, &missing))
                .map_err(StepFailure::from)
        }
        Due::Retire(id) => {
            let longest = rotation.policy(kind).longest;
            let done = registry.retire_authority(kind, &id, longest, now, false).await;
            done.map(|_| info!(target: AUDIT, { authority.kind = %kind, authority.id = %id }, "retired an authority"))
                .map_err(StepFailure::from)
        }
    };
    match done {
        // Another CA was quicker.
        Err(StepFailure::Authority(AuthorityError::Step(step))) => {
            tracing::debug!(authority.kind = %kind, %step, "a step was not due any more");
            Ok(())
        }
        done => done,
    }
}

/// Says that an authority signs, and for whom that is too early.
pub(super) fn activated(kind: AuthorityKind, id: &AuthorityId, missing: &[Missing]) {
    info!(target: AUDIT, { authority.kind = %kind, authority.id = %id }, "an authority signs from now on");
    for missing in missing {
        warn!(
            peer.node = %missing.node, authority.id = %id,
            "a node has not said that it has the authority that signs now"
        );
    }
}

impl Ca {
    /// Makes and publishes another authority.
    pub(crate) async fn prepare(
        &self,
        registry: &Registry,
        kind: AuthorityKind,
    ) -> Result<StoredAuthority, StepFailure> {
        let now = self.clock.now();
        // Before a key is made for nothing.
        let all = self.authorities().await?.lives(kind);
        signet_rotation::prepare(kind, &all).map_err(AuthorityError::from)?;
        self.keys
            .refresh(&self.registry)
            .await
            .map_err(StepFailure::Make)?;
        let maker = self.maker();
        let new = maker.make(kind, now).await.map_err(StepFailure::Make)?;
        let key = new.key.clone();
        match registry
            .prepare_authority(new, self.signing.rotation.publish_interval, now)
            .await
        {
            Ok(made) => {
                info!(
                    target: AUDIT,
                    { authority.kind = %kind, authority.id = %made.life.id, bundle.sequence = made.life.sequence },
                    "prepared an authority"
                );
                Ok(made)
            }
            Err(error) => {
                self.destroy(key).await?;
                Err(error.into())
            }
        }
    }

    pub(super) fn maker(&self) -> Maker {
        Maker {
            trust_domain: self.trust_domain().clone(),
            manager: Arc::clone(self.signing.keys().manager()),
            rotation: self.signing.rotation,
            upstream: self.upstream.clone(),
            link: self.link.clone(),
        }
    }

    /// Nodes that lack the prepared one among these.
    pub(super) async fn missing(
        &self,
        all: &[Authority],
        now: UnixTime,
    ) -> Result<Vec<Missing>, StorageError> {
        let prepared = all.iter().find(|one| one.state == State::Prepared);
        match prepared {
            Some(one) => self.registry.unacknowledged(one.sequence, now).await,
            None => Ok(Vec::new()),
        }
    }

    /// Has the key manager destroy what it has of a key.
    pub(super) async fn destroy(&self, record: Vec<u8>) -> Result<(), StepFailure> {
        let keys = Arc::clone(self.signing.keys());
        let forgotten = spawn_blocking(move || {
            let record = KeyRecord::decode(&record)?;
            keys.manager().forget(&record)
        });
        let forgotten = forgotten.await.map_err(|error| StepFailure::Make(error.into()))?;
        forgotten.map_err(|error| StepFailure::Make(error.into()))
    }
}

/// Keys of authorities that are over, also where an earlier process came no further: the manager's part first, so that the
/// record that says where it is is there until it is gone.
async fn forget_keys(ca: &Ca, current: &Current) -> Result<(), StepFailure> {
    for one in current.all.iter().filter(|one| !one.life.state.is_published()) {
        if let Some(record) = &one.key {
            ca.destroy(record.clone()).await?;
            ca.registry.forget_key(one.life.kind, &one.life.id).await?;
            info!(authority.kind = %one.life.kind, authority.id = %one.life.id, "forgot the key of an authority");
        }
    }
    Ok(())
}
