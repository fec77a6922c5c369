//! What happens to proofs and leases, for those who watch.

use std::time::{SystemTime, UNIX_EPOCH};

use signet_proto::agent::v1::AuthEvent;
use tokio::sync::broadcast;

/// Events that wait for somebody who reads slowly; older ones are lost to him, and he is told how many.
const BACKLOG: usize = 1024;

/// Tells those who watch. Where nobody does it costs nothing.
#[derive(Debug)]
pub struct Feed(broadcast::Sender<AuthEvent>);

impl Default for Feed {
    fn default() -> Self {
        Self(broadcast::channel(BACKLOG).0)
    }
}

impl Feed {
    /// Whether anybody watches.
    pub(crate) fn is_watched(&self) -> bool {
        self.0.receiver_count() > 0
    }

    /// Tells what has happened just now.
    pub(crate) fn tell(&self, event: impl FnOnce() -> AuthEvent) {
        if !self.is_watched() {
            return;
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let event = AuthEvent {
            at: i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
            ..event()
        };
        // The last of them may just have gone.
        let _ = self.0.send(event);
    }

    /// From now on.
    pub(crate) fn watch(&self) -> Watch {
        Watch {
            events: self.0.subscribe(),
            lost: 0,
        }
    }
}

/// Somebody who watches.
#[derive(Debug)]
pub(crate) struct Watch {
    events: broadcast::Receiver<AuthEvent>,
    lost: u64,
}

impl Watch {
    /// The next event; nothing when there will be none.
    pub(crate) async fn next(&mut self) -> Option<AuthEvent> {
        loop {
            match self.events.recv().await {
                Ok(event) => {
                    return Some(AuthEvent {
                        lost: std::mem::take(&mut self.lost),
                        ..event
                    });
                }
                Err(broadcast::error::RecvError::Lagged(missed)) => self.lost += missed,
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_reads_slowly_is_told_how_much_was_lost_and_who_does_not_watch_costs_nothing() {
        let feed = Feed::default();
        feed.tell(|| unreachable!("nobody watches"));
        let mut watch = feed.watch();
        for number in 0..BACKLOG + 7 {
            feed.tell(|| AuthEvent {
                epoch: u32::try_from(number).unwrap_or(0),
                ..AuthEvent::default()
            });
        }
        let first = watch.next().await;
        assert_eq!(first.map(|event| (event.epoch, event.lost)), Some((7, 7)));
        let second = watch.next().await;
        assert_eq!(second.map(|event| (event.epoch, event.lost)), Some((8, 0)));
    }
}
