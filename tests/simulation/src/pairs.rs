//! An agent's pairs: what `pairs/actor` of the daemon does with tasks.

use std::sync::Arc;

use signet_abi::{AuthKey, NodeId};
use signet_handshake::Proof;
use signet_pairs::{Decision, Effects, Judge as _, Kind, Made, Moment, ProveError, Ready, Refusal};
use signet_session::NodeNumber;
use signet_spiffe::SpiffeId;
use signet_tls::BundleSource;

use crate::agent::{Agent, Local};
use crate::context::{Context, SECOND};
use crate::names::node_id;
use crate::sessions::Dialing;

/// From the request to the proof.
const DEADLINE: u64 = 10 * SECOND;

/// A handshake that was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    pub(crate) deadline: u64,
    peer: NodeNumber,
    flies: bool,
    again: bool,
}

/// Why the kernel signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// A proof lacks.
    Proof,
    /// A lease lacks.
    Lease,
}

impl Agent {
    /// The kernel tells that a packet lacks something.
    pub fn on_signal(&mut self, key: AuthKey, signal: Signal, context: &mut Context<'_>) {
        match signal {
            Signal::Lease => {
                if let Some(node) = NodeNumber::new(key.node.0).filter(|node| *node != self.own) {
                    self.demand(node, context);
                }
            }
            Signal::Proof => {
                self.used(key, context.boot());
                match self.request(key, context) {
                    Decision::Start | Decision::Joined => {}
                    Decision::Proven => self.rewrite(key, context),
                    Decision::Refused(_) => {
                        if self.table.is_refused(&key) {
                            self.refuse_parked(&key, context);
                        }
                    }
                }
            }
        }
    }

    fn request(&mut self, key: AuthKey, context: &mut Context<'_>) -> Decision {
        let now = context.boot();
        let decision = self.table.request(key, now, now);
        if decision == Decision::Start {
            self.launch(key, context);
        }
        decision
    }

    /// Runs the handshake of a pair that the table has put in flight.
    pub(crate) fn launch(&mut self, key: AuthKey, context: &mut Context<'_>) {
        let Some(peer) = NodeNumber::new(key.node.0) else {
            return;
        };
        let resolved = self.resolve(&key);
        match resolved {
            Err(error) => self.on_landed(key, Err(error), context),
            Ok(()) if peer == self.own => self.prove_here(key, context),
            Ok(()) => {
                let attempt = Attempt {
                    deadline: context.at() + DEADLINE,
                    peer,
                    flies: false,
                    again: false,
                };
                self.attempts.insert(key, attempt);
                self.seek(peer, context);
            }
        }
    }

    fn seek(&mut self, peer: NodeNumber, context: &mut Context<'_>) {
        self.demand(peer, context);
        let failing = self
            .peers
            .get(&peer)
            .is_none_or(|state| state.up.is_none() && matches!(state.dialing, Dialing::Backoff(_)));
        if failing {
            self.no_session(peer, context);
        } else {
            self.fly(peer, context);
        }
    }

    /// Both ends of every handshake with a node that waits for the session with it.
    pub(crate) fn fly(&mut self, peer: NodeNumber, context: &mut Context<'_>) {
        let keys: Vec<AuthKey> = self
            .attempts
            .iter()
            .filter(|(_, attempt)| attempt.peer == peer && !attempt.flies)
            .map(|(key, _)| *key)
            .collect();
        let now = context.now();
        for key in keys {
            let Some((local, remote)) = self.ids(&key) else {
                continue;
            };
            let credentials = self.estate.svids.get(&local).cloned();
            let Some(live) = self.peers.get_mut(&peer).and_then(|state| state.up.as_mut()) else {
                return;
            };
            let Some(credentials) = credentials else {
                self.attempts.remove(&key);
                self.on_landed(key, Err(ProveError::NoSvid), context);
                continue;
            };
            let effects = live
                .flights
                .start(&mut live.session, credentials, remote, key, now);
            if let Some(attempt) = self.attempts.get_mut(&key) {
                attempt.flies = true;
            }
            if let Err(reason) = self.on_flights(peer, effects, context) {
                return self.end(peer, &reason, context);
            }
        }
    }

    fn prove_here(&mut self, key: AuthKey, context: &mut Context<'_>) {
        let Some((local, remote)) = self.ids(&key) else {
            return;
        };
        let svids = (self.estate.svids.get(&local), self.estate.svids.get(&remote));
        let (Some(local), Some(remote)) = svids else {
            return self.on_landed(key, Err(ProveError::NoSvid), context);
        };
        let bundles: Arc<dyn BundleSource> = self.bundles.clone();
        let exporter = context.dice.bytes();
        let proven = signet_pairs::prove_local(
            (local, remote),
            &node_id(self.own),
            exporter,
            &bundles,
            context.now(),
        );
        match proven {
            Ok((proof, mirrored)) => {
                let mirror = AuthKey {
                    local: key.remote,
                    remote: key.local,
                    node: key.node,
                };
                self.write(
                    Ready {
                        key,
                        proof,
                        ours: true,
                    },
                    context,
                );
                if mirror != key {
                    let ready = Ready {
                        key: mirror,
                        proof: mirrored,
                        ours: false,
                    };
                    self.write(ready, context);
                }
                self.prove_waiting(context);
            }
            Err(error) => self.on_landed(key, Err(error.into()), context),
        }
    }

    /// What came of a step of a session's handshakes.
    pub(crate) fn on_flights(
        &mut self,
        peer: NodeNumber,
        effects: Effects<AuthKey>,
        context: &mut Context<'_>,
    ) -> Result<(), String> {
        let Effects {
            messages,
            proofs,
            answers,
            refused: _,
        } = effects;
        let sent = self.send_all(peer, &messages, context);
        for (key, result) in answers {
            match result {
                Ok(proof) => {
                    let ours = self.attempts.remove(&key).is_some();
                    self.enter(key, proof, ours, context);
                    self.prove_waiting(context);
                }
                Err(error) if error.is_transient() => self.lost(key, context),
                Err(error) => {
                    if self.attempts.remove(&key).is_some() {
                        self.on_landed(key, Err(error), context);
                    }
                }
            }
        }
        for proof in proofs {
            let view = &self.estate.view;
            let pair = (
                view.identities.get(proof.local()).copied(),
                view.identities.get(proof.remote()).copied(),
            );
            if let (Some(local), Some(remote)) = pair {
                let key = AuthKey {
                    local,
                    remote,
                    node: NodeId(peer.get()),
                };
                self.enter(key, proof, false, context);
            }
        }
        sent
    }

    /// The session of a handshake has gone: it is tried once more.
    pub(crate) fn lost(&mut self, key: AuthKey, context: &mut Context<'_>) {
        let Some(attempt) = self.attempts.get_mut(&key) else {
            return;
        };
        if std::mem::replace(&mut attempt.again, true) {
            self.attempts.remove(&key);
            return self.on_landed(key, Err(ProveError::SessionLost), context);
        }
        attempt.flies = false;
        let peer = attempt.peer;
        self.seek(peer, context);
    }

    /// There is no way to a node.
    pub(crate) fn no_session(&mut self, peer: NodeNumber, context: &mut Context<'_>) {
        let keys: Vec<AuthKey> = self
            .attempts
            .iter()
            .filter(|(_, attempt)| attempt.peer == peer && !attempt.flies)
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            self.attempts.remove(&key);
            let error = ProveError::NoSession {
                node: peer.to_string(),
                reason: "simulated".to_owned(),
            };
            self.on_landed(key, Err(error), context);
        }
    }

    fn on_landed(&mut self, key: AuthKey, result: Result<Proof, ProveError>, context: &mut Context<'_>) {
        match result {
            Ok(proof) => self.enter(key, proof, true, context),
            Err(error) => {
                self.ended_ahead(key, Some(&error), context);
                let kind = self.table.kind(&key);
                let (now, random) = (context.boot(), context.dice.roll());
                self.table.failed(key, error.to_string(), now, random);
                if error.is_final() && kind != Some(Kind::Ahead) {
                    self.table.refuse(&key);
                    self.refuse_parked(&key, context);
                }
            }
        }
        self.prove_waiting(context);
        self.go_ahead(context);
    }

    fn prove_waiting(&mut self, context: &mut Context<'_>) {
        for key in self.lot.waiting() {
            match self.request(key, context) {
                Decision::Start
                | Decision::Joined
                | Decision::Refused(Refusal::Backoff | Refusal::NoRoom) => {}
                Decision::Proven => self.rewrite(key, context),
                Decision::Refused(Refusal::Busy) => return,
            }
        }
    }

    fn enter(&mut self, key: AuthKey, proof: Proof, ours: bool, context: &mut Context<'_>) {
        let ready = Ready { key, proof, ours };
        let is_leased = self.is_leased(&key, context.boot());
        if let Some(ready) = self.waiting.enter(ready, is_leased, context.now().clock) {
            self.write(ready, context);
        }
    }

    /// Leases have come, or it is time.
    pub(crate) fn on_leases(&mut self, context: &mut Context<'_>) {
        if self.waiting.is_empty() {
            return;
        }
        let boot = context.boot();
        let mut waiting = std::mem::take(&mut self.waiting);
        let ready = waiting.ready(context.now().clock, |key| self.is_leased(key, boot));
        self.waiting = waiting;
        for ready in ready {
            self.write(ready, context);
        }
    }

    fn is_leased(&self, key: &AuthKey, boot: u64) -> bool {
        key.node == self.own_id() || self.book.covers(key.node, key.remote, boot)
    }

    fn write(&mut self, ready: Ready, context: &mut Context<'_>) {
        let Ready { key, proof, ours } = ready;
        let made = Made {
            not_after: context.clocks.boot_of(proof.not_after()),
            of: Some(proof.svids().map(Clone::clone)),
        };
        let at = Moment {
            now: context.boot(),
            random: context.dice.roll(),
        };
        let judge = Local {
            own: self.own,
            estate: &self.estate,
            endpoints: self.endpoints.as_ref(),
        };
        let entered = self.table.enter(key, made, ours, &judge, at);
        if ours {
            self.ended_ahead(key, entered.as_ref().err(), context);
        }
        let Ok(value) = entered else {
            return self.refuse_parked(&key, context);
        };
        context.kernel.auth.insert(key, value);
        context.traffic.proofs += 1;
        let (at, wall) = (context.at(), context.clocks.wall(context.at()));
        context.truth.proven(at, wall, self.own, key, &proof);
        self.release(&key, context);
    }

    fn rewrite(&mut self, key: AuthKey, context: &mut Context<'_>) {
        if let Some(value) = self.table.get(&key).and_then(|pair| pair.proof) {
            context.kernel.auth.insert(key, value);
            self.release(&key, context);
        }
    }

    /// Takes back proofs that rest on something revoked.
    pub(crate) fn take_back(&mut self, context: &mut Context<'_>) {
        let judge = Local {
            own: self.own,
            estate: &self.estate,
            endpoints: self.endpoints.as_ref(),
        };
        let gone = self.table.revoke(context.boot(), |key, pair| {
            judge.revoked(key, pair.made_of.as_ref().map(|[local, remote]| [local, remote]))
        });
        for key in gone {
            context.kernel.auth.remove(&key);
        }
        self.look_ahead();
        self.estate.settled = self.estate.view.version;
    }

    /// A node's kernel is another one than before.
    pub(crate) fn void(&mut self, peer: NodeNumber, context: &mut Context<'_>) {
        const WHY: &str = "the other node was rebooted";
        let (now, node) = (context.boot(), NodeId(peer.get()));
        for key in self.waiting.void(node) {
            self.ended_ahead(key, Some(&ProveError::SessionLost), context);
            let random = context.dice.roll();
            self.table.failed(key, WHY.to_owned(), now, random);
        }
        let gone = self
            .table
            .revoke(now, |key, _| (key.node == node).then(|| WHY.to_owned()));
        for key in gone {
            context.kernel.auth.remove(&key);
        }
        self.look_ahead();
    }

    /// Deletes what has expired, and what cannot be any more if `changed` says that something may have.
    pub(crate) fn sweep(&mut self, changed: bool, context: &mut Context<'_>) {
        let judge = Local {
            own: self.own,
            estate: &self.estate,
            endpoints: self.endpoints.as_ref(),
        };
        let gone = self
            .table
            .sweep(context.boot(), |key| !changed || judge.is_possible(key));
        if !gone.is_empty() {
            self.look_ahead();
        }
        for key in gone {
            context.kernel.auth.remove(&key);
        }
    }

    /// Makes the kernel's map what it should be.
    pub(crate) fn reconcile(&mut self, context: &mut Context<'_>) {
        let table = &self.table;
        let is_known = |key: &AuthKey| table.get(key).is_some_and(|pair| pair.proof.is_some());
        context.kernel.auth.retain(|key, _| is_known(key));
        for (key, value) in table.proofs() {
            context.kernel.auth.insert(key, value);
        }
        self.look_ahead();
    }

    /// What the time asks of pairs.
    pub(crate) fn tick_pairs(&mut self, context: &mut Context<'_>) {
        let at = context.at();
        let late: Vec<AuthKey> = self
            .attempts
            .iter()
            .filter(|(_, attempt)| attempt.deadline <= at)
            .map(|(key, _)| *key)
            .collect();
        for key in late {
            self.attempts.remove(&key);
            self.on_landed(key, Err(ProveError::Deadline), context);
        }
        self.on_leases(context);
    }

    /// Whoever has proofs with a node keeps the session with it.
    pub(crate) fn keep_sessions(&mut self, context: &mut Context<'_>) {
        let own = self.own;
        self.kept = self
            .table
            .proofs()
            .filter_map(|(key, _)| NodeNumber::new(key.node.0))
            .filter(|node| *node != own)
            .collect();
        for node in self.kept.clone() {
            self.demand(node, context);
        }
    }

    pub(crate) fn resolve(&self, key: &AuthKey) -> Result<(), ProveError> {
        let view = &self.estate.view;
        let (local, remote) = self.ids(key).ok_or(ProveError::UnknownIdentity(key.remote.0))?;
        let node = NodeNumber::new(key.node.0)
            .filter(|node| view.nodes.contains(node))
            .ok_or(ProveError::UnknownNode(key.node.0))?;
        let lives = |id: &SpiffeId| {
            self.endpoints
                .as_ref()
                .is_some_and(|endpoints| endpoints.values().any(|its| its == id))
        };
        if !lives(&local) || !view.is_on(self.own, &local) {
            return Err(ProveError::NoEndpoint);
        }
        let there = if node == self.own {
            lives(&remote) && view.is_on(node, &remote)
        } else {
            view.is_on(node, &remote)
        };
        if !there {
            return Err(ProveError::NoEndpoint);
        }
        self.estate.svids.get(&local).map(drop).ok_or(ProveError::NoSvid)
    }

    fn ids(&self, key: &AuthKey) -> Option<(SpiffeId, SpiffeId)> {
        let view = &self.estate.view;
        Some((
            view.ids.get(&key.local)?.clone(),
            view.ids.get(&key.remote)?.clone(),
        ))
    }
}
