//! How it stands with the CA above.

use signet_rotation::{Authority, AuthorityKind, Due, State};
use signet_spiffe::UnixTime;

use crate::ca::Ca;

/// Which keys for tokens of ours the CA above has published.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OwnKeys {
    /// Their IDs.
    pub(crate) ids: Vec<String>,
    /// Whether it publishes those for WIT-SVIDs.
    pub(crate) takes_wit: bool,
}

/// How it stands with the CA above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LinkState {
    /// Whether it is followed now.
    pub(crate) connected: bool,
    /// Since when that is so.
    pub(crate) since: UnixTime,
    /// Why it is not.
    pub(crate) failure: String,
    /// When it last told something.
    pub(crate) heard: Option<UnixTime>,
    /// Of its bundle.
    pub(crate) sequence: u64,
    /// Our keys for tokens that it has published.
    pub(crate) own: OwnKeys,
}

impl LinkState {
    pub(super) fn begins(now: UnixTime) -> Self {
        Self {
            connected: false,
            since: now,
            failure: "not asked yet".to_owned(),
            heard: None,
            sequence: 0,
            own: OwnKeys::default(),
        }
    }

    /// Says whether that is news.
    pub(super) fn lost(&mut self, why: String, now: UnixTime) -> bool {
        let news = self.connected || self.failure != why;
        if self.connected {
            self.since = now;
        }
        self.connected = false;
        self.failure = why;
        news
    }

    /// Says whether that is news.
    pub(super) fn heard(&mut self, sequence: u64, own: OwnKeys, now: UnixTime) -> bool {
        let news = !self.connected;
        if news {
            self.since = now;
        }
        self.connected = true;
        self.failure.clear();
        self.heard = Some(now);
        self.sequence = sequence;
        self.own = own;
        news
    }
}

impl Ca {
    /// Whether the CA above has published the key for tokens that is to sign: those below it check with what it tells them. While nothing else
    /// that signs counts, nobody is waited for.
    pub(crate) fn is_published_above(
        &self,
        kind: AuthorityKind,
        due: &Due,
        all: &[Authority],
        now: UnixTime,
    ) -> bool {
        let (Some(link), Due::Activate { id, .. }) = (&self.link, due) else {
            return true;
        };
        let active = all.iter().find(|one| one.state == State::Active);
        if active.is_none_or(|active| now >= active.not_after) {
            return true;
        }
        let own = link.state().own;
        // One that publishes none need not be waited for.
        let is_taken = kind == AuthorityKind::Jwt || own.takes_wit;
        !is_taken || own.ids.iter().any(|key| key == id.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn since_is_the_beginning_of_an_outage_and_not_its_last_failure() {
        let at = |second| UnixTime::since_unix_epoch(Duration::from_secs(second));
        let mut state = LinkState::begins(at(1));
        assert!(state.heard(7, OwnKeys::default(), at(2)) && !state.heard(8, OwnKeys::default(), at(3)));
        assert_eq!(
            (state.since, state.heard, state.sequence),
            (at(2), Some(at(3)), 8)
        );
        assert!(state.lost("gone".to_owned(), at(4)));
        assert!(!state.lost("gone".to_owned(), at(5)), "said once");
        assert!(state.lost("no route".to_owned(), at(6)));
        assert_eq!((state.since, state.connected), (at(4), false));
        assert!(state.heard(9, OwnKeys::default(), at(7)));
        assert_eq!((state.since, state.failure.as_str()), (at(7), ""));
    }
}
