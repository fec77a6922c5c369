//! The reference model's book of what waits: each packet that an agent holds comes back once, in time, in order, and whoever is to be
//! told that there is no proof for it is told once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use signet_abi::AuthKey;
use signet_parking::Bounds;
use signet_session::NodeNumber;

use crate::agenda::nanos;
use crate::context::SECOND;
use crate::frames::Told;
use crate::kernel::Verdict;

/// From the kernel to the agent, and between two looks of the agent's at what has waited for too long.
const SLACK: u64 = SECOND + SECOND / 5;

/// A packet that waits.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// For this proof.
    pub key: AuthKey,
    /// From whom to whom it is.
    pub ends: [IpAddr; 2],
    /// Its bytes as they are held.
    pub bytes: usize,
    /// Since when, simulated ns.
    pub at: u64,
    /// Its rule wants the sender to be told.
    pub tell: bool,
}

/// Why a packet is given back before its time, and nobody told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spared {
    /// There was no room for it.
    Full,
    /// It had to make room for somebody who had less.
    Evicted,
    /// Its sender was told of too many others.
    Withheld,
}

/// What each agent holds.
#[derive(Debug, Default)]
pub struct Ledger {
    /// By the number of the packet, each with its place among all.
    held: BTreeMap<NodeNumber, BTreeMap<u64, (u64, Held)>>,
    places: u64,
    spared: BTreeSet<(NodeNumber, u64)>,
    /// What the sender of a packet that was dropped may be told next, and whether he must be.
    owed: BTreeMap<NodeNumber, (Told, bool)>,
}

impl Ledger {
    /// The kernel gives a packet to the agent.
    pub fn parked(&mut self, node: NodeNumber, number: u64, held: Held) -> Result<(), String> {
        self.places += 1;
        match self
            .held
            .entry(node)
            .or_default()
            .insert(number, (self.places, held))
        {
            Some(_) => Err(format!("packet {number} is parked twice on node {node}")),
            None => Ok(()),
        }
    }

    /// Whether it waits still.
    pub fn holds(&self, node: NodeNumber, number: u64) -> bool {
        self.held
            .get(&node)
            .is_some_and(|held| held.contains_key(&number))
    }

    /// The agent is about to give a packet back before its time.
    pub fn spare(
        &mut self,
        node: NodeNumber,
        number: u64,
        why: Spared,
        bounds: &Bounds,
    ) -> Result<(), String> {
        self.spared.insert((node, number));
        let Some((_, packet)) = self.held.get(&node).and_then(|held| held.get(&number)) else {
            return Err(format!(
                "node {node} gives up packet {number}, which it does not hold"
            ));
        };
        let size = |is_meant: &dyn Fn(&Held) -> bool| {
            let all = self.held.get(&node).into_iter().flat_map(BTreeMap::values);
            let (mut packets, mut bytes) = (0, 0);
            for (_, held) in all.filter(|(_, held)| is_meant(held)) {
                packets += 1;
                bytes += held.bytes;
            }
            (packets, bytes)
        };
        let all = size(&|_| true);
        let of_pair = size(&|held| held.key == packet.key);
        // Itself included.
        let is_full = all.0 > bounds.packets || all.1 > bounds.bytes;
        let is_pair_full = of_pair.0 > bounds.pair_packets || of_pair.1 > bounds.pair_bytes;
        match why {
            Spared::Full if is_full || is_pair_full => Ok(()),
            Spared::Evicted if is_full => Ok(()),
            Spared::Withheld => Ok(()),
            Spared::Full | Spared::Evicted => Err(format!(
                "node {node} gives up packet {number} ({why:?}) with {all:?} in all and {of_pair:?} of its pair"
            )),
        }
    }

    /// The agent has given a packet back, and the kernel has judged it from the start.
    pub fn returned(
        &mut self,
        node: NodeNumber,
        number: u64,
        (key, verdict): (AuthKey, Verdict),
    ) -> Result<(), String> {
        self.paid(node)?;
        let spared = self.spared.remove(&(node, number));
        let held = self.held.entry(node).or_default();
        let Some((place, packet)) = held.remove(&number) else {
            return Err(format!(
                "node {node} gives back packet {number}, which it does not hold"
            ));
        };
        let passed = matches!(verdict, Verdict::Passes | Verdict::Open);
        let mut others = held.iter();
        let overtaken = others.find(|(_, (before, other))| *before < place && other.key == packet.key);
        if let Some((other, _)) = overtaken.filter(|_| passed && !spared) {
            return Err(format!("packet {number} overtakes packet {other} on node {node}"));
        }
        // Its agent gave up on the pair that it was parked as, and does not see that its rule or its address is another one now.
        let is_other = verdict == Verdict::Open || key != packet.key;
        if packet.tell && (!passed || is_other) && !spared {
            let told = Told {
                from: packet.ends[1],
                to: packet.ends[0],
                number,
            };
            // What lacks something else besides is not told of that.
            self.owed.insert(node, (told, verdict == Verdict::LacksProof));
        }
        Ok(())
    }

    /// A sender is told that there is no proof.
    pub fn told(&mut self, node: NodeNumber, told: &Told) -> Result<(), String> {
        match self.owed.remove(&node) {
            Some((owed, _)) if owed == *told => Ok(()),
            owed => Err(format!("node {node} says {told:?}, and owes {owed:?}")),
        }
    }

    /// The agent has gone, and what it held with it.
    pub fn gone(&mut self, node: NodeNumber) {
        self.held.remove(&node);
        self.owed.remove(&node);
        self.spared.retain(|(of, _)| *of != node);
    }

    /// Whether all who are to be told were, and nothing waits for longer than it may.
    pub fn is_kept(&mut self, node: NodeNumber, at: u64, bounds: &Bounds) -> Result<(), String> {
        self.paid(node)?;
        let most = nanos(bounds.wait) + SLACK;
        let held = self.held.get(&node).into_iter().flatten();
        match held
            .filter(|(_, (_, held))| held.at + most < at)
            .min_by_key(|(_, (place, _))| *place)
        {
            Some((number, (_, held))) => Err(format!(
                "packet {number} was parked on node {node} {} ms ago and has not come back: {held:?}",
                (at - held.at) / 1_000_000
            )),
            None => Ok(()),
        }
    }

    fn paid(&mut self, node: NodeNumber) -> Result<(), String> {
        match self.owed.remove(&node) {
            Some((owed, true)) => Err(format!(
                "{owed:?} is what node {node} has not said of a packet without a proof"
            )),
            Some((_, false)) | None => Ok(()),
        }
    }
}
