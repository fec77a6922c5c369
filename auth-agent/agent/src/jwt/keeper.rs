//! Answers requests for tokens, and flies to the CA.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use signet_spiffe::{Audience, SpiffeId};
use signet_workload_api::{JwtSvid, NoJwtSvid};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};

use super::cache::{Answer, Cache, Flight, Now, Outcome};
use super::issue::issue;
use crate::ca::NodeAccess;
use crate::clock::{random, unix_now};
use crate::status::Status;
use crate::view::{RevocationTable, View};

/// Flights at once, of all identities.
const AT_ONCE: usize = 16;
/// How long a request waits for a new token that has another one that still lives.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long one waits that has none. A flight ends before.
const WAIT: Duration = Duration::from_secs(15);
/// How often tokens that have ended are looked for.
const SWEEP: Duration = Duration::from_mins(1);

/// The JWT-SVIDs of this node's workloads. Clones share them.
#[derive(Clone, Debug)]
pub struct JwtSvids(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    cache: Mutex<Cache>,
    view: watch::Receiver<Option<Arc<View>>>,
    access: watch::Receiver<Option<Arc<NodeAccess>>>,
    flights: Semaphore,
    status: Arc<Status>,
}

impl JwtSvids {
    /// None yet.
    pub fn new(
        view: watch::Receiver<Option<Arc<View>>>,
        access: watch::Receiver<Option<Arc<NodeAccess>>>,
        status: Arc<Status>,
    ) -> Self {
        Self(Arc::new(Shared {
            cache: Mutex::default(),
            view,
            access,
            flights: Semaphore::new(AT_ONCE),
            status,
        }))
    }

    /// A token that lives, from memory or from the CA.
    ///
    /// # Errors
    /// There is none, and why, for the workload to read.
    pub async fn get(&self, id: &SpiffeId, audience: &Audience) -> Result<Arc<JwtSvid>, NoJwtSvid> {
        let (answer, flight) = self.cache().ask(id, audience, now());
        if let Some(flight) = flight {
            // A task of its own: others may wait for it when this caller has gone.
            tokio::spawn(self.clone().fly(flight));
        }
        match answer {
            Answer::Serve(svid) => Ok(svid),
            Answer::Refuse(reason) => Err(NoJwtSvid(reason)),
            Answer::Wait { flight, meanwhile } => match meanwhile {
                Some(svid) => Ok(landed(flight, PATIENCE).await.unwrap_or(svid)),
                None => landed(flight, WAIT).await.map_err(NoJwtSvid),
            },
        }
    }

    async fn fly(self, flight: Flight) {
        let shared = &*self.0;
        // Never closed.
        let _permit = shared.flights.acquire().await;
        let (view, access) = (shared.view.borrow().clone(), shared.access.borrow().clone());
        let result = issue(view, access, &flight.id, &flight.audience).await;
        let result = result.map_err(|error| {
            let error = anyhow::Error::from(error);
            let text = format!("{error:#}");
            let context = format!("a JWT-SVID of {}", flight.id);
            shared.status.fail("jwt-svid", &error.context(context));
            text
        });
        if let Ok(fresh) = &result {
            tracing::debug!(svid.id = %flight.id, svid.not_after = fresh.svid.expires().as_secs(), "got a JWT-SVID");
        }
        self.cache().land(flight, result, now(), random());
    }

    /// Forgets what the view takes away, as soon as it does, and what has ended. Runs until the view's owner has gone.
    pub async fn run(self) {
        let mut view = self.0.view.clone();
        let mut known = Arc::<RevocationTable>::default();
        loop {
            let changed = timeout(SWEEP, view.changed()).await;
            if matches!(changed, Ok(Err(_))) {
                return;
            }
            let current = view.borrow_and_update().clone();
            let Some(current) = current else { continue };
            let revocations = current.revocations().clone();
            let own = SpiffeId::node(current.trust_domain(), current.self_name());
            // A new revocation of its identity or of this node takes every token: it was issued before.
            let stands = |id: &SpiffeId| revocations.up_to(id) == known.up_to(id);
            let all_stand = stands(&own) && revocations.set().unreadable().is_none();
            self.cache().retain(
                |id| {
                    let is_open = revocations.closed(id).is_none() && stands(id);
                    all_stand && is_open && current.is_registered_here(id)
                },
                |id, token| {
                    let keys = current.jwt_bundles().get(id.trust_domain());
                    let revoked = |serial| revocations.set().has_serial(serial);
                    keys.is_some_and(|keys| keys.key(&token.key_id).is_some())
                        && !current.tainted().has_key(&token.key_id)
                        && !token.serial.as_ref().is_some_and(revoked)
                },
                now(),
            );
            known = revocations;
        }
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        // Each use leaves it whole.
        self.0.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn landed(mut flight: watch::Receiver<Outcome>, patience: Duration) -> Result<Arc<JwtSvid>, String> {
    let outcome = match timeout(patience, flight.wait_for(Option::is_some)).await {
        Ok(Ok(outcome)) => outcome.clone(),
        Ok(Err(_)) | Err(_) => None,
    };
    outcome.unwrap_or_else(|| Err("the CA does not answer".to_owned()))
}

fn now() -> Now {
    Now {
        unix: u64::try_from(unix_now()).unwrap_or(0),
        clock: Instant::now().into_std(),
    }
}
