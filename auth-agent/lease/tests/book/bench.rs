//! A book with its world and kernel, and short names for what they are about.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use signet_abi::{Address, Lease, LeaseEndKey, LeaseKey, NodeId, SecurityIdentity};
use signet_lease::{Book, Effects, Facts, News, Write};
use signet_session::{Group, NodeNumber};
use signet_spiffe::SpiffeId;

pub(crate) const NOW: u64 = 1_000;
pub(crate) const LATER: u64 = 11_000;

pub(crate) fn node(number: u32) -> NodeNumber {
    NodeNumber::new(number).expect("not zero")
}

/// `w300` has the number 300.
pub(crate) fn id(number: u32) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://t.example/w{number}")).expect("valid")
}

pub(crate) fn group(workload: u32, addresses: &[&str]) -> Group {
    Group {
        id: id(workload),
        addresses: addresses.iter().map(|text| address(text)).collect(),
    }
}

pub(crate) fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub(crate) fn key(text: &str) -> LeaseKey {
    LeaseKey(Address::from(address(text)))
}

pub(crate) fn lease(identity: u32, node: u32) -> Lease {
    Lease {
        identity: SecurityIdentity(identity),
        node: NodeId(node),
    }
}

pub(crate) fn end(node: u32) -> LeaseEndKey {
    LeaseEndKey(NodeId(node))
}

/// What the view says: registrations as (node, workload), and address blocks as the first three bytes of nodes.
#[derive(Clone, Default)]
pub(crate) struct World {
    pub(crate) members: BTreeSet<u32>,
    pub(crate) registered: BTreeSet<(u32, u32)>,
    pub(crate) blocks: BTreeSet<(u32, [u8; 3])>,
}

impl World {
    /// Nodes 1, 2 and 3 with workloads 300, 400 and 500; node 3 may use node 2's addresses as well.
    pub(crate) fn new() -> Self {
        Self {
            members: [1, 2, 3].into(),
            registered: [(1, 300), (2, 400), (2, 401), (3, 400), (3, 500)].into(),
            blocks: [
                (1, [10, 244, 1]),
                (2, [10, 244, 2]),
                (3, [10, 244, 3]),
                (3, [10, 244, 2]),
            ]
            .into(),
        }
    }
}

impl Facts for World {
    fn is_member(&self, node: NodeNumber) -> bool {
        self.members.contains(&node.get())
    }

    fn registered(&self, node: NodeNumber, id: &SpiffeId) -> Option<SecurityIdentity> {
        let number = id.path().trim_start_matches("/w").parse().ok()?;
        self.registered
            .contains(&(node.get(), number))
            .then_some(SecurityIdentity(number))
    }

    fn has_address(&self, node: NodeNumber, address: IpAddr) -> bool {
        let IpAddr::V4(v4) = address else { return false };
        let [a, b, c, _] = v4.octets();
        self.blocks.contains(&(node.get(), [a, b, c]))
    }

    fn spiffe_id(&self, identity: SecurityIdentity) -> Option<SpiffeId> {
        self.registered
            .iter()
            .any(|(_, workload)| *workload == identity.0)
            .then(|| id(identity.0))
    }
}

/// What the kernel has, after the writes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Kernel {
    pub(crate) leases: BTreeMap<LeaseKey, Lease>,
    pub(crate) ends: BTreeMap<LeaseEndKey, u64>,
}

impl Kernel {
    pub(crate) fn take(&mut self, effects: Effects) -> Vec<News> {
        for write in effects.writes {
            match write {
                Write::Remove(key) => {
                    self.leases.remove(&key);
                }
                Write::Silence(key) => {
                    self.ends.remove(&key);
                }
                Write::Put(key, lease) => {
                    self.leases.insert(key, lease);
                }
                Write::Extend(key, end) => {
                    self.ends.insert(key, end);
                }
            }
        }
        effects.news
    }
}

/// A book with its world and kernel.
#[derive(Default)]
pub(crate) struct Bench {
    pub(crate) book: Book,
    pub(crate) world: World,
    pub(crate) kernel: Kernel,
    pub(crate) now: u64,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self {
            world: World::new(),
            now: NOW,
            ..Self::default()
        }
    }

    pub(crate) fn says(&mut self, number: u32, groups: &[Group]) -> Vec<News> {
        let from = (node(number), 1);
        let effects = self.book.table(from, groups.to_vec(), &self.world, self.now);
        self.kernel.take(effects.expect("taken"))
    }

    pub(crate) fn changes(&mut self, number: u32, withdrawn: &[&str], added: &[Group]) -> Vec<News> {
        let withdrawn: Vec<IpAddr> = withdrawn.iter().map(|text| address(text)).collect();
        let from = (node(number), 1);
        let effects = self
            .book
            .change(from, &withdrawn, added.to_vec(), &self.world, self.now);
        self.kernel.take(effects.expect("taken"))
    }

    pub(crate) fn grants(&mut self, number: u32, until: u64) -> Vec<News> {
        let effects = self.book.grant((node(number), 1), until, &self.world, self.now);
        self.kernel.take(effects.expect("taken"))
    }

    pub(crate) fn review(&mut self) -> Vec<News> {
        let effects = self.book.review(&self.world, self.now);
        self.kernel.take(effects)
    }

    pub(crate) fn tick(&mut self, now: u64) -> Vec<News> {
        self.now = now;
        let effects = self.book.tick(&self.world, now);
        self.kernel.take(effects)
    }

    pub(crate) fn has(&self, text: &str) -> Option<Lease> {
        self.kernel.leases.get(&key(text)).copied()
    }
}
