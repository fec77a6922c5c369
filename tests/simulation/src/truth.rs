//! The reference model: who has which address, whose key is whose, and what each proof was made with. It sees everything at once, and
//! knows nothing of sessions, leases and tables.

use std::collections::BTreeMap;
use std::net::IpAddr;

use signet_abi::AuthKey;
use signet_handshake::{Credentials, Proof};
use signet_session::NodeNumber;
use signet_spiffe::{SpiffeId, UnixTime, VerifiedSvid};

use crate::context::SECOND;
use crate::view::View;

/// For so long at most an address may be taken for what it was: ten seconds of a lease, and what signet-meshd needs to tell of a change.
pub const STALE: u64 = 10 * SECOND + SECOND / 20;

/// Who has an address.
pub type Owner = (NodeNumber, SpiffeId);

/// What really is.
#[derive(Debug, Default)]
pub struct Truth {
    owners: BTreeMap<IpAddr, Vec<(u64, Option<Owner>)>>,
    issued: BTreeMap<Vec<u8>, Owner>,
    evidence: BTreeMap<(NodeNumber, AuthKey), (u64, [VerifiedSvid; 2])>,
    violations: Vec<String>,
}

/// A packet that has passed.
#[derive(Clone, Copy, Debug)]
pub struct Passed<'a> {
    /// Simulated ns.
    pub at: u64,
    /// On which node.
    pub node: NodeNumber,
    /// That node's clock.
    pub unix: UnixTime,
    /// What that node's agent knows; nothing while there is none.
    pub view: Option<&'a View>,
    /// As what it was judged.
    pub key: AuthKey,
    /// The sender's address.
    pub source: IpAddr,
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

    /// An agent has written a proof.
    pub fn proven(&mut self, at: u64, node: NodeNumber, key: AuthKey, proof: &Proof) {
        let made_of = proof.svids().map(Clone::clone);
        self.evidence.insert((node, key), (at, made_of));
    }

    /// When that was, simulated ns.
    pub fn proven_at(&self, node: NodeNumber, key: &AuthKey) -> Option<u64> {
        Some(self.evidence.get(&(node, *key))?.0)
    }

    /// A node has been rebooted: its kernel has nothing.
    pub fn rebooted(&mut self, node: NodeNumber) {
        self.evidence.retain(|(of, _), _| *of != node);
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
        if let Err(reason) = self.is_proven(passed.node, &key, passed.unix, passed.view) {
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
            .map(|(_, [_, remote])| remote.id().clone());
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
        unix: UnixTime,
        view: Option<&View>,
    ) -> Result<(), String> {
        let Some((_, made_of)) = self.evidence.get(&(node, *key)) else {
            return Err("nobody has proven it".to_owned());
        };
        let sides = [(node.get(), key.local), (key.node.0, key.remote)];
        for (svid, (on, number)) in made_of.iter().zip(sides) {
            let Some((given_to, id)) = self.issued.get(svid.serial()) else {
                return Err(format!("{} is nobody's certificate", svid.id()));
            };
            if given_to.get() != on || id != svid.id() {
                return Err(format!("the key of {id} on node {given_to} has proven it"));
            }
            if unix >= svid.not_after() {
                return Err(format!("the SVID of {id} has ended"));
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
