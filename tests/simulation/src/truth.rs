//! The reference model: who has which address, whose key is whose, what each proof was made with, what waits where, and what may be
//! proven ahead. It sees everything at once, and knows nothing of sessions, leases and tables.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use signet_abi::AuthKey;
use signet_handshake::{Credentials, Proof};
use signet_session::NodeNumber;
use signet_spiffe::{SpiffeId, VerifiedSvid};

use crate::context::SECOND;
use crate::foresight::Foresight;
use crate::frames::Told;
use crate::kernel::Verdict;
use crate::ledger::{Held, Ledger, Spared};
use crate::rules::{Rule, Rules};
use crate::view::View;

/// For so long at most an address may be taken for what it was: ten seconds of a lease, and what signet-meshd needs to tell of a change.
pub const STALE: u64 = 10 * SECOND + SECOND / 20;

/// Who has an address.
pub type Owner = (NodeNumber, SpiffeId);

/// What a proof was made with.
#[derive(Clone, Debug)]
struct Evidence {
    /// When, simulated ns.
    at: u64,
    /// The end of the shorter of the two SVIDs by the clocks of that moment, simulated ns. What is done to the wall clock later
    /// makes it neither longer nor shorter.
    end: u64,
    svids: [VerifiedSvid; 2],
}

/// What really is.
#[derive(Debug, Default)]
pub struct Truth {
    owners: BTreeMap<IpAddr, Vec<(u64, Option<Owner>)>>,
    issued: BTreeMap<Vec<u8>, Owner>,
    evidence: BTreeMap<(NodeNumber, AuthKey), Evidence>,
    rules: BTreeMap<NodeNumber, Arc<Rules>>,
    ledger: Ledger,
    foresight: Foresight,
    violations: Vec<String>,
}

/// A packet that has passed.
#[derive(Clone, Copy, Debug)]
pub struct Passed<'a> {
    /// Simulated ns.
    pub at: u64,
    /// On which node.
    pub node: NodeNumber,
    /// What that node's agent knows; nothing while there is none.
    pub view: Option<&'a View>,
    /// As what it was judged.
    pub key: AuthKey,
    /// The sender's address.
    pub source: IpAddr,
    /// Nothing was asked of it.
    pub open: bool,
}

impl Truth {
    /// From now on the address is somebody else's, or nobody's.
    pub fn owned(&mut self, at: u64, address: IpAddr, owner: Option<Owner>) {
        self.owners.entry(address).or_default().push((at, owner));
    }

    /// Who has the address now.
    pub fn owner(&self, address: IpAddr) -> Option<&Owner> {
        self.owners.get(&address)?.last()?.1.as_ref()
    }

    /// The interface of whoever has the address now.
    pub fn interface(&self, address: IpAddr) -> u64 {
        let history = self.owners.get(&address).map_or(0, Vec::len);
        u64::try_from(history).unwrap_or(u64::MAX)
    }

    /// All addresses that somebody has or had.
    pub fn addresses(&self) -> impl Iterator<Item = (IpAddr, Option<&Owner>)> {
        self.owners
            .iter()
            .map(|(address, history)| (*address, history.last().and_then(|(_, owner)| owner.as_ref())))
    }

    /// The CA has given a node a key for an identity.
    pub fn issued(&mut self, node: NodeNumber, svid: &Credentials) {
        self.issued
            .insert(svid.svid().serial().to_vec(), (node, svid.id().clone()));
    }

    /// The serial numbers of what a node was given, of one identity or of all.
    pub fn serials(&self, node: NodeNumber, id: Option<&SpiffeId>) -> Vec<Vec<u8>> {
        let is_meant = |owner: &Owner| owner.0 == node && id.is_none_or(|id| *id == owner.1);
        self.issued
            .iter()
            .filter(|(_, owner)| is_meant(owner))
            .map(|(serial, _)| serial.clone())
            .collect()
    }

    /// An agent has written a proof. `wall`: its wall clock, Unix ns.
    pub fn proven(&mut self, at: u64, wall: u64, node: NodeNumber, key: AuthKey, proof: &Proof) {
        let svids = proof.svids().map(Clone::clone);
        let ends = svids
            .each_ref()
            .map(|svid| svid.not_after().as_secs().saturating_mul(SECOND));
        let end = at + ends.into_iter().min().unwrap_or(0).saturating_sub(wall);
        self.evidence.insert((node, key), Evidence { at, end, svids });
    }

    /// When that was, simulated ns.
    pub fn proven_at(&self, node: NodeNumber, key: &AuthKey) -> Option<u64> {
        Some(self.evidence.get(&(node, *key))?.at)
    }

    /// A node has been rebooted: its kernel has nothing.
    pub fn rebooted(&mut self, node: NodeNumber) {
        self.evidence.retain(|(of, _), _| *of != node);
    }

    /// A node's signet-meshd has read these policies.
    pub fn ruled(&mut self, node: NodeNumber, rules: Arc<Rules>) {
        self.rules.insert(node, rules);
    }

    /// These pairs are worth a proof on the node from now on.
    pub fn possible(&mut self, at: u64, node: NodeNumber, keys: BTreeSet<AuthKey>) {
        self.foresight.possible(at, node, keys);
    }

    /// An agent begins a handshake that nobody has asked for.
    pub fn begins_ahead(&mut self, at: u64, node: NodeNumber, key: AuthKey, bounds: &signet_preauth::Bounds) {
        let begun = self.foresight.begins(at, node, key, bounds);
        self.demand(begun);
    }

    /// What is proven ahead, as it should be.
    pub fn foresight(&self) -> &Foresight {
        &self.foresight
    }

    /// The kernel gives a packet to the agent.
    pub fn parked(&mut self, node: NodeNumber, number: u64, held: Held) {
        let parked = self.ledger.parked(node, number, held);
        self.demand(parked);
    }

    /// The agent is about to give a packet back before its time.
    pub fn spared(&mut self, node: NodeNumber, number: u64, why: Spared, bounds: &signet_parking::Bounds) {
        let spared = self.ledger.spare(node, number, why, bounds);
        self.demand(spared);
    }

    /// It has, and the kernel has judged it.
    pub fn returned(&mut self, node: NodeNumber, number: u64, key: AuthKey, verdict: Verdict) {
        let returned = self.ledger.returned(node, number, (key, verdict));
        self.demand(returned);
    }

    /// A sender is told that there is no proof.
    pub fn told(&mut self, node: NodeNumber, told: &Told) {
        let told = self.ledger.told(node, told);
        self.demand(told);
    }

    /// Whether what waits on the node waits as it should.
    pub fn look_at_parking(&mut self, node: NodeNumber, at: u64, bounds: &signet_parking::Bounds) {
        let kept = self.ledger.is_kept(node, at, bounds);
        self.demand(kept);
    }

    /// What waits, as it should.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// An agent has gone.
    pub fn stopped(&mut self, node: NodeNumber) {
        self.ledger.gone(node);
        self.foresight.begins_anew(node);
    }

    fn demand(&mut self, outcome: Result<(), String>) {
        if let Err(what) = outcome {
            self.violations.push(what);
        }
    }

    /// One honest agent has ended a session because of what another one said.
    pub fn broken(&mut self, node: NodeNumber, peer: NodeNumber, reason: &str) {
        self.violations
            .push(format!("node {node} refuses what node {peer} says: {reason}"));
    }

    /// A packet has passed: there must have been a current proof between exactly these identities on exactly these nodes, and the
    /// sender's address must be the identity's, or have been a moment ago.
    pub fn passed(&mut self, passed: &Passed<'_>) {
        let Passed {
            at,
            node,
            key,
            source,
            ..
        } = *passed;
        if passed.open {
            let rules = self.rules.get(&node);
            if rules.is_none_or(|rules| rules.of(key.remote, key.local) != Rule::Open) {
                self.violations.push(format!(
                    "a packet from {source} passed on node {node} as {key:?} without a proof"
                ));
            }
            return;
        }
        if let Err(reason) = self.is_proven(node, &key, at, passed.view) {
            self.violations.push(format!(
                "a packet from {source} passed on node {node} as {key:?}: {reason}"
            ));
        }
        let since = at.saturating_sub(STALE);
        let history = self.owners.get(&source).map_or(&[][..], Vec::as_slice);
        let mut until = u64::MAX;
        let remote = self
            .evidence
            .get(&(node, key))
            .map(|evidence| evidence.svids[1].id().clone());
        let mut was_its = false;
        for (from, owner) in history.iter().rev() {
            let is_its = owner
                .as_ref()
                .is_some_and(|(on, id)| on.get() == key.node.0 && Some(id) == remote.as_ref());
            was_its |= is_its && until >= since;
            until = *from;
        }
        if !was_its {
            self.violations.push(format!(
                "a packet from {source} passed on node {node} as {key:?}, and the address is {:?}",
                self.owner(source)
            ));
        }
    }

    /// Whether what is in a node's kernel was proven, and counts.
    pub fn is_proven(
        &self,
        node: NodeNumber,
        key: &AuthKey,
        at: u64,
        view: Option<&View>,
    ) -> Result<(), String> {
        let Some(Evidence { end, svids, .. }) = self.evidence.get(&(node, *key)) else {
            return Err("nobody has proven it".to_owned());
        };
        if at >= *end {
            return Err("it has ended".to_owned());
        }
        let sides = [(node.get(), key.local), (key.node.0, key.remote)];
        for (svid, (on, number)) in svids.iter().zip(sides) {
            let Some((given_to, id)) = self.issued.get(svid.serial()) else {
                return Err(format!("{} is nobody's certificate", svid.id()));
            };
            if given_to.get() != on || id != svid.id() {
                return Err(format!("the key of {id} on node {given_to} has proven it"));
            }
            let Some(view) = view else { continue };
            if view.ids.get(&number) != Some(id) {
                return Err(format!("{id} has another number"));
            }
            if let Err(revoked) = view.bundles.revocations().check(svid) {
                return Err(revoked.to_string());
            }
            if !view.registered.contains(&(*given_to, id.clone())) || !view.nodes.contains(given_to) {
                return Err(format!("{id} is not on node {given_to} any more"));
            }
        }
        Ok(())
    }

    /// Says that something is as it must not be.
    pub fn violated(&mut self, what: String) {
        self.violations.push(what);
    }

    /// What was as it must not be.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }
}
