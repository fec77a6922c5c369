//! Faults: how they begin, and how they end.

use signet_session::NodeNumber;
use signet_spiffe::Subject;

use crate::agenda::Event;
use crate::authority::Authority;
use crate::fault::Fault;
use crate::host::Host;
use crate::names::{own_address, shared_address, workload};
use crate::world::World;

/// A liar's address.
const SLOT: u8 = 200;

impl World {
    pub(crate) fn begin(&mut self, number: usize) {
        let Some(fault) = self.plan.get(number).map(|planned| planned.fault.clone()) else {
            return;
        };
        match fault {
            Fault::Crash(on) => {
                self.count(on, |host| host.dead += 1);
                self.stop(on);
            }
            Fault::Reboot(on) => self.power_off(on),
            Fault::Partition(nodes) => {
                for (inside, outside) in self.border(&nodes) {
                    self.network.cut(inside, outside);
                }
            }
            Fault::Reset(a, b) => self.network.reset(a, b, &mut self.agenda, &mut self.dice),
            Fault::MeshAway(on) => self.count(on, |host| host.meshless += 1),
            Fault::CaAway(on) => self.count(on, |host| host.orphaned += 1),
            Fault::Stale(on) => self.count(on, |host| host.deaf += 1),
            Fault::Move(address, owner) => {
                let owner = owner.map(|(on, number)| (on, workload(number)));
                self.own(address, owner);
            }
            Fault::Reuse {
                on,
                slot,
                owner,
                dead,
            } => {
                for host in self.hosts.values_mut() {
                    host.deaf += 1;
                }
                if dead {
                    self.count(on, |host| host.dead += 1);
                    self.stop(on);
                } else {
                    self.count(on, |host| host.meshless += 1);
                }
                let owner = (owner.0, workload(owner.1));
                self.own(shared_address(on, slot), Some(owner));
            }
            Fault::Deregister(on, number) => {
                let entry = (on, workload(number));
                self.publish(|view| {
                    view.registered.remove(&entry);
                });
            }
            Fault::Revoke(on, number) => {
                let id = workload(number);
                self.heat(&id);
                let subjects = self.given(on, Some(&id));
                self.revoke(subjects, Some(&id));
            }
            Fault::Renew(on) => {
                self.with(on, |agent, _| agent.estate.svids.clear());
                self.request_svids(on);
            }
            Fault::Steal(from, to, number) => self.steal(from, to, number),
            Fault::Ban(on) => self.ban(on),
            Fault::NewAuthority => {
                let number = u32::try_from(self.authorities.len()).unwrap_or(0);
                self.authorities.push(Authority::new(number + 1));
                self.publish(|_| {});
            }
            Fault::RevokeOld => self.revoke_old(),
            Fault::Rule(from, to, rule) => self.rule(from, to, rule),
            Fault::Step(on, seconds) => self.turn_clock(on, seconds),
        }
    }

    pub(crate) fn over(&mut self, number: usize) {
        let Some(fault) = self.plan.get(number).map(|planned| planned.fault.clone()) else {
            return;
        };
        match fault {
            Fault::Crash(on) => {
                self.count(on, |host| host.dead -= 1);
                self.start(on);
            }
            Fault::Reboot(on) => self.power_on(on),
            Fault::Partition(nodes) => {
                for (inside, outside) in self.border(&nodes) {
                    self.network
                        .mend(inside, outside, &mut self.agenda, &mut self.dice);
                }
            }
            Fault::MeshAway(on) => self.mesh_is_back(on),
            Fault::Reuse { on, dead, .. } => {
                let hosts: Vec<NodeNumber> = self.hosts.keys().copied().collect();
                for host in hosts {
                    self.hears_again(host);
                }
                if dead {
                    self.count(on, |host| host.dead -= 1);
                    self.start(on);
                } else {
                    self.mesh_is_back(on);
                }
            }
            Fault::CaAway(on) => {
                self.count(on, |host| host.orphaned -= 1);
                self.agenda.at(self.agenda.now(), Event::View(on));
                self.request_svids(on);
            }
            Fault::Stale(on) => self.hears_again(on),
            Fault::Deregister(on, number) => {
                let entry = (on, workload(number));
                self.publish(|view| {
                    view.registered.insert(entry);
                });
            }
            Fault::Steal(_, to, _) => self.repent(to),
            Fault::Step(on, seconds) => self.turn_clock(on, -seconds),
            Fault::Reset(..)
            | Fault::Move(..)
            | Fault::Revoke(..)
            | Fault::Renew(_)
            | Fault::Ban(_)
            | Fault::NewAuthority
            | Fault::RevokeOld
            | Fault::Rule(..) => {}
        }
    }

    fn mesh_is_back(&mut self, on: NodeNumber) {
        self.count(on, |host| host.meshless -= 1);
        self.tell_endpoints(on);
        self.tell_rules(on);
    }

    fn hears_again(&mut self, on: NodeNumber) {
        self.count(on, |host| host.deaf -= 1);
        let addresses: Vec<_> = self.truth.addresses().map(|(address, _)| address).collect();
        for address in addresses {
            self.tell_address(on, address);
        }
    }

    /// A node's wall clock steps; the clock since its boot goes on. Whoever runs there looks at once.
    fn turn_clock(&mut self, on: NodeNumber, seconds: i64) {
        self.count(on, |host| {
            host.clocks.skew += seconds;
            host.wake_at = u64::MAX;
        });
        self.with(on, |_, _| {});
    }

    fn count(&mut self, on: NodeNumber, change: impl FnOnce(&mut Host)) {
        if let Some(host) = self.hosts.get_mut(&on) {
            change(host);
        }
    }

    /// Every pair of nodes of which one is among these.
    fn border(&self, nodes: &[NodeNumber]) -> Vec<(NodeNumber, NodeNumber)> {
        let outside: Vec<NodeNumber> = self
            .hosts
            .keys()
            .copied()
            .filter(|node| !nodes.contains(node))
            .collect();
        let across = |inside: &NodeNumber| {
            let inside = *inside;
            outside.iter().map(move |outside| (inside, *outside))
        };
        nodes.iter().flat_map(across).collect()
    }

    pub(crate) fn power_off(&mut self, on: NodeNumber) {
        let Some(host) = self.hosts.get_mut(&on) else {
            return;
        };
        host.dark += 1;
        // Nobody says goodbye.
        for (id, side) in self.network.of(on) {
            self.network.vanish(id, side);
        }
        self.stop(on);
    }

    pub(crate) fn power_on(&mut self, on: NodeNumber) {
        let now = self.now();
        let Some(host) = self.hosts.get_mut(&on) else {
            return;
        };
        host.dark -= 1;
        if host.dark > 0 {
            return;
        }
        host.kernel = crate::kernel::Kernel::booted(self.dice.roll() | 1);
        host.clocks.booted = now;
        if let Some(estate) = &mut host.estate {
            // What kept them sealed was in the kernel's memory.
            estate.svids.clear();
        }
        self.truth.rebooted(on);
        let addresses: Vec<_> = self.truth.addresses().map(|(address, _)| address).collect();
        for address in addresses {
            self.tell_address(on, address);
        }
        self.tell_endpoints(on);
        self.tell_rules(on);
        self.start(on);
    }

    /// A node shows a key that another one was given, and says that the workload lives on it.
    fn steal(&mut self, from: NodeNumber, to: NodeNumber, number: u32) {
        let id = workload(number);
        let stolen = self
            .hosts
            .get(&from)
            .and_then(|host| host.agent.as_ref())
            .and_then(|agent| agent.estate.svids.get(&id).cloned());
        let (Some(stolen), false) = (stolen, self.view.is_on(to, &id)) else {
            return;
        };
        let Some(host) = self.hosts.get_mut(&to).filter(|host| host.agent.is_some()) else {
            return;
        };
        host.lies = true;
        if let Some(agent) = &mut host.agent {
            let mut view = (*agent.estate.view).clone();
            view.registered.insert((to, id.clone()));
            agent.estate.view = std::sync::Arc::new(view);
            agent.estate.svids.insert(id.clone(), stolen);
        }
        self.own(own_address(to, SLOT), Some((to, id)));
    }

    fn repent(&mut self, on: NodeNumber) {
        let view = self.view.clone();
        let Some(host) = self.hosts.get_mut(&on).filter(|host| host.lies) else {
            return;
        };
        host.lies = false;
        let estate = host
            .agent
            .as_mut()
            .map(|agent| &mut agent.estate)
            .or(host.estate.as_mut());
        if let Some(estate) = estate {
            estate.view = view;
            estate.svids.clear();
        }
        self.own(own_address(on, SLOT), None);
        // As after a break-in: it begins anew, with nothing.
        self.power_off(on);
        self.power_on(on);
    }

    fn ban(&mut self, on: NodeNumber) {
        let left = self.hosts.values().filter(|host| !host.banned).count();
        if left <= 3 {
            return;
        }
        let subjects = self.given(on, None);
        self.count(on, |host| host.banned = true);
        self.revoke(subjects, None);
        self.publish(|view| {
            view.nodes.remove(&on);
        });
    }

    fn revoke_old(&mut self) {
        let Some(newest) = self.authorities.pop() else {
            return;
        };
        let old = std::mem::replace(&mut self.authorities, vec![newest]);
        if old.is_empty() {
            return;
        }
        let subjects = old
            .iter()
            .map(|authority| Subject::Authority(authority.key_id()))
            .collect();
        self.revoke(subjects, None);
    }
}
