//! What is looked at after each step.

use signet_abi::AuthKey;
use signet_session::{Limits, NodeNumber};

use crate::agent::{Agent, boot_of};
use crate::host::Host;
use crate::world::World;

impl World {
    /// Whether what a node believes is what it may.
    pub(crate) fn look_at(&mut self, on: NodeNumber) {
        let at = self.agenda.now();
        let is_looked_at = |host: &&Host| self.setup.checks && !host.banned && !host.lies;
        let Some(host) = self.hosts.get(&on).filter(is_looked_at) else {
            return;
        };
        let Some(agent) = &host.agent else { return };
        let boot = host.clocks.boot(at);
        let mut wrong = Vec::new();
        let is_wrong = |key: &AuthKey| self.truth.is_proven(on, key, at, Some(&agent.estate.view)).err();
        for (key, value) in &host.kernel.auth {
            if value.is_live(boot)
                && let Some(reason) = is_wrong(key)
            {
                wrong.push(format!("node {on} has a proof of {key:?}: {reason}"));
            }
        }
        // Who has met a node in another life of its kernel has nothing left of the last one.
        for key in host.kernel.auth.keys() {
            let Some((peer, other)) =
                NodeNumber::new(key.node.0).and_then(|node| Some((node, self.hosts.get(&node)?)))
            else {
                continue;
            };
            let booted = other.clocks.booted;
            let is_met = agent.met.get(&peer) == Some(&boot_of(peer, booted));
            let at = self.truth.proven_at(on, key);
            if is_met && at.is_some_and(|at| at < booted && at >= agent.since) {
                wrong.push(format!(
                    "node {on} has a proof of {key:?} of another life of that node's kernel"
                ));
            }
        }
        for node in host.kernel.ends.keys() {
            if !agent
                .estate
                .view
                .nodes
                .iter()
                .any(|member| member.get() == node.0.0)
            {
                wrong.push(format!("node {on} believes node {}, which is none", node.0.0));
            }
        }
        wrong.extend(
            agent
                .is_bounded(boot)
                .err()
                .map(|reason| format!("node {on}: {reason}")),
        );
        for what in wrong {
            self.truth.violated(what);
        }
        self.truth.look_at_parking(on, at, &self.setup.tuning.parking);
    }
}

impl Agent {
    /// All that grows must have an end: what is there of what peers can cause.
    pub fn is_bounded(&self, now: u64) -> Result<(), String> {
        let limits = Limits::default();
        for (peer, state) in &self.peers {
            let Some(live) = &state.up else { continue };
            let (open, yielded) = live.flights.len();
            let most = limits.own_handshakes + limits.peer_handshakes;
            if open > most || yielded > limits.own_handshakes {
                return Err(format!(
                    "{open} handshakes open, {yielded} yielded, with node {peer}"
                ));
            }
        }
        let fill = self.lot.fill();
        let bounds = &self.tuning.parking;
        if fill.packets > bounds.packets || fill.bytes > bounds.bytes {
            return Err(format!("{fill:?} parked"));
        }
        if let Some(ahead) = self.ahead.as_ref().map(|ahead| ahead.bounds) {
            let in_flight = self.ahead_in_flight(now);
            if in_flight > ahead.in_flight {
                return Err(format!("{in_flight} handshakes ahead"));
            }
        }
        if self.attempts.len() > signet_pairs::Bounds::default().in_flight {
            return Err(format!("{} attempts", self.attempts.len()));
        }
        Ok(())
    }
}
