//! Brings the kernel to where it should be, again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use signet_endpoints::{
    Desired, Ifindex, Inputs, InterfaceName, KernelState, Problem, Step, Workload, finish, plan,
};
use signet_maps::MapError;
use signet_source::{Set, Snapshot, Source};
use signet_spiffe::NodeName;
use tokio::sync::watch;
use tokio::task::block_in_place;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use crate::agent::AgentView;
use crate::attach::{Attached, Attacher, chain};
use crate::kernel::Kernel;
use crate::known::Known;
use crate::links::Links;
use crate::namespaces::Namespaces;

/// How often everything is compared with the kernel without a reason.
const RECHECK: Duration = Duration::from_mins(1);
/// How soon something is tried again that failed.
const RETRY: Duration = Duration::from_secs(1);
/// How soon a network namespace that was deleted is let go.
const NAMESPACES: Duration = Duration::from_secs(2);
/// How often it is told that whoever would see a change still looks.
const BEAT: Duration = Duration::from_secs(1);
/// Longer than any program runs that began before a write.
const SETTLE: Duration = Duration::from_millis(20);

/// Where changes come from.
pub(crate) struct Changes<S> {
    pub(crate) source: S,
    pub(crate) agent: watch::Receiver<AgentView>,
    pub(crate) links: watch::Receiver<Option<Arc<Links>>>,
}

/// The one that writes.
pub(crate) struct Reconciler {
    node: NodeName,
    attacher: Attacher,
    kernel: Kernel,
    /// What the maps hold; `None` if it has to be read.
    state: Option<KernelState>,
    snapshot: Arc<Snapshot>,
    namespaces: Namespaces,
    publish: watch::Sender<Arc<Known>>,
    /// Goes up while this runs and waits for changes.
    pulse: watch::Sender<u64>,
}

impl Reconciler {
    pub(crate) fn new(
        node: NodeName,
        attacher: Attacher,
        kernel: Kernel,
        publish: watch::Sender<Arc<Known>>,
        pulse: watch::Sender<u64>,
    ) -> Self {
        Self {
            node,
            attacher,
            kernel,
            state: None,
            snapshot: Arc::default(),
            namespaces: Namespaces::default(),
            publish,
            pulse,
        }
    }

    /// Runs until the source ends.
    pub(crate) async fn run(mut self, mut changes: Changes<impl Source>) {
        let mut next_recheck = Instant::now() + RECHECK;
        let mut look = interval(NAMESPACES);
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let agent = changes.agent.borrow_and_update().clone();
            let links = changes.links.borrow_and_update().clone();
            let failed = self.reconcile(&agent, links.as_deref()).await;
            let wake = if failed {
                next_recheck.min(Instant::now() + RETRY)
            } else {
                next_recheck
            };
            loop {
                tokio::select! {
                    snapshot = changes.source.changes() => match snapshot {
                        Some(snapshot) => self.snapshot = snapshot,
                        None => return,
                    },
                    Ok(()) = changes.agent.changed() => {}
                    Ok(()) = changes.links.changed() => {}
                    () = sleep_until(wake) => {
                        if Instant::now() >= next_recheck {
                            next_recheck = Instant::now() + RECHECK;
                            self.state = None;
                            self.attacher.recheck();
                        }
                    }
                    _ = beat.tick() => {
                        self.pulse.send_modify(|beats| *beats += 1);
                        continue;
                    }
                    _ = look.tick() => if self.namespaces.is_current() {
                        continue;
                    },
                }
                break;
            }
        }
    }

    /// One pass; whether something failed that should be tried again soon.
    async fn reconcile(&mut self, agent: &AgentView, links: Option<&Links>) -> bool {
        let snapshot = Arc::clone(&self.snapshot);
        let Some(links) = links else {
            self.publish(agent, |_| {});
            return false;
        };
        // Whatever else is missing: an interface that is attached to lets nothing pass by mistake.
        let set = snapshot.set.as_deref();
        let local: Vec<&Workload> = set
            .map_or(&*snapshot.found, Set::workloads)
            .iter()
            .filter(|workload| workload.node == self.node)
            .collect();
        let wanted: BTreeSet<InterfaceName> =
            local.iter().map(|workload| workload.interface.clone()).collect();
        let Attached {
            endpoints,
            parking,
            mut errors,
            list,
        } = block_in_place(|| self.attacher.attach(&wanted, &links.interfaces));
        let written = match set {
            None => self.finish().await.err().map(Err),
            // Without a view every workload would lose its identity, and what goes to other nodes its tunnel: what an
            // earlier run left is better, and if that was of another version, nothing is.
            Some(_) if self.attacher.has_past() && agent.view.is_none() => {
                let waiting = "waiting for signet-agent: what an earlier run has written stays as it is";
                errors.push(waiting.to_owned());
                self.finish().await.err().map(Err)
            }
            Some(set) => Some({
                // With nobody there who brings anything back, what lacks a proof is dropped as such.
                let parking = parking.filter(|_| links.parking_served);
                self.write(set, agent, links, &endpoints, parking).await
            }),
        };
        let (desired, failure) = match written {
            Some(Ok(desired)) => (Some(desired), None),
            Some(Err(error)) => (None, Some(error)),
            None => (None, None),
        };
        errors.extend(failure);
        let failed = !errors.is_empty();
        errors.extend(agent.error.clone());
        errors.extend(self.namespaces.hold(local.iter().copied()));
        let netns = self.namespaces.inodes();
        self.publish(agent, |known| {
            if let Some(desired) = desired {
                tell_beyond(&known.desired.problems, &desired.problems);
                known.desired = Arc::new(desired);
                known.complete |= agent.view.is_some();
            }
            known.netns = netns;
            known.attached = list;
            known.errors = errors;
        });
        failed
    }

    /// Works out what the maps should hold and writes what has changed; says what they hold now, or what was wrong.
    async fn write(
        &mut self,
        set: &Set,
        agent: &AgentView,
        links: &Links,
        interfaces: &BTreeMap<InterfaceName, Ifindex>,
        parking: Option<Ifindex>,
    ) -> Result<Desired, String> {
        let own_addresses: Vec<IpAddr> = links.addresses.iter().copied().collect();
        let desired = Desired::new(&Inputs {
            own: &self.node,
            view: agent.view.as_deref(),
            workloads: set.workloads(),
            policies: set.policies(),
            table: set.table(),
            interfaces,
            through: &links.through,
            own_addresses: &own_addresses,
            parking,
        });
        let state = self.take_state()?;
        let steps = match plan(&state, &desired, self.kernel.capacity()) {
            Ok(steps) => steps,
            Err(error) => {
                self.state = Some(state);
                return Err(error.to_string());
            }
        };
        // Unless all goes well, the maps are read again the next time.
        let state = self.execute(state, &steps).await.map_err(|error| chain(&error))?;
        if !steps.is_empty() {
            tracing::info!(
                writes = steps.len(),
                policy.epoch = state.config.policy_epoch,
                endpoints = state.endpoints.len(),
                "kernel maps changed"
            );
        }
        self.state = Some(state);
        Ok(desired)
    }

    /// While nothing is known that could be written: ends what an earlier run may have begun. No connection may wait for a
    /// configuration or an agent until it is judged by the rules that are in force.
    async fn finish(&mut self) -> Result<(), String> {
        let state = self.take_state()?;
        let step = finish(&state);
        let state = self.execute(state, step.as_slice()).await;
        self.state = Some(state.map_err(|error| chain(&error))?);
        Ok(())
    }

    fn take_state(&mut self) -> Result<KernelState, String> {
        match self.state.take() {
            Some(state) => Ok(state),
            None => block_in_place(|| self.kernel.read()).map_err(|error| chain(&error)),
        }
    }

    async fn execute(&mut self, mut state: KernelState, steps: &[Step]) -> Result<KernelState, MapError> {
        for steps in steps.split_inclusive(|step| *step == Step::Settle) {
            block_in_place(|| {
                steps.iter().try_for_each(|step| {
                    self.kernel.execute(step)?;
                    state.apply(step);
                    Ok(())
                })
            })?;
            if steps.last() == Some(&Step::Settle) {
                sleep(SETTLE).await;
            }
        }
        Ok(state)
    }

    fn publish(&self, agent: &AgentView, change: impl FnOnce(&mut Known)) {
        let mut known = Known::clone(&self.publish.borrow());
        known.snapshot = Arc::clone(&self.snapshot);
        known.view.clone_from(&agent.view);
        known.agent_connected = agent.connected;
        if let Some(state) = &self.state {
            known.config = state.config;
        }
        change(&mut known);
        self.publish.send_replace(Arc::new(known));
    }
}

/// Logs that something else is left out than before.
fn tell_beyond(before: &[Problem], now: &[Problem]) {
    if before == now {
        return;
    }
    for problem in now {
        tracing::debug!(problem = chain(problem), "left out");
    }
    if now.is_empty() {
        tracing::info!("all of the configuration is in force again");
    } else {
        tracing::warn!(
            problems = now.len(),
            "some of the configuration is left out: `signet status` says what"
        );
    }
}
