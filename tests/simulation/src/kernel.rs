//! A node's kernel: the maps, and what the programs make of them. It outlives the agent, and ends with a reboot.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use signet_abi::{
    Address, AuthKey, AuthValue, Lease, LeaseEnd, LeaseEndKey, LeaseKey, NodeId, SecurityIdentity, stands_by,
};
use signet_lease::Write;
use signet_session::NodeNumber;

use crate::rules::{Rule, Rules};

/// Between two signals of one pair, ns.
const SIGNALS: u64 = 200_000_000;

/// A packet of a workload's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The sender's address.
    pub source: IpAddr,
    /// The receiver's address.
    pub destination: IpAddr,
    /// On which node it was sent.
    pub from: NodeNumber,
    /// Over which interface of that node's. Each new owner of an address has a new one.
    pub interface: u64,
    /// No other packet has it.
    pub number: u64,
}

/// What a packet meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passes: no proof is asked for.
    Open,
    /// It passes, with a proof and a lease.
    Passes,
    /// It is dropped: its rule says so.
    Denied,
    /// It waits for a proof, or is dropped for the want of one.
    LacksProof,
    /// It is dropped for the want of a lease.
    LacksLease,
    /// There is no such workload here, or nobody knows the sender.
    Unknown,
}

/// The maps of a node.
#[derive(Debug, Default)]
pub struct Kernel {
    /// `AUTH`.
    pub auth: BTreeMap<AuthKey, AuthValue>,
    /// `LEASES`.
    pub leases: BTreeMap<LeaseKey, Lease>,
    /// `LEASE_ENDS`.
    pub ends: BTreeMap<LeaseEndKey, LeaseEnd>,
    /// `ENDPOINTS`: who lives here, and on which interface.
    pub endpoints: BTreeMap<IpAddr, (SecurityIdentity, u64)>,
    /// `IPCACHE`: where every address is meant to be. May be old.
    pub ipcache: BTreeMap<IpAddr, (SecurityIdentity, NodeId)>,
    /// `POLICY`.
    pub rules: Arc<Rules>,
    /// By which it knows what it has parked. Another one in each life.
    pub secret: u64,
    /// Pairs that have had a packet under their proof since somebody has looked: what `CT4` says.
    pub used: BTreeSet<AuthKey>,
    signalled: BTreeMap<AuthKey, u64>,
}

impl Kernel {
    /// Of a node that has just been booted.
    pub fn booted(secret: u64) -> Self {
        Self {
            secret,
            ..Self::default()
        }
    }

    /// Judges a packet as `to_container` does: whether the sender may have its address, the rule, and where that asks for
    /// authentication, the proof and the lease.
    pub fn judge(&self, packet: &Packet, own: NodeId, now: u64) -> (AuthKey, Verdict) {
        let unknown = (AuthKey::default(), Verdict::Unknown);
        let remote = packet.source;
        let Some((identity, _)) = self.endpoints.get(&packet.destination).copied() else {
            return unknown;
        };
        // An address of this node's is believed on its owner's interface alone.
        let here = self.endpoints.get(&remote).copied();
        let is_here = packet.from.get() == own.0;
        if here.is_some_and(|(_, interface)| !is_here || interface != packet.interface) {
            return unknown;
        }
        let here = here.map(|(identity, _)| (identity, own));
        let Some((other, node)) = here.or_else(|| self.ipcache.get(&remote).copied()) else {
            return unknown;
        };
        let pair = AuthKey {
            local: identity,
            remote: other,
            node,
        };
        match self.rules.of(other, identity) {
            Rule::Open => return (pair, Verdict::Open),
            Rule::Denied => return (pair, Verdict::Denied),
            Rule::Required | Rule::Rejecting => {}
        }
        if !self.auth.get(&pair).is_some_and(|proof| proof.is_live(now)) {
            return (pair, Verdict::LacksProof);
        }
        let stands = stands_by(
            &pair,
            own,
            now,
            || self.endpoints.get(&remote).is_some_and(|(its, _)| *its == other),
            || self.leases.get(&LeaseKey(Address::from(remote))).copied(),
            || self.ends.get(&LeaseEndKey(node)).copied(),
        );
        let verdict = if stands {
            Verdict::Passes
        } else {
            Verdict::LacksLease
        };
        (pair, verdict)
    }

    /// Whether the agent is told now: at most once per pair and 200 ms.
    pub fn signals(&mut self, pair: AuthKey, now: u64) -> bool {
        let due = self.signalled.get(&pair).is_none_or(|at| at + SIGNALS <= now);
        if due {
            self.signalled.insert(pair, now);
        }
        due
    }

    /// What the agent writes of leases.
    pub fn write(&mut self, write: &Write) {
        match write {
            Write::Remove(key) => {
                self.leases.remove(key);
            }
            Write::Silence(key) => {
                self.ends.remove(key);
            }
            Write::Put(key, lease) => {
                self.leases.insert(*key, *lease);
            }
            Write::Extend(key, not_after) => {
                self.ends.insert(
                    *key,
                    LeaseEnd {
                        not_after: *not_after,
                    },
                );
            }
        }
    }
}
