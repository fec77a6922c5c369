//! Tells those who watch and count what happens to proofs.

use signet_abi::AuthKey;
use signet_pairs::{Kind, Pair, ProveError};
use signet_proto::agent::v1::AuthEvent;
use signet_session::NodeNumber;

use super::Actor;
use crate::auth::AuthStore;
use crate::pairs::how::How;
use crate::pairs::report::to_unix;
use crate::pairs::resolve::{Knowledge, Resolved, Target};

impl<A: AuthStore> Actor<A> {
    /// How a handshake that begins now finds the two nodes.
    pub(super) fn find_way(&mut self, key: AuthKey, resolved: &Result<Resolved, ProveError>) {
        let how = match resolved {
            Ok(Resolved {
                target: Target::Here(_),
                ..
            }) => How::Local,
            Ok(Resolved {
                target: Target::Node(node),
                ..
            }) if self.sessions.is_up(node.number) => How::Warm,
            Ok(_) | Err(_) => How::Cold,
        };
        self.ways.insert(key, how);
    }

    /// How the handshake that is under way comes about.
    pub(super) fn how(&mut self, key: &AuthKey) -> How {
        let way = self.ways.remove(key).unwrap_or(How::Cold);
        match self.table.kind(key) {
            Some(Kind::Ahead) => How::Ahead,
            Some(Kind::Renewal) => How::Renewal,
            Some(Kind::Contact) | None => way,
        }
    }

    /// A proof is there. `how`: nothing where the peer has begun.
    pub(super) fn tell_proven(&self, key: AuthKey, how: Option<How>, before: bool) {
        let pair = self.table.get(&key);
        let latency = pair.map_or(0, |pair| pair.latency);
        if let Some(how) = how {
            self.status.tally.proven(how, latency);
        }
        self.status.feed.tell(|| {
            let proof = pair.and_then(|pair| pair.proof);
            AuthEvent {
                kind: if before { "renewed" } else { "proven" }.to_owned(),
                how: how.map_or("peer", How::name).to_owned(),
                latency: how.map_or(0, |_| latency),
                not_after: proof.map_or(0, |proof| to_unix(proof.not_after)),
                epoch: proof.map_or(0, |proof| proof.epoch),
                ..named(&self.knowledge, &key)
            }
        });
    }

    /// A handshake gave no proof.
    pub(super) fn tell_failed(&self, key: AuthKey, how: Option<How>, error: &ProveError) {
        self.status.tally.failed(error.label());
        self.status.feed.tell(|| AuthEvent {
            kind: "failed".to_owned(),
            how: how.map_or("peer", How::name).to_owned(),
            cause: error.label().to_owned(),
            reason: error.to_string(),
            ..named(&self.knowledge, &key)
        });
    }

    /// No handshake was begun.
    pub(super) fn tell_refused(&self, key: AuthKey, error: &ProveError) {
        self.status.tally.failed(error.label());
        self.status.feed.tell(|| AuthEvent {
            kind: "failed".to_owned(),
            cause: error.label().to_owned(),
            reason: error.to_string(),
            ..named(&self.knowledge, &key)
        });
    }

    /// Proofs are gone.
    pub(super) fn tell_gone(&self, keys: &[AuthKey], reason: impl Fn(&AuthKey, Option<&Pair>) -> String) {
        if !self.status.feed.is_watched() {
            return;
        }
        for key in keys {
            self.status.feed.tell(|| AuthEvent {
                kind: "gone".to_owned(),
                reason: reason(key, self.table.get(key)),
                ..named(&self.knowledge, key)
            });
        }
    }
}

/// An event of a pair, with the names that its numbers have.
fn named(knowledge: &Knowledge, key: &AuthKey) -> AuthEvent {
    let view = knowledge.view.borrow().clone();
    let view = view.as_deref();
    let name = |number| {
        let id = view.and_then(|view| view.spiffe_id(number));
        id.map(ToString::to_string).unwrap_or_default()
    };
    let node = NodeNumber::new(key.node.0).and_then(|number| view?.node_by_number(number));
    AuthEvent {
        local: name(key.local),
        remote: name(key.remote),
        local_identity: key.local.0,
        remote_identity: key.remote.0,
        node: node.map(|node| node.name.to_string()).unwrap_or_default(),
        node_id: key.node.0,
        ..AuthEvent::default()
    }
}
