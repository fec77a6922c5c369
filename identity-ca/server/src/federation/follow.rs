//! Asks each endpoint when it is due, for ever.

use std::sync::Arc;
use std::time::Duration;

use signet_federation::{Relationship, Schedule, interval};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::error;

use crate::ca::Ca;
use crate::limits::FEDERATION_SETTLE;

/// Pause after a failure to read the relationships.
const RETRY: Duration = Duration::from_secs(5);

/// Where nobody is due: until something changes.
const LONG: Duration = Duration::from_hours(24);

/// Follows all relationships, as they come and go, until the CA ends. Each replica does so by itself: the registry sees to
/// it that the newest document wins.
pub(crate) async fn follow(ca: Arc<Ca>) {
    let mut schedule = Schedule::default();
    let mut revisions = ca.registry.watch();
    let mut asked = JoinSet::new();
    loop {
        revisions.mark_unchanged();
        match ca.registry.relationships().await {
            Ok(relationships) => schedule.adopt(relationships, now()),
            Err(error) => {
                error!(%error, "failed to read with whom to federate");
                sleep(RETRY).await;
                continue;
            }
        }
        for relationship in schedule.due(now()) {
            let ca = Arc::clone(&ca);
            asked.spawn(async move {
                let outcome = ca.refresh(&relationship).await;
                let hint = outcome.ok().map(|document| document.bundle().refresh_hint);
                (relationship, hint.map(interval))
            });
        }
        let next = schedule
            .next()
            .map_or_else(|| Instant::now() + LONG, Instant::from_std);
        tokio::select! {
            changed = revisions.changed() => {
                if changed.is_err() {
                    return;
                }
                // A registry in use changes all the time, relationships seldom.
                sleep(FEDERATION_SETTLE).await;
            }
            Some(answer) = asked.join_next() => answered(&mut schedule, answer),
            () = sleep_until(next) => {}
            () = ca.shutdown.cancelled() => return,
        }
    }
}

fn answered(
    schedule: &mut Schedule,
    answer: Result<(Relationship, Option<Duration>), tokio::task::JoinError>,
) {
    match answer {
        Ok((relationship, interval)) => schedule.answered(&relationship, interval, now()),
        Err(error) => error!(%error, "a question to a bundle endpoint broke off"),
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
