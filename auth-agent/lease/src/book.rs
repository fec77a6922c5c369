//! What all nodes say, what of it is believed, and what the kernel is to be told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use signet_abi::{Address, Lease, LeaseEnd, LeaseEndKey, LeaseKey, NodeId, SecurityIdentity};
use signet_session::{Digest, Group, NodeNumber};
use signet_spiffe::SpiffeId;

use crate::claims::{Claims, Entry, Superseded};
use crate::facts::{Facts, Refusal};
use crate::table::{Table, TableError};

/// A change of the kernel's maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Write {
    /// The address has no lease any more.
    Remove(LeaseKey),
    /// The node's word counts no more.
    Silence(LeaseEndKey),
    /// The address has this lease. If there is no room, [`Book::unwritten`] is to be told.
    Put(LeaseKey, Lease),
    /// The node's word counts until then, boot clock, ns.
    Extend(LeaseEndKey, u64),
}

/// What is worth telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A claim is not believed.
    Refused {
        /// Whose.
        node: NodeNumber,
        /// Of what.
        address: IpAddr,
        /// Why.
        why: Refusal,
    },
    /// Nodes claim one address: none is believed.
    Conflict {
        /// Which.
        address: IpAddr,
        /// The nodes.
        nodes: Vec<NodeNumber>,
    },
    /// Only one claims it now, or none.
    Resolved {
        /// Which.
        address: IpAddr,
    },
    /// A node has not renewed its leases in time.
    Lapsed {
        /// Which.
        node: NodeNumber,
    },
}

/// What follows from something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// To be done in order: what is taken away comes first, and a node's word counts last.
    pub writes: Vec<Write>,
    /// To be told.
    pub news: Vec<News>,
}

/// What all nodes say.
#[derive(Clone, Debug, Default)]
pub struct Book {
    nodes: BTreeMap<NodeNumber, Claims>,
    /// Who claims each address.
    claimants: BTreeMap<IpAddr, BTreeSet<NodeNumber>>,
    /// This node's own addresses, which no other node has.
    own: BTreeSet<IpAddr>,
    /// What the kernel has.
    written: BTreeMap<IpAddr, Lease>,
    /// How many of these each identity has on each node.
    counts: BTreeMap<Lease, usize>,
    conflicts: BTreeSet<IpAddr>,
    refused: BTreeSet<(NodeNumber, IpAddr)>,
    /// The kernel had no room for these.
    unwritten: BTreeSet<IpAddr>,
}

impl Book {
    /// Takes over what an earlier run has left in the kernel, as far as it can be: as what the nodes said last, to be judged
    /// anew. Nothing counts for longer than it did.
    pub fn adopt(
        &mut self,
        leases: &[(LeaseKey, Lease)],
        ends: &[(LeaseEndKey, LeaseEnd)],
        facts: &impl Facts,
        now: u64,
    ) -> Effects {
        let mut tables: BTreeMap<NodeNumber, BTreeMap<IpAddr, SpiffeId>> = BTreeMap::new();
        let mut effects = Effects::default();
        for (key, lease) in leases {
            let address = IpAddr::from(key.0);
            let said = NodeNumber::new(lease.node.0).zip(facts.spiffe_id(lease.identity));
            match said {
                // One that could not be written is a claim all the same, so ours may have more than the kernel.
                Some((node, id)) if self.nodes.get(&node).is_none_or(|claims| claims.table.is_none()) => {
                    tables.entry(node).or_default().insert(address, id);
                    self.note_written(address, Some(*lease));
                }
                Some(_) => self.note_written(address, Some(*lease)),
                None => effects.writes.push(Write::Remove(*key)),
            }
        }
        for (key, end) in ends {
            match NodeNumber::new(key.0.0) {
                Some(node) => {
                    let claims = self.nodes.entry(node).or_default();
                    claims.not_after = claims.not_after.max(end.not_after);
                }
                None => effects.writes.push(Write::Silence(*key)),
            }
        }
        for (node, addresses) in tables {
            self.replace(node, Some(Table::of(addresses)));
        }
        let reviewed = self.review(facts, now);
        effects.writes.extend(reviewed.writes);
        effects.news = reviewed.news;
        effects
    }

    /// A session with the node is up: from now on it alone speaks for the node.
    pub fn open(&mut self, node: NodeNumber, generation: u64) {
        let claims = self.nodes.entry(node).or_default();
        claims.generation = claims.generation.max(generation);
    }

    /// A session with the node is up, and its kernel is another one than before: what it said until then counts no more, and
    /// neither do older sessions.
    pub fn rebooted(
        &mut self,
        (node, generation): (NodeNumber, u64),
        facts: &impl Facts,
        now: u64,
    ) -> Effects {
        let mut effects = Effects::default();
        self.open(node, generation);
        let claimed = self.claimants.iter();
        let claimed = claimed.filter(|(_, claimants)| claimants.contains(&node));
        let written = self
            .written
            .iter()
            .filter(|(_, lease)| lease.node.0 == node.get());
        let affected: BTreeSet<IpAddr> = claimed
            .map(|(address, _)| *address)
            .chain(written.map(|(address, _)| *address))
            .collect();
        self.forget(node, &mut effects);
        self.judge(affected, facts, now, &mut effects);
        effects
    }

    /// Of what the node said last.
    pub fn digest(&self, node: NodeNumber) -> Option<Digest> {
        Some(self.nodes.get(&node)?.table.as_ref()?.digest())
    }

    /// The node says what all its addresses are.
    pub fn table(
        &mut self,
        (node, generation): (NodeNumber, u64),
        groups: Vec<Group>,
        facts: &impl Facts,
        now: u64,
    ) -> Result<Effects, BookError> {
        self.hears(node, generation)?;
        let table = Table::new(groups)?;
        Ok(self.said(node, table, facts, now))
    }

    /// The node says what has changed.
    pub fn change(
        &mut self,
        (node, generation): (NodeNumber, u64),
        withdrawn: &[IpAddr],
        added: Vec<Group>,
        facts: &impl Facts,
        now: u64,
    ) -> Result<Effects, BookError> {
        self.hears(node, generation)?;
        let before = self.nodes.get(&node).and_then(|claims| claims.table.as_ref());
        // It was forgotten meanwhile: the next question, without a digest, brings all of it.
        let Some(before) = before else {
            return Ok(Effects::default());
        };
        let table = before.changed(withdrawn, added)?;
        Ok(self.said(node, table, facts, now))
    }

    /// The node lets what it said be believed until `not_after`. Never shortens what it gave before.
    pub fn grant(
        &mut self,
        (node, generation): (NodeNumber, u64),
        not_after: u64,
        facts: &impl Facts,
        now: u64,
    ) -> Result<Effects, BookError> {
        self.hears(node, generation)?;
        let mut effects = Effects::default();
        let Some(claims) = self.nodes.get_mut(&node) else {
            return Ok(effects);
        };
        if claims.table.is_none() || not_after <= claims.not_after || !facts.is_member(node) {
            return Ok(effects);
        }
        let revived = !claims.is_live(now);
        claims.not_after = not_after;
        claims.lapsed = false;
        if revived {
            // What it claims besides others counts from now on, and so does the conflict.
            let contested = self.contested(|claimants| claimants.contains(&node));
            self.judge(contested, facts, now, &mut effects);
        }
        effects
            .writes
            .push(Write::Extend(LeaseEndKey(NodeId(node.get())), not_after));
        Ok(effects)
    }

    /// This node's own addresses.
    pub fn own(&mut self, addresses: BTreeSet<IpAddr>, facts: &impl Facts, now: u64) -> Effects {
        let mut effects = Effects::default();
        let changed: Vec<IpAddr> = addresses.symmetric_difference(&self.own).copied().collect();
        self.own = addresses;
        self.judge(changed, facts, now, &mut effects);
        effects
    }

    /// The view has changed: everything is judged anew, and nodes that have left it are forgotten at once.
    pub fn review(&mut self, facts: &impl Facts, now: u64) -> Effects {
        let mut effects = Effects::default();
        let gone: Vec<NodeNumber> = self
            .nodes
            .keys()
            .copied()
            .filter(|node| !facts.is_member(*node))
            .collect();
        let mut affected: BTreeSet<IpAddr> = self.written.keys().copied().collect();
        for node in gone {
            self.forget(node, &mut effects);
            self.nodes.remove(&node);
        }
        affected.extend(self.claimants.keys().copied());
        affected.extend(self.conflicts.iter().copied());
        self.judge(affected, facts, now, &mut effects);
        effects
    }

    /// Numbers may mean others than they did: nothing of what was said counts.
    pub fn clear(&mut self) -> Effects {
        let mut effects = Effects::default();
        let nodes: Vec<NodeNumber> = self.nodes.keys().copied().collect();
        let written: Vec<IpAddr> = self.written.keys().copied().collect();
        for address in written {
            self.note_written(address, None);
            effects.writes.push(Write::Remove(key(address)));
        }
        for node in nodes {
            self.forget(node, &mut effects);
        }
        self.conflicts.clear();
        self.refused.clear();
        self.unwritten.clear();
        effects
    }

    /// Time has passed: words that count no more decide no conflict any more.
    pub fn tick(&mut self, facts: &impl Facts, now: u64) -> Effects {
        let mut effects = Effects::default();
        let mut lapsed = BTreeSet::new();
        for (node, claims) in &mut self.nodes {
            if claims.not_after != 0 && !claims.is_live(now) && !claims.lapsed {
                claims.lapsed = true;
                lapsed.insert(*node);
                effects.news.push(News::Lapsed { node: *node });
            }
        }
        let contested = self.contested(|claimants| !claimants.is_disjoint(&lapsed));
        self.judge(contested, facts, now, &mut effects);
        effects
    }

    /// The kernel had no room for the address's lease.
    pub fn unwritten(&mut self, key: LeaseKey) {
        let address = IpAddr::from(key.0);
        self.note_written(address, None);
        self.unwritten.insert(address);
    }

    /// What has found no room, once more.
    pub fn retry(&mut self, facts: &impl Facts, now: u64) -> Effects {
        let mut effects = Effects::default();
        let unwritten = std::mem::take(&mut self.unwritten);
        self.judge(unwritten, facts, now, &mut effects);
        effects
    }

    /// Whether the kernel has a lease in force for at least one address of the identity on the node.
    pub fn covers(&self, node: NodeId, identity: SecurityIdentity, now: u64) -> bool {
        let is_live = NodeNumber::new(node.0)
            .and_then(|node| self.nodes.get(&node))
            .is_some_and(|claims| claims.is_live(now));
        is_live && self.counts.contains_key(&Lease { identity, node })
    }

    /// What the kernel should have.
    pub fn written(&self) -> impl Iterator<Item = (LeaseKey, Lease)> {
        self.written
            .iter()
            .map(|(address, lease)| (key(*address), *lease))
    }

    /// Until when each node's word counts.
    pub fn ends(&self) -> impl Iterator<Item = (LeaseEndKey, u64)> {
        self.nodes
            .iter()
            .filter(|(_, claims)| claims.not_after != 0)
            .map(|(node, claims)| (LeaseEndKey(NodeId(node.get())), claims.not_after))
    }

    /// Addresses that several nodes claim.
    pub fn conflicts(&self) -> usize {
        self.conflicts.len()
    }

    /// Claims that are not believed.
    pub fn refused(&self) -> usize {
        self.refused.len()
    }

    /// Leases that the kernel has no room for.
    pub fn without_room(&self) -> usize {
        self.unwritten.len()
    }

    /// All claims, by node and address.
    pub fn report(&self, facts: &impl Facts, now: u64) -> Vec<Entry> {
        let mut entries = Vec::new();
        for (node, claims) in &self.nodes {
            let Some(table) = &claims.table else { continue };
            for (address, id) in table.iter() {
                let written = self.written.get(address);
                entries.push(Entry {
                    node: *node,
                    address: *address,
                    id: id.clone(),
                    not_after: claims.not_after,
                    written: written.is_some_and(|lease| lease.node.0 == node.get()),
                    refusal: self.refusal(*node, *address, facts, now),
                });
            }
        }
        entries
    }

    fn hears(&self, node: NodeNumber, generation: u64) -> Result<(), Superseded> {
        match self.nodes.get(&node) {
            Some(claims) if claims.generation > generation => Err(Superseded),
            Some(_) | None => Ok(()),
        }
    }

    fn said(&mut self, node: NodeNumber, table: Table, facts: &impl Facts, now: u64) -> Effects {
        let mut effects = Effects::default();
        if !facts.is_member(node) {
            return effects;
        }
        let affected = self.replace(node, Some(table));
        self.judge(affected, facts, now, &mut effects);
        effects
    }

    /// Takes down what the node says; the addresses of which it says something else than before.
    fn replace(&mut self, node: NodeNumber, table: Option<Table>) -> BTreeSet<IpAddr> {
        let claims = self.nodes.entry(node).or_default();
        let before = claims.table.take().unwrap_or_default();
        let after = table.unwrap_or_default();
        let (gone, new) = before.change_to(&after);
        let mut affected: BTreeSet<IpAddr> = gone.iter().copied().collect();
        for address in gone {
            if let Some(claimants) = self.claimants.get_mut(&address) {
                claimants.remove(&node);
                if claimants.is_empty() {
                    self.claimants.remove(&address);
                }
            }
            self.refused.remove(&(node, address));
        }
        for address in new.into_iter().flat_map(|group| group.addresses) {
            self.claimants.entry(address).or_default().insert(node);
            affected.insert(address);
        }
        claims.table = Some(after);
        affected
    }

    /// Forgets a node. Its addresses are to be judged anew.
    fn forget(&mut self, node: NodeNumber, effects: &mut Effects) {
        self.replace(node, None);
        if let Some(claims) = self.nodes.get_mut(&node) {
            let spoke = claims.not_after != 0;
            // The session's number stays: an older one's messages may still be on their way.
            *claims = Claims {
                generation: claims.generation,
                ..Claims::default()
            };
            if spoke {
                effects
                    .writes
                    .push(Write::Silence(LeaseEndKey(NodeId(node.get()))));
            }
        }
    }

    fn contested(&self, concerns: impl Fn(&BTreeSet<NodeNumber>) -> bool) -> Vec<IpAddr> {
        let several = self.claimants.iter().filter(|(_, claimants)| claimants.len() > 1);
        several
            .filter(|(_, claimants)| concerns(claimants))
            .map(|(address, _)| *address)
            .collect()
    }

    /// Decides about these addresses, and lists what follows.
    fn judge(
        &mut self,
        addresses: impl IntoIterator<Item = IpAddr>,
        facts: &impl Facts,
        now: u64,
        effects: &mut Effects,
    ) {
        let (mut removed, mut put) = (Vec::new(), Vec::new());
        for address in addresses {
            let claimants = self.claimants.get(&address).cloned().unwrap_or_default();
            let mut believed = None;
            let mut rivals = BTreeSet::new();
            for node in claimants {
                match self.refusal(node, address, facts, now) {
                    None => {
                        believed = self.lease(node, address, facts);
                        self.refused.remove(&(node, address));
                    }
                    Some(why) => {
                        if let Refusal::Conflict(others) = &why {
                            rivals.insert(node);
                            rivals.extend(others);
                        }
                        if self.refused.insert((node, address)) {
                            effects.news.push(News::Refused { node, address, why });
                        }
                    }
                }
            }
            // Who has not given its word yet, or no more, is not believed beside one who has: that is no conflict.
            if rivals.is_empty() || believed.is_some() {
                if self.conflicts.remove(&address) {
                    effects.news.push(News::Resolved { address });
                }
            } else if self.conflicts.insert(address) {
                let nodes = rivals.into_iter().collect();
                effects.news.push(News::Conflict { address, nodes });
            }
            let before = self.written.get(&address).copied();
            if before == believed {
                continue;
            }
            self.unwritten.remove(&address);
            self.note_written(address, believed);
            match believed {
                Some(lease) => put.push(Write::Put(key(address), lease)),
                None => removed.push(Write::Remove(key(address))),
            }
        }
        effects.writes.extend(removed);
        effects.writes.extend(put);
    }

    fn lease(&self, node: NodeNumber, address: IpAddr, facts: &impl Facts) -> Option<Lease> {
        let id = self.nodes.get(&node)?.table.as_ref()?.get(&address)?;
        Some(Lease {
            identity: facts.registered(node, id)?,
            node: NodeId(node.get()),
        })
    }

    /// Why the node's claim of the address is not believed.
    fn refusal(&self, node: NodeNumber, address: IpAddr, facts: &impl Facts, now: u64) -> Option<Refusal> {
        if let Some(refusal) = self.unentitled(node, address, facts) {
            return Some(refusal);
        }
        if self.own.contains(&address) {
            return Some(Refusal::Ours);
        }
        let others: Vec<NodeNumber> = self
            .claimants
            .get(&address)?
            .iter()
            .copied()
            .filter(|other| *other != node && self.unentitled(*other, address, facts).is_none())
            .collect();
        // A word that counts no more stands in nobody's way, and two of them decide nothing.
        let is_live = |node: &NodeNumber| self.nodes.get(node).is_some_and(|claims| claims.is_live(now));
        let stands = if is_live(&node) {
            !others.iter().any(is_live)
        } else {
            others.is_empty()
        };
        (!stands).then_some(Refusal::Conflict(others))
    }

    /// Why the node may not claim the address, whoever else does.
    fn unentitled(&self, node: NodeNumber, address: IpAddr, facts: &impl Facts) -> Option<Refusal> {
        let id = self.nodes.get(&node)?.table.as_ref()?.get(&address)?;
        if facts.registered(node, id).is_none() {
            return Some(Refusal::NotRegistered);
        }
        (!facts.has_address(node, address)).then_some(Refusal::NotItsAddress)
    }

    fn note_written(&mut self, address: IpAddr, lease: Option<Lease>) {
        let before = match lease {
            Some(lease) => {
                *self.counts.entry(lease).or_default() += 1;
                self.written.insert(address, lease)
            }
            None => self.written.remove(&address),
        };
        let Some(before) = before else { return };
        if let Some(count) = self.counts.get_mut(&before) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&before);
            }
        }
    }
}

/// Why a node's message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BookError {
    /// It says something impossible.
    #[error(transparent)]
    Table(#[from] TableError),
    /// It comes from a session that counts no more.
    #[error(transparent)]
    Superseded(#[from] Superseded),
}

fn key(address: IpAddr) -> LeaseKey {
    LeaseKey(Address::from(address))
}
