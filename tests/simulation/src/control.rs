//! The control plane: the CA's view, SVIDs, and what nodes are told of addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use signet_abi::{AuthKey, NodeId, SecurityIdentity};
use signet_preauth::{Demand, Group, Place};
use signet_session::NodeNumber;
use signet_spiffe::{BundleSet, Revocations, SerialNumber, SpiffeId, Subject, X509Bundle};

use crate::agenda::{Event, nanos};
use crate::host::Host;
use crate::names::{identity, trust_domain};
use crate::rules::Rule;
use crate::truth::Owner;
use crate::view::{Suspicion, View};
use crate::world::World;

/// So many addresses that changed hands last send more than others.
const HOT: usize = 3;

impl World {
    /// The CA changes something, and pushes it.
    pub(crate) fn publish(&mut self, change: impl FnOnce(&mut View)) {
        let mut view = (*self.view).clone();
        view.version += 1;
        let revocations = view.bundles.revocations().clone();
        let roots = self
            .authorities
            .iter()
            .map(crate::authority::Authority::certificate);
        let bundle = X509Bundle::new(trust_domain(), roots.collect()).expect("at least one root");
        view.bundles = Arc::new(BundleSet::single(bundle).with_revocations(revocations));
        change(&mut view);
        self.view = Arc::new(view);
        let hosts: Vec<NodeNumber> = self.hosts.keys().copied().collect();
        for on in hosts {
            let after = self.dice.between(1, nanos(Duration::from_millis(100)));
            self.agenda.at(self.agenda.now() + after, Event::View(on));
        }
    }

    /// The CA takes something back. `whose`: the identity that it concerns, if it is one.
    pub(crate) fn revoke(&mut self, subjects: Vec<Subject>, whose: Option<&SpiffeId>) {
        let id = whose.cloned();
        self.publish(|view| {
            let mut revocations = Revocations::clone(view.bundles.revocations());
            for subject in subjects {
                revocations.insert(subject, "simulated".into());
            }
            let bundles = BundleSet::clone(&view.bundles);
            view.bundles = Arc::new(bundles.with_revocations(Arc::new(revocations)));
            view.suspicions.push(Suspicion {
                version: view.version,
                id,
            });
        });
    }

    /// Whether the CA serves a node.
    pub(crate) fn is_served(&self, on: NodeNumber) -> bool {
        self.hosts
            .get(&on)
            .is_some_and(|host| host.orphaned == 0 && !host.banned && !host.lies)
    }

    /// An agent asks for what it lacks.
    pub(crate) fn request_svids(&mut self, on: NodeNumber) {
        let Some(host) = self.hosts.get(&on) else { return };
        let Some(agent) = &host.agent else { return };
        let unix = host.clocks.now(self.now()).unix;
        let early = self.setup.life / 2;
        let node = agent.estate.svid.not_after < unix.as_secs() + self.setup.life.as_secs();
        if node || !agent.wanted(unix, early).is_empty() {
            let after = self.dice.between(1, nanos(Duration::from_millis(50)));
            self.agenda.at(self.agenda.now() + after, Event::Issue(on));
        }
    }

    pub(crate) fn issue(&mut self, on: NodeNumber) {
        if !self.is_served(on) {
            return;
        }
        let (svid, now, early) = (self.node_svid(on), self.now(), self.setup.life / 2);
        let (Some(host), Some(authority)) = (self.hosts.get_mut(&on), self.authorities.last()) else {
            return;
        };
        // The CA's clock and the node's may differ.
        let (unix, theirs) = (self.clocks.now(now).unix, host.clocks.now(now).unix);
        let Some(agent) = &mut host.agent else { return };
        let is_due = agent.estate.svid.not_after < theirs.as_secs() + self.setup.life.as_secs();
        if is_due && svid.not_after > theirs.as_secs() {
            agent.estate.svid = svid;
        }
        let mut issued = Vec::new();
        for id in agent.wanted(theirs, early) {
            if !self.view.is_on(on, &id) {
                continue;
            }
            let svid = authority.issue(&id, &self.view.bundles, unix, self.setup.life);
            // By a key that the agent does not know yet nothing can be verified.
            if agent.knows(&svid) {
                self.truth.issued(on, &svid);
                issued.push(Arc::new(svid));
            }
        }
        self.with(on, |agent, context| agent.on_svids(issued, context));
    }

    /// An address is somebody else's from now on.
    pub(crate) fn own(&mut self, address: IpAddr, owner: Option<Owner>) {
        let before = self.truth.owner(address).map(|(on, _)| *on);
        let now = self.now();
        let after = owner.as_ref().map(|(on, _)| *on);
        self.heat_address(address);
        self.truth.owned(now, address, owner);
        for on in [before, after].into_iter().flatten() {
            // Sooner than the truth allows for.
            let soon = self.dice.between(0, nanos(Duration::from_millis(20)));
            self.agenda.at(now + soon, Event::Endpoints(on));
        }
        let hosts: Vec<NodeNumber> = self.hosts.keys().copied().collect();
        for on in hosts {
            let later = self.dice.between(0, nanos(Duration::from_millis(300)));
            self.agenda.at(now + later, Event::Ipcache(on, address));
        }
    }

    /// Whoever is this workload sends more than others for a while.
    pub(crate) fn heat(&mut self, id: &SpiffeId) {
        let is_its = |owner: &Owner| owner.1 == *id;
        let its: Vec<IpAddr> = self
            .truth
            .addresses()
            .filter(|(_, owner)| owner.is_some_and(is_its))
            .map(|(address, _)| address)
            .collect();
        for address in its {
            self.heat_address(address);
        }
    }

    fn heat_address(&mut self, address: IpAddr) {
        self.hot.retain(|hot| *hot != address);
        self.hot.push_back(address);
        if self.hot.len() > HOT {
            self.hot.pop_front();
        }
    }

    /// signet-meshd has the endpoints of its node in the kernel, and tells the agent.
    pub(crate) fn tell_endpoints(&mut self, on: NodeNumber) {
        let endpoints: BTreeMap<IpAddr, SpiffeId> = self
            .truth
            .addresses()
            .filter_map(|(address, owner)| Some((address, owner?)))
            .filter(|(_, (its, _))| *its == on)
            .map(|(address, (_, id))| (address, id.clone()))
            .collect();
        let identities = &self.view.identities;
        let Some(host) = self.hosts.get_mut(&on).filter(|host| host.meshless == 0) else {
            return;
        };
        host.kernel.endpoints = endpoints
            .iter()
            .filter_map(|(address, id)| {
                let interface = self.truth.interface(*address);
                Some((*address, (*identities.get(id)?, interface)))
            })
            .collect();
        self.with(on, |agent, context| agent.on_endpoints(endpoints, context));
        self.tell_demand(on);
    }

    /// A policy says something else from now on.
    pub(crate) fn rule(&mut self, from: u32, to: u32, rule: Rule) {
        let mut rules = (*self.rules).clone();
        rules.set(identity(from), identity(to), rule);
        self.rules = Arc::new(rules);
        let hosts: Vec<NodeNumber> = self.hosts.keys().copied().collect();
        for on in hosts {
            // What there is from the start everybody has read before anything else.
            let most = if self.now() == 0 {
                0
            } else {
                nanos(Duration::from_millis(300))
            };
            let later = self.dice.between(0, most);
            self.agenda.at(self.now() + later, Event::Rules(on));
        }
    }

    /// A node's signet-meshd has read the policies, and has them in the kernel.
    pub(crate) fn tell_rules(&mut self, on: NodeNumber) {
        let rules = self.rules.clone();
        let Some(host) = self.hosts.get_mut(&on).filter(|host| host.meshless == 0) else {
            return;
        };
        host.kernel.rules = Arc::clone(&rules);
        self.truth.ruled(on, rules);
        self.tell_demand(on);
    }

    /// What is worth a proof ahead: of each workload of the node with every place from where a rule of its own asks for one.
    fn tell_demand(&mut self, on: NodeNumber) {
        let now = self.now();
        let is_told = |host: &&Host| host.meshless == 0 && host.agent.is_some();
        let Some(host) = self.hosts.get(&on).filter(is_told) else {
            return;
        };
        if self.setup.tuning.ahead.is_none() {
            return;
        }
        let kernel = &host.kernel;
        let here = kernel
            .endpoints
            .values()
            .map(|(identity, _)| (*identity, NodeId(on.get())));
        let places: BTreeSet<(SecurityIdentity, NodeId)> =
            here.chain(kernel.ipcache.values().copied()).collect();
        let locals: BTreeSet<SecurityIdentity> =
            kernel.endpoints.values().map(|(identity, _)| *identity).collect();
        let mut possible = BTreeSet::new();
        let mut groups = Vec::new();
        for local in locals {
            let asks = |place: &&(SecurityIdentity, NodeId)| kernel.rules.of(place.0, local).asks_for_proof();
            let mut group = Group {
                locals: [local].into(),
                ..Group::default()
            };
            for (remote, node) in places.iter().filter(asks).copied() {
                possible.insert(AuthKey { local, remote, node });
                group.remotes.insert(Place {
                    identity: remote,
                    node,
                });
            }
            groups.push(group);
        }
        self.truth.possible(now, on, possible);
        self.with(on, |agent, context| agent.on_demand(Demand::new(groups), context));
    }

    /// A node's control plane has heard where an address is now.
    pub(crate) fn tell_address(&mut self, on: NodeNumber, address: IpAddr) {
        let owner = self.truth.owner(address).cloned();
        let entry = owner.and_then(|(at, id)| Some((*self.view.identities.get(&id)?, NodeId(at.get()))));
        let Some(host) = self.hosts.get_mut(&on).filter(|host| host.deaf == 0) else {
            return;
        };
        match entry {
            Some(entry) => host.kernel.ipcache.insert(address, entry),
            None => host.kernel.ipcache.remove(&address),
        };
        self.tell_demand(on);
    }

    /// The serial numbers of what a node was given, as what can be revoked.
    pub(crate) fn given(&self, on: NodeNumber, id: Option<&SpiffeId>) -> Vec<Subject> {
        let serials = self.truth.serials(on, id);
        serials
            .iter()
            .filter_map(|serial| SerialNumber::new(serial).ok())
            .map(Subject::Serial)
            .collect()
    }
}
