//! What a packet meets at a node, and what is written down of it.

use signet_abi::{CtValue, Direction, Flow, Metric, Reason, Signal};
use signet_datapath::{Hook, RunInput};
use signet_maps::{Connection, CounterName};

use super::Node;
use crate::support::scene::{DROP, INTERFACE, Origin, PASS, REDIRECT, hook};

impl Node {
    /// Judges a packet of the workload going `direction`: what became of it, and why. The counter and the action must
    /// agree.
    pub(crate) fn judge(&mut self, direction: Direction, packet: &[u8]) -> Reason {
        self.judge_from(Origin::NOWHERE, direction, packet)
    }

    /// The same for a packet of which more is known.
    pub(crate) fn judge_from(&mut self, origin: Origin, direction: Direction, packet: &[u8]) -> Reason {
        self.run_from(origin, hook(direction), direction, packet)
            .expect("the packet was counted")
    }

    /// Runs any hook, the uplink's on what has left the workload's interface; none if the packet was not counted.
    pub(crate) fn run(&mut self, hook: Hook, direction: Direction, packet: &[u8]) -> Option<Reason> {
        self.run_from(Origin::usual(hook), hook, direction, packet)
    }

    /// The same for a packet from elsewhere.
    pub(crate) fn run_from(
        &mut self,
        origin: Origin,
        hook: Hook,
        direction: Direction,
        packet: &[u8],
    ) -> Option<Reason> {
        let before = self.reasons(direction);
        let action = self.act_from(origin, hook, packet).0;
        let after = self.reasons(direction);
        let mut counted = after
            .iter()
            .zip(&before)
            .filter(|(after, before)| after.1 != before.1)
            .map(|(after, before)| {
                assert_eq!(after.1 - before.1, 1, "{:?} was counted more than once", after.0);
                after.0
            });
        let reason = counted.next();
        assert_eq!(counted.next(), None, "one packet, two reasons");
        let expected = match reason {
            Some(Reason::Parked | Reason::Encrypted) => REDIRECT,
            Some(reason) if !reason.passed() => DROP,
            Some(_) | None => PASS,
        };
        assert_eq!(action, expected, "{reason:?}");
        reason
    }

    fn reasons(&self, direction: Direction) -> Vec<(Reason, u64)> {
        Reason::ALL
            .into_iter()
            .map(|reason| {
                (
                    reason,
                    self.metrics
                        .get(CounterName::Reason(reason), direction)
                        .unwrap()
                        .packets,
                )
            })
            .collect()
    }

    pub(crate) fn counter(&self, metric: Metric, direction: Direction) -> u64 {
        self.metrics
            .get(CounterName::Metric(metric), direction)
            .unwrap()
            .packets
    }

    /// Action and mark.
    pub(crate) fn act(&mut self, hook: Hook, packet: &[u8], mark: u32) -> (i32, u32) {
        let origin = Origin {
            mark,
            ..Origin::NOWHERE
        };
        self.act_from(origin, hook, packet)
    }

    /// The packet as the hook leaves it.
    pub(crate) fn output(&mut self, hook: Hook, packet: &[u8]) -> Vec<u8> {
        let input = RunInput {
            packet,
            mark: 0,
            received_by: 0,
            ifindex: INTERFACE,
            repeat: 1,
        };
        self.datapath.transform(hook, input).unwrap().1
    }

    fn act_from(&mut self, origin: Origin, hook: Hook, packet: &[u8]) -> (i32, u32) {
        let run = self
            .datapath
            .run(
                hook,
                RunInput {
                    packet,
                    mark: origin.mark,
                    received_by: origin.received_by,
                    ifindex: INTERFACE,
                    repeat: 1,
                },
            )
            .unwrap();
        (run.action, run.mark)
    }

    pub(crate) fn signals(&mut self) -> Vec<Signal> {
        drain(|| self.signals.take_ready())
    }

    pub(crate) fn flows(&mut self) -> Vec<Flow> {
        drain(|| self.flows.take_ready())
    }

    /// The one connection that is tracked.
    pub(crate) fn connection(&self) -> Connection {
        let connections = self.connections.entries().unwrap();
        assert_eq!(connections.len(), 1, "{connections:?}");
        connections[0]
    }

    /// Changes what is remembered of every connection.
    pub(crate) fn rewrite_connections(&mut self, change: impl Fn(&mut CtValue)) {
        for (key, mut value) in self.connections.v4.entries().unwrap() {
            change(&mut value);
            self.connections.v4.insert(&key, &value).unwrap();
        }
        for (key, mut value) in self.connections.v6.entries().unwrap() {
            change(&mut value);
            self.connections.v6.insert(&key, &value).unwrap();
        }
    }
}

fn drain<R>(mut take: impl FnMut() -> Vec<R>) -> Vec<R> {
    let mut all = Vec::new();
    loop {
        let batch = take();
        if batch.is_empty() {
            return all;
        }
        all.extend(batch);
    }
}
