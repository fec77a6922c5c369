use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use signet_proto::ca::v1::GetCrlRequest;
use signet_proto::ca::v1::node_service_client::NodeServiceClient;
use signet_spiffe::Revocations;
use signet_workload_api::RevocationList;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::check::Held;
use crate::ca::{NodeAccess, refusal};
use crate::clock::{backoff, random, scale, unix_now};
use crate::status::Status;
use crate::view::View;

const CALL: Duration = Duration::from_secs(10);
/// Revocations that come within this time of one another's first are told in one list: each list goes to each Envoy whole.
const GATHER: Duration = Duration::from_millis(200);
/// Longest answer, bytes. A list that is too long for Envoys comes in all the same, so that its length can be told.
const LONGEST: usize = 16 * 1024 * 1024;
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_mins(1);
/// Sleeps that have nothing to wait for.
const IDLE: Duration = Duration::from_hours(1);

/// Keeps the revocation list.
#[derive(Debug)]
pub struct ListKeeper {
    view: watch::Receiver<Option<Arc<View>>>,
    access: watch::Receiver<Option<Arc<NodeAccess>>>,
    publish: watch::Sender<Option<Arc<RevocationList>>>,
    status: Arc<Status>,
}

#[derive(Debug, Default)]
struct State {
    revocations: Arc<Revocations>,
    /// Of the bundle.
    sequence: u64,
    held: Option<Held>,
    /// When to ask for a list; none: not at all.
    due: Option<Instant>,
    failures: u32,
}

impl ListKeeper {
    /// Of what the view says is revoked, from whom there is access to. Where the list comes: nothing while nothing is revoked,
    /// and while there is none that counts.
    pub fn new(
        view: watch::Receiver<Option<Arc<View>>>,
        access: watch::Receiver<Option<Arc<NodeAccess>>>,
        status: Arc<Status>,
    ) -> (Self, watch::Receiver<Option<Arc<RevocationList>>>) {
        let (publish, list) = watch::channel(None);
        let keeper = Self {
            view,
            access,
            publish,
            status,
        };
        (keeper, list)
    }

    /// Runs until the view's owner has gone.
    pub async fn run(mut self) {
        let mut state = State::default();
        loop {
            self.withdraw_ended(&mut state);
            let now = Instant::now();
            let end = state.held.as_ref().map(|held| now + held.left(unix_now()));
            // Without access nobody can be asked.
            let has_access = self.access.borrow().is_some();
            let due = state.due.filter(|_| has_access);
            tokio::select! {
                changed = self.view.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.take_view(&mut state);
                }
                changed = self.access.changed() => if changed.is_err() { return },
                () = sleep_until(due.unwrap_or(now + IDLE)) => if due.is_some() {
                    self.renew(&mut state).await;
                },
                () = sleep_until(end.unwrap_or(now + IDLE)) => {}
            }
        }
    }

    fn take_view(&mut self, state: &mut State) {
        let Some(view) = self.view.borrow_and_update().clone() else {
            return;
        };
        let revocations = view.revocations().set();
        // Each authority in the bundle has a list of its own.
        let sequence = view.wire_bundle().sequence;
        let is_known = std::mem::replace(&mut state.sequence, sequence) == sequence;
        if is_known && Arc::ptr_eq(revocations, &state.revocations) {
            return;
        }
        state.revocations = Arc::clone(revocations);
        state.failures = 0;
        if revocations.is_empty() {
            state.due = None;
            self.hold(state, None);
        } else {
            state.due = Some(after_news(state.due, Instant::now()));
        }
    }

    async fn renew(&self, state: &mut State) {
        let next = match self.fetch().await {
            Ok(held) => {
                // Between two and three fifths of what it has left.
                let left = held.left(unix_now());
                let jitter = u64::try_from((left / 5).as_nanos()).unwrap_or(u64::MAX);
                self.hold(state, Some(held));
                state.failures = 0;
                left * 2 / 5 + Duration::from_nanos(scale(random(), jitter))
            }
            Err(error) => {
                self.status.fail("revocation-list", &error);
                let wait = backoff(FIRST_RETRY, LAST_RETRY, state.failures, random());
                state.failures = state.failures.saturating_add(1);
                wait
            }
        };
        state.due = Some(Instant::now() + next.max(FIRST_RETRY));
    }

    async fn fetch(&self) -> anyhow::Result<Held> {
        let view = self.view.borrow().clone().context("there is no view")?;
        let access = self.access.borrow().clone().context("there is no node SVID")?;
        let mut client = NodeServiceClient::new(access.channel.clone()).max_decoding_message_size(LONGEST);
        let answer = timeout(CALL, client.get_crl(GetCrlRequest {}))
            .await
            .context("the CA does not answer")?
            .map_err(|status| refusal(&status))
            .context("the CA gives no revocation list")?;
        let held = Held::new(
            answer.into_inner(),
            view.trust_domain(),
            view.revision(),
            unix_now(),
        );
        Ok(held?)
    }

    fn withdraw_ended(&self, state: &mut State) {
        if state.held.as_ref().is_some_and(|held| held.end <= unix_now()) {
            tracing::warn!(
                "the revocation list is about to end, and the CA has given no newer one: Envoys of this node go on without"
            );
            self.hold(state, None);
        }
    }

    fn hold(&self, state: &mut State, held: Option<Held>) {
        let list = held.as_ref().map(|held| held.list.clone());
        state.held = held;
        self.publish.send_if_modified(|known| {
            let changed = *known != list;
            *known = list;
            changed
        });
    }
}

/// When to ask once there is news: soon, and no later for what comes on top of it.
fn after_news(due: Option<Instant>, now: Instant) -> Instant {
    let gathered = now + GATHER;
    due.map_or(gathered, |due| due.min(gathered))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_is_gathered_from_the_first_on_and_puts_nothing_off() {
        let now = Instant::now();
        let soon = after_news(None, now);
        assert_eq!(soon, now + GATHER);
        assert_eq!(after_news(Some(soon), now + GATHER / 2), soon, "more of it");
        assert_eq!(after_news(Some(now + IDLE), now), soon, "a renewal");
    }
}
