//! The agent's process on a node: how it starts and ends, and what it is let do.

use std::time::Duration;

use signet_session::NodeNumber;

use crate::agenda::{Event, nanos};
use crate::agent::{Agent, Estate};
use crate::context::Context;
use crate::world::World;

/// A node, as its process is there or not.
struct Seat<'a> {
    agent: &'a mut Option<Agent>,
    estate: &'a mut Option<Estate>,
    wake_at: &'a mut u64,
    may_run: bool,
    context: Context<'a>,
}

impl World {
    fn seat(&mut self, on: NodeNumber) -> Option<Seat<'_>> {
        let host = self.hosts.get_mut(&on)?;
        Some(Seat {
            may_run: host.may_run(),
            agent: &mut host.agent,
            estate: &mut host.estate,
            wake_at: &mut host.wake_at,
            context: Context {
                agenda: &mut self.agenda,
                network: &mut self.network,
                dice: &mut self.dice,
                kernel: &mut host.kernel,
                truth: &mut self.truth,
                traffic: &mut host.traffic,
                clocks: host.clocks,
                returned: Vec::new(),
            },
        })
    }

    /// Lets an agent do something; what it gives back to the kernel is judged after.
    pub(crate) fn with<R>(
        &mut self,
        on: NodeNumber,
        act: impl FnOnce(&mut Agent, &mut Context<'_>) -> R,
    ) -> Option<R> {
        let mut seat = self.seat(on)?;
        let agent = seat.agent.as_mut()?;
        let context = &mut seat.context;
        let result = act(agent, context);
        let returned = std::mem::take(&mut context.returned);
        let due = agent.deadline(context).max(context.at() + 1);
        if due < *seat.wake_at {
            *seat.wake_at = due;
            context.agenda.at(due, Event::Wake(on));
        }
        for frame in returned {
            self.give_back(on, &frame);
        }
        Some(result)
    }

    /// An agent starts, if it may.
    pub(crate) fn start(&mut self, on: NodeNumber) {
        let tuning = self.setup.tuning;
        let Some(mut seat) = self.seat(on).filter(|seat| seat.may_run) else {
            return;
        };
        let Some(estate) = seat.estate.take() else { return };
        *seat.agent = Some(Agent::start(on, estate, tuning, &mut seat.context));
        *seat.wake_at = u64::MAX;
        self.with(on, |_, _| {});
        let soon = self.dice.between(1, nanos(Duration::from_millis(200)));
        let now = self.now();
        self.agenda.at(now + soon, Event::View(on));
        self.agenda.at(now + soon, Event::Endpoints(on));
        self.agenda.at(now + soon, Event::Rules(on));
        self.request_svids(on);
    }

    /// The agent's process ends.
    pub(crate) fn stop(&mut self, on: NodeNumber) {
        let Some(mut seat) = self.seat(on) else { return };
        let Some(agent) = seat.agent.take() else { return };
        *seat.estate = Some(agent.stop(&mut seat.context));
        *seat.wake_at = u64::MAX;
        self.truth.stopped(on);
    }
}
