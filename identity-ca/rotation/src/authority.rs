use std::time::Duration;

use signet_spiffe::UnixTime;

use crate::kind::{AuthorityId, AuthorityKind};
use crate::state::State;

/// What is known of an authority's life; its key and its certificate are elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// What it signs.
    pub kind: AuthorityKind,
    /// What it is called.
    pub id: AuthorityId,
    /// Where in its life it is.
    pub state: State,
    /// Since when it is in the bundle.
    pub published: UnixTime,
    /// Sequence of the first bundle that had it.
    pub sequence: u64,
    /// Since when it signs, or last began to.
    pub activated: Option<UnixTime>,
    /// Since when it signs no more.
    pub ceased: Option<UnixTime>,
    /// Nothing that it signs counts from then on.
    pub not_after: UnixTime,
}

impl Authority {
    /// Whether all that it signed has ended: what it signed last lived no longer than `longest`.
    pub fn is_outlived(&self, longest: Duration, now: UnixTime) -> bool {
        now >= self.outlived_at(longest)
    }

    /// When all that it signed has ended. One that never signed has nothing to wait for.
    pub fn outlived_at(&self, longest: Duration) -> UnixTime {
        match (self.activated, self.ceased) {
            (None, _) => self.published,
            (Some(_), Some(ceased)) => later(ceased, longest).min(self.not_after),
            (Some(_), None) => self.not_after,
        }
    }
}

pub(crate) fn later(at: UnixTime, by: Duration) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(at.as_secs().saturating_add(by.as_secs())))
}
