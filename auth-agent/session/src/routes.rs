//! Which handshakes are open, and whose message belongs to which.

use std::collections::BTreeSet;

use crate::id::{HandshakeId, Opener, Route};
use crate::limits::Limits;

/// Why a handshake cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// Our own bound.
    #[error("{0} handshakes are open with this node already, try again later")]
    Full(usize),
}

/// What the peer's `Open` comes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Admitted,
    Busy,
    /// The number was used before, or numbers go backwards: a replay or a broken peer.
    Reused,
}

#[derive(Debug, Default)]
pub(crate) struct Routes {
    open: BTreeSet<Route>,
    last_own: u64,
    last_peer: Option<HandshakeId>,
}

impl Routes {
    /// Takes the next number for a handshake of ours.
    pub(crate) fn open(&mut self, limits: &Limits) -> Result<Route, RouteError> {
        let own = self.count(Opener::Us);
        if own >= limits.own_handshakes {
            return Err(RouteError::Full(own));
        }
        self.last_own += 1;
        let route = Route {
            opener: Opener::Us,
            id: HandshakeId(self.last_own),
        };
        self.open.insert(route);
        Ok(route)
    }

    pub(crate) fn admit(&mut self, route: Route, limits: &Limits) -> Admission {
        if self.last_peer.is_some_and(|last| route.id <= last) {
            return Admission::Reused;
        }
        self.last_peer = Some(route.id);
        if self.count(Opener::Peer) >= limits.peer_handshakes {
            return Admission::Busy;
        }
        self.open.insert(route);
        Admission::Admitted
    }

    pub(crate) fn is_open(&self, route: Route) -> bool {
        self.open.contains(&route)
    }

    pub(crate) fn close(&mut self, route: Route) -> bool {
        self.open.remove(&route)
    }

    fn count(&self, opener: Opener) -> usize {
        self.open.iter().filter(|route| route.opener == opener).count()
    }
}
