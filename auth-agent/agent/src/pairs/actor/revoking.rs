//! Takes back proofs that rest on something revoked: from the table, then from the kernel, then it is settled.

use std::sync::Arc;

use signet_abi::{AuthKey, NodeId};
use signet_maps::boottime_now;
use signet_session::NodeNumber;

use super::Actor;
use crate::auth::AuthStore;
use crate::clock::random;
use crate::pairs::ProveError;

impl<A: AuthStore> Actor<A> {
    /// Deletes every proof that rests on something revoked.
    pub(super) fn revoke(&mut self) {
        // The table of the view that pairs are judged by, not one that is being written down for the next view.
        let Some(view) = self.view.current() else { return };
        let table = Arc::clone(view.revocations());
        let versions = table.versions();
        // Versions alone do not tell: a CA that was restored counts anew.
        if versions == self.settled && *table == *self.judged && table.set().unreadable().is_none() {
            return;
        }
        let (knowledge, settled) = (&self.knowledge, &self.settled);
        let gone = self.table.revoke(boottime_now(), |key, pair| {
            let made_of = pair.made_of.as_ref().map(|[local, remote]| [local, remote]);
            let reason = knowledge.revoked(key, made_of, settled)?;
            Some(ProveError::Revoked(reason).to_string())
        });
        if !gone.is_empty() {
            tracing::warn!(proofs = gone.len(), "deleted proofs that rest on revoked SVIDs");
        }
        self.tell_gone(&gone, |_, pair| {
            let reason = pair.and_then(|pair| pair.failure.clone());
            reason.unwrap_or_default()
        });
        self.doomed.extend(gone);
        self.look_ahead();
        self.settled = versions;
        self.judged = table;
        self.finish_revoking();
    }

    /// A node's kernel is another one than before: what was proven with the workloads that it had is void, as it is there.
    pub(super) fn void(&mut self, node: NodeNumber) {
        const WHY: &str = "the other node was rebooted";
        let now = boottime_now();
        let node = NodeId(node.get());
        for key in self.unleased.void(node) {
            self.ended_ahead(key, Some(&ProveError::SessionLost));
            self.table.failed(key, WHY.to_owned(), now, random());
            self.tell_waiters(key);
        }
        let gone = self
            .table
            .revoke(now, |key, _| (key.node == node).then(|| WHY.to_owned()));
        tracing::info!(
            peer.node = node.0,
            proofs = gone.len(),
            "the other node was rebooted: its proofs are void"
        );
        self.doomed.extend(gone);
        self.look_ahead();
        self.finish_revoking();
    }

    /// Deletes from the kernel what was taken back. What does not go is tried again at the next tick.
    pub(super) fn finish_revoking(&mut self) {
        self.room.freed();
        let store = &mut self.store;
        let mut failure = None;
        self.doomed.retain(|key| match store.remove(key) {
            Ok(()) => false,
            Err(error) if error.is_missing() => false,
            Err(error) => {
                failure = Some(error);
                true
            }
        });
        match failure {
            // Before the kernel's proofs were looked at, nobody knows what they rest on.
            None if self.adopted && !self.flush => self.view.settled(&self.judged),
            None => {}
            Some(error) => {
                let left = self.doomed.len();
                let error = anyhow::Error::from(error).context(format!(
                    "{left} proofs that rest on revoked SVIDs cannot be deleted from the kernel"
                ));
                self.status.fail("revocation", &error);
            }
        }
    }

    /// Deletes all proofs of an earlier run that had not done with its revocations: without a view nobody can tell which
    /// of them are good.
    pub(super) fn flush_unfinished(&mut self) {
        if !self.flush {
            return;
        }
        let entries = match self.store.entries() {
            Ok(entries) => entries,
            // There will be a new map, or it will be found at the next tick.
            Err(error) if error.is_missing() => return,
            Err(error) => {
                self.status.fail("revocation", &anyhow::Error::from(error));
                return;
            }
        };
        tracing::warn!(
            proofs = entries.len(),
            "an earlier run was stopped in the middle of a revocation: its proofs are deleted"
        );
        let ours = |key: &AuthKey| self.table.get(key).is_some_and(|pair| pair.proof.is_some());
        self.doomed
            .extend(entries.into_iter().map(|(key, _)| key).filter(|key| !ours(key)));
        self.flush = false;
        self.finish_revoking();
    }
}
