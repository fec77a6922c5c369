//! What a CA below this one has to pass on, pushed.

use std::sync::Arc;
use std::time::Duration;

use signet_proto::ca::v1::UpstreamBundle;
use signet_registry::{INSTANCE_LEFT, Revision, Target};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, interval_at, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tracing::{debug, info};

use super::followers::Place;
use super::issue::refuse;
use super::permit::Downstream;
use crate::ca::Ca;
use crate::limits::{FAREWELL, FOLLOWERS, UNREAD};
use crate::refusal;
use crate::wire;

/// How often it is noted that a CA below is there. Well within the time that it keeps its place without.
const SEEN: Duration = Duration::from_secs(30);

// One stream ends, and another one of the same CA has its turn before the place is free.
const _: () = assert!(2 * SEEN.as_secs() <= INSTANCE_LEFT.as_secs());

/// Updates.
pub(super) type Updates = ReceiverStream<Result<UpstreamBundle, Status>>;

impl Ca {
    /// Begins to tell a CA below this one.
    pub(super) async fn tell_downstream(
        self: &Arc<Self>,
        below: Downstream,
        instance: String,
    ) -> Result<Updates, Status> {
        let Some(place) = self.followers.take(below.id(), FOLLOWERS) else {
            return Err(Status::resource_exhausted(format!(
                "{} follows the bundle over {FOLLOWERS} streams already, which is the limit for all its replicas together",
                below.id()
            )));
        };
        self.see_instance(&below, &instance).await?;
        let left = below
            .svid()
            .not_after()
            .as_secs()
            .saturating_sub(self.clock.now().as_secs());
        let (sender, updates) = mpsc::channel(1);
        let teller = Teller {
            ca: Arc::clone(self),
            revisions: self.registry.watch(),
            honoured: self.honoured.subscribe(),
            end: Instant::now() + Duration::from_secs(left),
            told: None,
            place,
            instance,
            below,
            sender,
        };
        tokio::spawn(teller.run());
        Ok(ReceiverStream::new(updates))
    }

    /// Refuses one that has the SPIFFE ID of another one.
    pub(super) async fn check_instance(&self, below: &Downstream, instance: &str) -> Result<(), Status> {
        let now = self.clock.now();
        let checked = self.registry.check_instance(below.id(), instance, now).await;
        checked.map_err(|error| refuse(&error))
    }

    async fn see_instance(&self, below: &Downstream, instance: &str) -> Result<(), Status> {
        let now = self.clock.now();
        let seen = self.registry.see_instance(below.id(), instance, now).await;
        seen.map_err(|error| refuse(&error))
    }

    /// All of it, as it is now.
    pub(super) async fn bundle_for(&self, below: &Downstream) -> Result<UpstreamBundle, Status> {
        let failed = |error| refusal::storage("bundle", &error);
        let current = self.authorities().await.map_err(failed)?;
        let revocations = self.registry.revocations().await.map_err(failed)?;
        let (own_jwt_keys, own_wit_keys) = self.registry.downstream_keys(below.id()).await.map_err(failed)?;
        let now = self.clock.now();
        let matters = |one: &&signet_registry::Revocation| match one.target {
            Target::Serial(_) | Target::Id(_) | Target::Authority(_) => one.until > now || one.closed,
            // Their numbers are this CA's own.
            Target::Node(_) => false,
        };
        Ok(UpstreamBundle {
            bundle: Some(current.wire.clone()),
            revocations: revocations.iter().filter(matters).map(wire::revocation).collect(),
            own_jwt_keys,
            own_wit_keys,
            takes_wit_keys: true,
        })
    }
}

struct Teller {
    ca: Arc<Ca>,
    below: Downstream,
    revisions: watch::Receiver<Revision>,
    /// Wakes after revocations.
    honoured: watch::Receiver<u64>,
    /// When the SVID that opened the stream ends.
    end: Instant,
    told: Option<UpstreamBundle>,
    place: Place,
    instance: String,
    sender: mpsc::Sender<Result<UpstreamBundle, Status>>,
}

impl Teller {
    async fn run(mut self) {
        info!(spiffe.id = %self.below.id(), "a CA below this one follows the bundle");
        let last = self.tell().await;
        debug!(spiffe.id = %self.below.id(), reason = last.message(), "the stream of a CA below this one ends");
        if self.place.is_last() && !self.instance.is_empty() {
            let left = self
                .ca
                .registry
                .leave_instance(self.below.id(), &self.instance, self.ca.clock.now())
                .await;
            if let Err(error) = left {
                debug!(spiffe.id = %self.below.id(), %error, "a CA below this one went, and keeps its place for a while longer");
            }
        }
        let _ = timeout(FAREWELL, self.sender.send(Err(last))).await;
    }

    /// Tells what there is to tell until there is a reason to end, which it returns.
    async fn tell(&mut self) -> Status {
        let mut again = interval_at(Instant::now() + SEEN, SEEN);
        loop {
            // Before the look-up: what is committed after it wakes us again.
            self.revisions.mark_unchanged();
            self.honoured.mark_unchanged();
            // The news first: it hears of its own revocation before its stream ends for it.
            if let Err(last) = self.tell_news().await {
                return last;
            }
            if let Err(last) = self.below.still(&self.ca).await {
                return last;
            }
            tokio::select! {
                changed = self.revisions.changed() => if changed.is_err() {
                    return Status::unavailable("the CA is shutting down");
                },
                changed = self.honoured.changed() => if changed.is_err() {
                    return Status::unavailable("the CA is shutting down");
                },
                _ = again.tick() => if let Err(last) = self.ca.see_instance(&self.below, &self.instance).await {
                    return last;
                },
                () = self.ca.shutdown.cancelled() => return Status::unavailable("the CA is shutting down"),
                () = self.sender.closed() => return Status::cancelled("the CA below went away"),
                () = sleep_until(self.end) => {
                    return Status::unauthenticated("the SVID that opened this stream has expired");
                }
            }
        }
    }

    async fn tell_news(&mut self) -> Result<(), Status> {
        let now = self.ca.bundle_for(&self.below).await?;
        if self.told.as_ref() == Some(&now) {
            return Ok(());
        }
        let room = tokio::select! {
            room = timeout(UNREAD, self.sender.reserve()) => room,
            () = self.ca.shutdown.cancelled() => return Err(Status::unavailable("the CA is shutting down")),
        };
        match room {
            Ok(Ok(room)) => room.send(Ok(now.clone())),
            Ok(Err(_)) => return Err(Status::cancelled("the CA below went away")),
            Err(_) => {
                return Err(Status::deadline_exceeded(
                    "the CA below leaves what it is told unread",
                ));
            }
        }
        self.told = Some(now);
        Ok(())
    }
}
