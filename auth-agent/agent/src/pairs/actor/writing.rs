//! Writes proofs into table and map, and removes them from the map.

use std::sync::atomic::Ordering::Relaxed;

use signet_abi::AuthKey;
use signet_handshake::Proof;
use signet_maps::{boottime_now, boottime_of};
use signet_pairs::{Kind, Made, Moment, ProveError};
use signet_session::NodeNumber;

use super::Actor;
use super::room::Asked;
use crate::auth::{AuthError, AuthStore};
use crate::clock::{random, seconds};

impl<A: AuthStore> Actor<A> {
    /// Enters a proof into table and map. `ours`: it ends a flight, which gave a proof only if both take it.
    pub(super) fn write(&mut self, key: AuthKey, proof: &Proof, ours: bool) {
        let written = self.try_write(key, proof, ours);
        if ours {
            self.ended_ahead(key, written.err().as_ref());
        }
    }

    fn try_write(&mut self, key: AuthKey, proof: &Proof, ours: bool) -> Result<(), ProveError> {
        if !self.is_about(proof, &key) {
            let refusal = ProveError::NoSvid;
            self.table
                .failed(key, refusal.to_string(), boottime_now(), random());
            self.parking.refuse(&key);
            return Err(refusal);
        }
        let made = Made {
            not_after: boottime_of(seconds(proof.not_after())),
            of: Some(proof.svids().map(Clone::clone)),
        };
        let at = Moment {
            now: boottime_now(),
            random: random(),
        };
        let before = self.table.get(&key).is_some_and(|pair| pair.proof.is_some());
        let asked = match self.table.kind(&key) {
            Some(Kind::Ahead) => Asked::No,
            Some(Kind::Contact | Kind::Renewal) | None => Asked::Yes,
        };
        let how = ours.then(|| self.how(&key));
        if !self.table.make_place(&key) {
            self.tell_failed(key, how, &ProveError::Busy);
            self.parking.refuse(&key);
            return Err(ProveError::Busy);
        }
        let judge = self.knowledge.judge(&self.settled);
        let value = match self.table.enter(key, made, ours, &judge, at) {
            Ok(value) => value,
            Err(refusal) => {
                self.tell_failed(key, how, &refusal);
                self.parking.refuse(&key);
                return Err(refusal);
            }
        };
        self.doomed.remove(&key);
        self.status.handshakes_ok.fetch_add(1, Relaxed);
        match self.insert(key, &value, asked) {
            Ok(()) => {
                self.tell_proven(key, how, before);
                tracing::debug!(
                    pair.local = key.local.0,
                    pair.remote = key.remote.0,
                    peer.node = key.node.0,
                    pair.epoch = value.epoch,
                    "proven"
                );
                self.parking.release(&key);
            }
            // It will be written as soon as the map is there.
            Err(error) if error.is_missing() => {}
            Err(error) => {
                let refusal = self.unwritten(key, &error, asked);
                self.tell_failed(key, how, &refusal);
                return Err(refusal);
            }
        }
        Ok(())
    }

    /// Whether a proof is one of this very pair, by what its certificates say. Whoever asked for it may have had others at hand.
    fn is_about(&self, proof: &Proof, key: &AuthKey) -> bool {
        let node = NodeNumber::new(key.node.0);
        let of = node.and_then(|node| self.knowledge.key(proof.local(), proof.remote(), node));
        of == Some(*key)
    }

    /// What the kernel has not taken is not proven; why.
    fn unwritten(&mut self, key: AuthKey, error: &AuthError, asked: Asked) -> ProveError {
        let full = error.is_full().then(|| self.slots());
        let error = match full {
            Some(slots) => ProveError::NoRoom { slots },
            None => ProveError::Auth(error.to_string()),
        };
        let reason = error.to_string();
        match (full, asked) {
            (None, Asked::Yes | Asked::No) => {
                self.status.fail("auth", &anyhow::Error::msg(reason.clone()));
                self.table.unwritten(key, reason, boottime_now(), random());
            }
            (Some(_), Asked::Yes) => {
                self.status.room.turned_away.fetch_add(1, Relaxed);
                self.tell_full(&reason);
                self.table.crowded_out(key, reason, boottime_now());
            }
            // Whoever asks for it some day is not held back by that nobody had.
            (Some(_), Asked::No) => self.table.give_way(&key),
        }
        self.parking.refuse(&key);
        error
    }

    /// A packet waits for a proof that the kernel lacks.
    pub(super) fn rewrite(&mut self, key: AuthKey) {
        self.write_again(key, Asked::Yes);
    }

    /// Writes what the kernel lacks.
    pub(super) fn write_again(&mut self, key: AuthKey, asked: Asked) {
        let Some(value) = self.table.get(&key).and_then(|pair| pair.proof) else {
            return;
        };
        match self.insert(key, &value, asked) {
            Ok(()) => self.parking.release(&key),
            Err(error) if error.is_missing() => {}
            Err(error) => {
                self.unwritten(key, &error, asked);
            }
        }
    }

    /// False: it may still be there.
    pub(super) fn remove(&mut self, key: AuthKey) -> bool {
        let removed = self.store.remove(&key);
        let gone = removed.as_ref().map_or_else(AuthError::is_missing, |()| true);
        self.room.freed();
        match removed {
            Ok(()) => tracing::debug!(
                pair.local = key.local.0,
                pair.remote = key.remote.0,
                peer.node = key.node.0,
                "proof deleted"
            ),
            Err(error) if error.is_missing() => {}
            // The next reconciliation finds it again.
            Err(error) => self.status.fail("auth", &anyhow::Error::from(error)),
        }
        gone
    }
}
