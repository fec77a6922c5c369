//! What one node says of its addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;

use aws_lc_rs::digest::{Context, SHA256};
use signet_session::{ADDRESSES, Digest, Group};
use signet_spiffe::SpiffeId;

/// Comes first in what is hashed, so that no other protocol's bytes are a table's.
const LABEL: &[u8] = b"signet lease table v1\0";

/// Why there is no such table. The owner's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// Too many addresses.
    #[error("peer says of more than {ADDRESSES} addresses that they are its")]
    TooMany,
    /// An address is added that is there.
    #[error("peer adds address {0} once more without withdrawing it")]
    Twice(IpAddr),
    /// An address is withdrawn that is not there.
    #[error("peer withdraws address {0}, which it has not claimed")]
    NotThere(IpAddr),
}

/// Which SPIFFE ID each address carries. Every address has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    addresses: BTreeMap<IpAddr, SpiffeId>,
    digest: Digest,
}

impl Default for Table {
    fn default() -> Self {
        Self::from_map(BTreeMap::new())
    }
}

impl Table {
    /// A table out of what a node says as a whole.
    pub fn new(groups: Vec<Group>) -> Result<Self, TableError> {
        let mut addresses = BTreeMap::new();
        add(&mut addresses, groups)?;
        Ok(Self::from_map(addresses))
    }

    /// A table of these addresses; those in excess of what a node may say are left out.
    pub fn of(addresses: BTreeMap<IpAddr, SpiffeId>) -> Self {
        Self::from_map(addresses.into_iter().take(ADDRESSES).collect())
    }

    fn from_map(addresses: BTreeMap<IpAddr, SpiffeId>) -> Self {
        let mut table = Self {
            addresses,
            digest: Digest([0; 32]),
        };
        table.digest = table.compute();
        table
    }

    /// The table after a change; this one stays as it is.
    pub fn changed(&self, withdrawn: &[IpAddr], added: Vec<Group>) -> Result<Self, TableError> {
        let mut addresses = self.addresses.clone();
        for address in withdrawn {
            addresses.remove(address).ok_or(TableError::NotThere(*address))?;
        }
        add(&mut addresses, added)?;
        Ok(Self::from_map(addresses))
    }

    /// What leads from this table to `next`: the withdrawn addresses, among them those that change their identity, and the
    /// added ones.
    pub fn change_to(&self, next: &Self) -> (Vec<IpAddr>, Vec<Group>) {
        let differs = |from: &Self, address: &IpAddr, id: &SpiffeId| from.addresses.get(address) != Some(id);
        let withdrawn = self
            .addresses
            .iter()
            .filter(|(address, id)| differs(next, address, id))
            .map(|(address, _)| *address)
            .collect();
        let added = next
            .addresses
            .iter()
            .filter(|(address, id)| differs(self, address, id));
        (withdrawn, groups(added))
    }

    /// SHA-256 over a label and the groups in the order of their SPIFFE IDs: length and text of the ID, number of the addresses,
    /// then these in order as 16 bytes each (IPv4 mapped). Numbers are 32 bits, big-endian.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    fn compute(&self) -> Digest {
        let mut context = Context::new(&SHA256);
        context.update(LABEL);
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes();
        for group in self.groups() {
            let id = group.id.as_str();
            context.update(&count(id.len()));
            context.update(id.as_bytes());
            context.update(&count(group.addresses.len()));
            for address in group.addresses {
                context.update(&signet_abi::Address::from(address).0);
            }
        }
        let mut digest = Digest([0; 32]);
        digest.0.copy_from_slice(context.finish().as_ref());
        digest
    }

    /// All of it, by SPIFFE ID.
    pub fn groups(&self) -> Vec<Group> {
        groups(self.addresses.iter())
    }

    /// All of it, by address.
    pub fn iter(&self) -> impl Iterator<Item = (&IpAddr, &SpiffeId)> {
        self.addresses.iter()
    }

    /// Whose the address is.
    pub fn get(&self, address: &IpAddr) -> Option<&SpiffeId> {
        self.addresses.get(address)
    }

    /// How many addresses there are.
    pub fn len(&self) -> usize {
        self.addresses.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }
}

fn add(addresses: &mut BTreeMap<IpAddr, SpiffeId>, groups: Vec<Group>) -> Result<(), TableError> {
    for Group { id, addresses: its } in groups {
        for address in its {
            if addresses.insert(address, id.clone()).is_some() {
                return Err(TableError::Twice(address));
            }
        }
        if addresses.len() > ADDRESSES {
            return Err(TableError::TooMany);
        }
    }
    Ok(())
}

fn groups<'a>(addresses: impl Iterator<Item = (&'a IpAddr, &'a SpiffeId)>) -> Vec<Group> {
    let mut groups: BTreeMap<&SpiffeId, Vec<IpAddr>> = BTreeMap::new();
    for (address, id) in addresses {
        groups.entry(id).or_default().push(*address);
    }
    let group = |(id, addresses): (&SpiffeId, Vec<IpAddr>)| Group {
        id: id.clone(),
        addresses,
    };
    groups.into_iter().map(group).collect()
}
