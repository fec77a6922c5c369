//! Whether this CA can do its work. One of several that cannot, because its database or its key is out of reach, keeps accepting
//! connections and could keep its nodes: it sends them to the others instead.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tonic::Status;
use tracing::{error, info};

use crate::ca::Ca;

/// How often it looks.
const PAUSE: Duration = Duration::from_secs(2);

/// For one look.
const ANSWER: Duration = Duration::from_secs(3);

/// For so long its nodes stay: a database that is restarted is back sooner.
const PATIENCE: Duration = Duration::from_secs(6);

/// Why it cannot, while it cannot.
#[derive(Debug, Default)]
pub(crate) struct Fitness(watch::Sender<Option<&'static str>>);

impl Fitness {
    /// Refuses a node that another CA can do more for.
    pub(crate) fn check(&self) -> Result<(), Status> {
        let why = *self.0.borrow();
        why.map_or(Ok(()), |why| Err(refuse(why)))
    }

    /// Returns once nodes are better off elsewhere, with what to tell them.
    pub(crate) async fn lost(&self) -> Status {
        let mut changes = self.0.subscribe();
        // The sender lives as long as this.
        let why = changes.wait_for(Option::is_some).await;
        refuse(why.ok().and_then(|why| *why).unwrap_or("is shutting down"))
    }
}

fn refuse(why: &str) -> Status {
    Status::unavailable(format!("this CA {why}; try another one"))
}

/// Looks for ever.
pub(crate) async fn watch(ca: &Ca) {
    let mut since: Option<Instant> = None;
    loop {
        let found = look(ca).await.err();
        since = found.map(|_| since.unwrap_or_else(Instant::now));
        let lasts = found.filter(|_| since.is_some_and(|since| since.elapsed() >= PATIENCE));
        ca.fitness.0.send_if_modified(|known| {
            // Until the first sound look it stays what it was.
            let next = if found.is_some() { lasts.or(*known) } else { None };
            match next {
                Some(why) if known.is_none() => error!(why, "this CA sends its nodes to others"),
                None if known.is_some() => info!("this CA can do its work again"),
                Some(_) | None => {}
            }
            let changed = *known != next;
            *known = next;
            changed
        });
        sleep(PAUSE).await;
    }
}

/// The database answers, and the key that signs is open.
async fn look(ca: &Ca) -> Result<(), &'static str> {
    match timeout(ANSWER, ca.authorities()).await {
        Ok(Ok(current)) => current
            .signing()
            .map(drop)
            .map_err(|_| "cannot use the key that signs now"),
        Ok(Err(_)) | Err(_) => Err("cannot reach its database"),
    }
}
