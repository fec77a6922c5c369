//! Proofs ahead of traffic: what `pairs/actor/ahead.rs` of the daemon does.

use signet_abi::AuthKey;
use signet_pairs::{Decision, ProveError, Refusal};
use signet_preauth::{Bounds, Cause, Demand, End, Next, Planner, Standing};

use crate::agent::Agent;
use crate::context::{Context, SECOND};

/// What policies and endpoints make possible is looked at anew this often at most.
const REPLAN: u64 = SECOND / 5;
/// What was used lately is put first this often.
const REORDER: u64 = 300 * SECOND;
/// Connections are looked at, and what was used is written down, this often. The daemon does both once a minute.
const SAVE: u64 = 5 * SECOND;

/// The planner, and when to ask it again.
#[derive(Debug)]
pub(crate) struct Ahead {
    pub(crate) bounds: Bounds,
    planner: Planner,
    /// Nothing before signet-meshd has said something.
    demand: Option<Demand>,
    is_stale: bool,
    planned: Option<u64>,
    reordered: u64,
    pub(crate) due: Option<u64>,
    saved: u64,
    /// What an earlier life has kept, the pair that was used last first.
    earlier: Vec<AuthKey>,
}

impl Ahead {
    pub(crate) fn new(bounds: Bounds, earlier: Vec<AuthKey>, context: &mut Context<'_>) -> Self {
        Self {
            bounds,
            planner: Planner::new(bounds, context.dice.roll()),
            demand: None,
            is_stale: true,
            planned: None,
            reordered: context.at(),
            due: None,
            saved: context.at(),
            earlier,
        }
    }

    fn recall(&mut self) {
        for (key, at) in std::mem::take(&mut self.earlier).into_iter().rev().zip(1..) {
            self.planner.used(key, at);
        }
    }
}

impl Agent {
    /// signet-meshd says what policies and endpoints make possible.
    pub fn on_demand(&mut self, demand: Demand, context: &mut Context<'_>) {
        if let Some(ahead) = &mut self.ahead
            && ahead.demand.as_ref() != Some(&demand)
        {
            ahead.demand = Some(demand);
            ahead.is_stale = true;
            self.go_ahead(context);
        }
    }

    /// Something has changed here: what could not be proven may be possible now.
    pub(crate) fn wake_ahead(&mut self, context: &mut Context<'_>) {
        if let Some(ahead) = &mut self.ahead {
            ahead.planner.wake();
        }
        self.go_ahead(context);
    }

    /// Something has changed that failures may have been due to.
    pub(crate) fn relent_ahead(&mut self, context: &mut Context<'_>) {
        if let Some(ahead) = &mut self.ahead {
            ahead.planner.relent(context.boot(), || context.dice.roll());
        }
    }

    /// Proofs may have gone.
    pub(crate) fn look_ahead(&mut self) {
        if let Some(ahead) = &mut self.ahead {
            ahead.planner.look();
        }
    }

    /// A packet of the pair asked for a proof.
    pub(crate) fn used(&mut self, key: AuthKey, at: u64) {
        if let Some(ahead) = &mut self.ahead {
            ahead.planner.used(key, at);
        }
    }

    /// A handshake is over, and its proof written unless there was an `error`.
    pub(crate) fn ended_ahead(
        &mut self,
        key: AuthKey,
        error: Option<&ProveError>,
        context: &mut Context<'_>,
    ) {
        let end = error.map_or(End::Proven, |error| End::Failed(cause(error)));
        self.put_back(key, end, context);
    }

    /// At every tick.
    pub(crate) fn tick_ahead(&mut self, context: &mut Context<'_>) {
        let at = context.at();
        if let Some(ahead) = &mut self.ahead {
            if ahead.reordered + REORDER <= at {
                ahead.reordered = at;
                ahead.planner.reorder();
            }
            if ahead.saved + SAVE <= at && ahead.earlier.is_empty() {
                ahead.saved = at;
                for key in std::mem::take(&mut context.kernel.used) {
                    ahead.planner.used(key, context.boot());
                }
                let used: Vec<AuthKey> = ahead.planner.recency().latest().copied().collect();
                if !used.is_empty() {
                    self.estate.used = used;
                }
            }
        }
        self.go_ahead(context);
    }

    /// Begins what may begin now.
    pub(crate) fn go_ahead(&mut self, context: &mut Context<'_>) {
        while let Some(key) = self.next_ahead(context) {
            match self.table.ahead(key, context.boot()) {
                Decision::Start => {
                    let (at, own) = (context.at(), self.own);
                    if let Some(ahead) = &self.ahead {
                        context.truth.begins_ahead(at, own, key, &ahead.bounds);
                    }
                    self.launch(key, context);
                }
                Decision::Joined | Decision::Proven => self.put_back(key, End::Taken, context),
                Decision::Refused(Refusal::Busy | Refusal::Backoff | Refusal::NoRoom) => {
                    self.put_back(key, End::Deferred, context);
                }
            }
        }
    }

    /// Handshakes that were begun ahead and are under way.
    pub(crate) fn ahead_in_flight(&self, now: u64) -> usize {
        let ahead = self.ahead.as_ref();
        ahead.map_or(0, |ahead| ahead.planner.fill(now).in_flight)
    }

    fn put_back(&mut self, key: AuthKey, end: End, context: &mut Context<'_>) {
        if let Some(ahead) = &mut self.ahead {
            let random = context.dice.roll();
            ahead.planner.ended(key, end, context.boot(), random);
        }
    }

    fn next_ahead(&mut self, context: &mut Context<'_>) -> Option<AuthKey> {
        let mut ahead = self.ahead.take()?;
        let key = self.ask_ahead(&mut ahead, context);
        self.ahead = Some(ahead);
        key
    }

    fn ask_ahead(&self, ahead: &mut Ahead, context: &Context<'_>) -> Option<AuthKey> {
        let (now, at) = (context.boot(), context.at());
        ahead.due = None;
        if ahead.is_stale {
            let may = ahead.planned.map_or(at, |planned| planned + REPLAN);
            if may > at {
                ahead.due = Some(may);
                return None;
            }
            let demand = ahead.demand.clone()?;
            ahead.recall();
            ahead.planner.demand(demand, now);
            ahead.is_stale = false;
            ahead.planned = Some(at);
        }
        let contacts = self.table.has_contacts(&self.lot.waiting(), now);
        let standing = |key: &AuthKey| {
            if self.waiting.holds(key) || self.table.is_settled(key, now) {
                Standing::Settled
            } else if self.resolve(key).is_ok() {
                Standing::Lacking
            } else {
                Standing::Impossible
            }
        };
        match ahead.planner.next(now, contacts, standing) {
            Next::Start(key) => Some(key),
            Next::At(due) => {
                ahead.due = Some(at + due.saturating_sub(now));
                None
            }
            Next::Nothing => None,
        }
    }
}

/// When such a failure is worth another attempt.
fn cause(error: &ProveError) -> Cause {
    match error {
        ProveError::NoSession { .. } | ProveError::SessionLost | ProveError::Deadline => Cause::Unreachable,
        _ if error.is_final() => Cause::Never,
        ProveError::UnknownIdentity(_)
        | ProveError::UnknownNode(_)
        | ProveError::NoView
        | ProveError::NotThere { .. }
        | ProveError::Revoked(_)
        | ProveError::SeveralIds(_)
        | ProveError::NoEndpoint
        | ProveError::NoSvid
        | ProveError::Busy
        | ProveError::Refused { .. }
        | ProveError::Handshake(_)
        | ProveError::Fault
        | ProveError::NoRoom { .. }
        | ProveError::Auth(_) => Cause::NotYet,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::agent::Tuning;
    use crate::names::{identity, node, own_address, workload};
    use crate::network::Latency;
    use crate::rules::Rule;
    use crate::world::{Setup, World};

    const OTHERS: [u32; 6] = [3, 1, 5, 2, 6, 4];

    /// Workload 0 on node 1, all others on node 2, and a proof is asked of what they send to it alone.
    fn world(bounds: Bounds) -> World {
        let setup = Setup {
            nodes: 2,
            workloads: 7,
            life: Duration::from_hours(1),
            latency: Latency {
                least: Duration::from_micros(100),
                most: Duration::from_millis(1),
                late: 0,
            },
            talk: None,
            checks: true,
            tuning: Tuning {
                ahead: Some(bounds),
                ..Tuning::default()
            },
        };
        let mut world = World::new(setup, 1, |on, number| (on == 1) == (number == 0));
        for from in 0..7 {
            for to in 0..7 {
                let rule = if to == 0 && from != 0 {
                    Rule::Required
                } else {
                    Rule::Open
                };
                world.rule(from, to, rule);
            }
        }
        for number in 0..7 {
            let on = node(if number == 0 { 1 } else { 2 });
            world.own(at(number), Some((on, workload(number))));
        }
        world
    }

    fn at(number: u32) -> std::net::IpAddr {
        let on = node(if number == 0 { 1 } else { 2 });
        own_address(on, u8::try_from(number).unwrap_or(0))
    }

    fn is_well(world: &World) {
        assert_eq!(world.violations(), Vec::<String>::new());
    }

    #[test]
    fn what_policies_make_possible_is_proven_before_its_first_packet() {
        let mut world = world(Bounds::default());
        world.run(Duration::from_secs(10));
        for number in OTHERS {
            world.send(at(number), at(0));
        }
        world.run(Duration::from_secs(1));
        is_well(&world);
        let counts = world.counts();
        assert_eq!(
            (counts.passed, counts.unproven, counts.unleased),
            (6, 0, 0),
            "{counts:?}"
        );
        assert_eq!(world.truth.foresight().begun(node(1)).len(), 6);
        assert_eq!(
            world.truth.foresight().begun(node(2)),
            Vec::new(),
            "its rules ask for nothing"
        );
    }

    #[test]
    fn what_was_proven_with_a_node_that_was_rebooted_is_proven_again_before_its_packets() {
        let mut world = world(Bounds::default());
        world.run(Duration::from_secs(10));
        world.power_off(node(2));
        world.run(Duration::from_secs(1));
        world.power_on(node(2));
        world.run(Duration::from_secs(10));
        for number in OTHERS {
            world.send(at(number), at(0));
        }
        world.run(Duration::from_secs(1));
        is_well(&world);
        let counts = world.counts();
        assert_eq!(
            (counts.passed, counts.unproven, counts.unleased),
            (6, 0, 0),
            "{counts:?}"
        );
    }

    #[test]
    fn what_was_used_last_is_proven_first_after_a_reboot_and_no_faster_than_it_may() {
        let mut world = world(Bounds {
            in_flight: 1,
            burst: 1,
            ..Bounds::default()
        });
        world.run(Duration::from_secs(10));
        for number in OTHERS {
            world.send(at(number), at(0));
            // Long enough for a look at what was used.
            world.run(Duration::from_secs(7));
        }
        world.power_off(node(1));
        world.run(Duration::from_secs(1));
        world.power_on(node(1));
        world.run(Duration::from_secs(20));
        is_well(&world);
        let begun = world.truth.foresight().begun(node(1));
        let remotes: Vec<_> = begun.iter().map(|key| key.remote).collect();
        let expected: Vec<_> = OTHERS.into_iter().rev().map(identity).collect();
        assert_eq!(remotes, expected);
    }
}
