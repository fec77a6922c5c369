//! Checking a whole log: every leaf, every stored hash, the heads that were signed.

use std::collections::BTreeMap;

use crate::checkpoint::Checkpoint;
use crate::frontier::Frontier;
use crate::hash::Hash;
use crate::leaf::{Entry, Record};

/// Reads a log from its beginning and says where it lies. Holds O(log n) hashes.
#[derive(Debug)]
pub struct Audit {
    frontier: Frontier,
    /// The roots that the log must have had, by size.
    heads: BTreeMap<u64, Hash>,
    /// Digests of documents to look for, and where they were found.
    wanted: BTreeMap<Hash, Option<u64>>,
    unknown: u64,
}

/// That the log lies, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// An entry is missing or comes twice.
    #[error("entry {expected} is missing: the next one is {found}")]
    Gap {
        /// What should have come.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// The entry is not what was hashed when it was written.
    #[error("entry {position} was changed after it was written: it does not have its own hash")]
    Leaf {
        /// Which.
        position: u64,
    },
    /// A stored inner hash is wrong.
    #[error("the tree was changed: a hash stored beside entry {position} is wrong")]
    Node {
        /// Beside which entry.
        position: u64,
    },
    /// The log is not the one that was signed.
    #[error("the first {size} entries are not those of the checkpoint of that size: the log was rewritten")]
    Head {
        /// Size of the checkpoint.
        size: u64,
    },
    /// Fewer entries than were signed.
    #[error("the log has {size} entries, a checkpoint of it has {signed}: its end was cut off")]
    Short {
        /// Entries there are.
        size: u64,
        /// Entries there must be.
        signed: u64,
    },
    /// Two checkpoints of one size with different roots.
    #[error(
        "two checkpoints of {size} entries contradict each other: the log shows different people different things"
    )]
    Split {
        /// Their size.
        size: u64,
    },
    /// A document was issued that the log does not have.
    #[error("the document with SHA-256 {sha256} is not in the log")]
    NotLogged {
        /// Its digest.
        sha256: Hash,
    },
}

/// A log that does not lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audited {
    /// Entries.
    pub size: u64,
    /// The hash of the tree.
    pub root: Hash,
    /// Entries of kinds that this program does not know. They are where they must be.
    pub unknown: u64,
    /// Where each document that was looked for stands.
    pub found: BTreeMap<Hash, u64>,
}

impl Audit {
    /// Begins. `heads` are checkpoints that the log must agree with, `wanted` digests of documents that it must have.
    pub fn new(
        heads: impl IntoIterator<Item = Checkpoint>,
        wanted: impl IntoIterator<Item = Hash>,
    ) -> Result<Self, Fault> {
        let mut audit = Self {
            frontier: Frontier::empty(),
            heads: BTreeMap::new(),
            wanted: wanted.into_iter().map(|sha256| (sha256, None)).collect(),
            unknown: 0,
        };
        for head in heads {
            let other = audit.heads.insert(head.size(), head.root());
            if other.is_some_and(|other| other != head.root()) {
                return Err(Fault::Split { size: head.size() });
            }
        }
        audit.check_head()?;
        Ok(audit)
    }

    /// The next entry, with the hashes that are stored beside it where they are at hand.
    pub fn entry(&mut self, position: u64, leaf: &[u8], stored: &[Hash]) -> Result<(), Fault> {
        let expected = self.frontier.size();
        if position != expected {
            return Err(Fault::Gap {
                expected,
                found: position,
            });
        }
        let completed = self.frontier.append(Hash::leaf(leaf));
        if !stored.is_empty() {
            if stored.first() != completed.first() {
                return Err(Fault::Leaf { position });
            }
            if stored != completed {
                return Err(Fault::Node { position });
            }
        }
        match Entry::decode(leaf) {
            Ok(Entry {
                record: Record::Issuance(issuance),
                ..
            }) => {
                if let Some(found) = self.wanted.get_mut(&issuance.sha256) {
                    found.get_or_insert(position);
                }
            }
            Ok(_) => {}
            Err(_) => self.unknown += 1,
        }
        self.check_head()
    }

    /// The end of the log.
    pub fn finish(self) -> Result<Audited, Fault> {
        let size = self.frontier.size();
        if let Some((&signed, _)) = self.heads.range(size + 1..).next_back() {
            return Err(Fault::Short { size, signed });
        }
        let found = self
            .wanted
            .into_iter()
            .map(|(sha256, at)| at.map(|at| (sha256, at)).ok_or(Fault::NotLogged { sha256 }))
            .collect::<Result<_, _>>()?;
        Ok(Audited {
            size,
            root: self.frontier.root(),
            unknown: self.unknown,
            found,
        })
    }

    fn check_head(&self) -> Result<(), Fault> {
        let size = self.frontier.size();
        match self.heads.get(&size) {
            Some(root) if *root != self.frontier.root() => Err(Fault::Head { size }),
            Some(_) | None => Ok(()),
        }
    }
}
