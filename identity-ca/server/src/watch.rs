//! `WatchService`: changes of the registry as they happen.
//!
//! Nothing is queued for who watches: each reads on in the issuance log from where it is, so a slow one costs no memory and misses
//! nothing, until it leaves what it is told unread for too long.

use std::collections::BTreeSet;
use std::sync::Arc;

use signet_log::{Change, ChangeKind, Entry, Record};
use signet_proto::ca::v1::watch_service_server::WatchService;
use signet_proto::ca::v1::{WatchEvent, WatchRequest};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::ca::Ca;
use crate::limits::{LOG_PAGE, UNREAD, WATCHERS};
use crate::operators::Operator;
use crate::refusal::{self, invalid};

/// The kinds of events.
const KINDS: [&str; 8] = [
    "registration",
    "node",
    "join-token",
    "setting",
    "revocation",
    "federation",
    "authority",
    "node-entry",
];

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct Watches {
    ca: Arc<Ca>,
    places: Arc<Semaphore>,
}

impl Watches {
    pub(crate) fn new(ca: &Arc<Ca>) -> Self {
        Self {
            ca: Arc::clone(ca),
            places: Arc::new(Semaphore::new(WATCHERS)),
        }
    }
}

type Events = ReceiverStream<Result<WatchEvent, Status>>;

#[tonic::async_trait]
impl WatchService for Watches {
    type WatchStream = Events;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Events>, Status> {
        let operator = request.extensions().get::<Operator>().cloned();
        let kinds: BTreeSet<String> = request
            .into_inner()
            .kinds
            .into_iter()
            .take(KINDS.len() + 1)
            .collect();
        if let Some(unknown) = kinds.iter().find(|kind| !KINDS.contains(&kind.as_str())) {
            let shown: String = unknown.chars().take(64).collect();
            return Err(invalid(format!(
                "there is no kind {shown:?}; there are {}",
                KINDS.join(", ")
            )));
        }
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| {
            Status::resource_exhausted(format!("{WATCHERS} watch already, which is the limit"))
        })?;
        let start = self.ca.registry.log_size().await;
        let start = start.map_err(|error| refusal::storage("watch", &error))?;
        let (sender, events) = mpsc::channel(1);
        let watcher = Watcher {
            ca: Arc::clone(&self.ca),
            operator,
            kinds,
            next: start,
            sender,
            _place: place,
        };
        tokio::spawn(watcher.run());
        Ok(Response::new(ReceiverStream::new(events)))
    }
}

struct Watcher {
    ca: Arc<Ca>,
    operator: Option<Operator>,
    /// None: all.
    kinds: BTreeSet<String>,
    /// The position in the log that is read next.
    next: u64,
    sender: mpsc::Sender<Result<WatchEvent, Status>>,
    _place: OwnedSemaphorePermit,
}

impl Watcher {
    async fn run(mut self) {
        let last = self.watch().await;
        let _ = timeout(crate::limits::FAREWELL, self.sender.send(Err(last))).await;
    }

    /// Tells what happens until there is a reason to end, which it returns.
    async fn watch(&mut self) -> Status {
        let mut revisions = self.ca.registry.watch();
        loop {
            // Before the look-up: what is committed after it wakes us again.
            revisions.mark_unchanged();
            if let Err(last) = self.tell().await {
                return last;
            }
            tokio::select! {
                changed = revisions.changed() => if changed.is_err() {
                    return Status::unavailable("the CA is shutting down");
                },
                () = self.ca.shutdown.cancelled() => return Status::unavailable("the CA is shutting down"),
                () = self.sender.closed() => return Status::cancelled("nobody watches"),
            }
        }
    }

    async fn tell(&mut self) -> Result<(), Status> {
        loop {
            if let Some(operator) = &self.operator {
                operator.still(&self.ca).await?;
            }
            let read = self.ca.registry.log_changes(self.next, LOG_PAGE).await;
            let (changes, next) = read.map_err(|error| refusal::storage("watch", &error))?;
            let is_all = changes.len() < usize::try_from(LOG_PAGE).unwrap_or(usize::MAX);
            for (position, leaf) in changes {
                let Some(event) = event(position, &leaf) else {
                    continue;
                };
                if !self.kinds.is_empty() && !self.kinds.contains(&event.kind) {
                    continue;
                }
                match timeout(UNREAD, self.sender.send(Ok(event))).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return Err(Status::cancelled("nobody watches")),
                    Err(_) => {
                        return Err(Status::deadline_exceeded(
                            "what happens is left unread; watch anew",
                        ));
                    }
                }
            }
            self.next = next;
            if is_all {
                return Ok(());
            }
        }
    }
}

fn event(position: u64, leaf: &[u8]) -> Option<WatchEvent> {
    let entry = Entry::decode(leaf).ok()?;
    let Record::Change(Change {
        kind,
        subject,
        before,
        after,
    }) = entry.record
    else {
        return None;
    };
    let what = match (before, after) {
        (None, _) => "made",
        (Some(_), Some(_)) => "changed",
        (Some(_), None) => "gone",
    };
    let (subject, spiffe_id) = match kind {
        ChangeKind::Registration => signet_log::registration(&subject),
        ChangeKind::Node
        | ChangeKind::JoinToken
        | ChangeKind::Setting
        | ChangeKind::Revocation
        | ChangeKind::Federation
        | ChangeKind::Authority
        | ChangeKind::NodeEntry => (subject.as_str(), None),
    };
    Some(WatchEvent {
        position,
        at: i64::try_from(entry.at).unwrap_or(i64::MAX),
        caller: entry.caller.to_string(),
        kind: kind.as_str().replace(' ', "-"),
        subject: subject.to_owned(),
        spiffe_id: spiffe_id.unwrap_or_default().to_owned(),
        what: what.to_owned(),
    })
}
