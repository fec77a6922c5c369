//! Proofs, as plans: which stored hashes they are put together from.

use crate::frontier::fold;
use crate::hash::Hash;
use crate::subtree::Subtree;

/// What a proof consists of. Names O(log n) subtrees; once their hashes are looked up, [`Plan::assemble`] makes the proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Each part becomes one hash of the proof: that of its subtrees, which are neighbours.
    parts: Vec<Vec<Subtree>>,
}

/// There is no such proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The leaf is not in the tree.
    #[error("a log of {size} entries has no entry {position}")]
    NoSuchLeaf {
        /// Which.
        position: u64,
        /// Leaves in the tree.
        size: u64,
    },
    /// The smaller tree is larger than the larger.
    #[error("a log of {new} entries cannot have grown from one of {old}")]
    Shrinks {
        /// Size of the earlier tree.
        old: u64,
        /// Size of the later one.
        new: u64,
    },
}

/// A hash that the plan needs was not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the hash of a subtree of height {} beside entry {} is missing", .0.level(), .0.last_leaf())]
pub struct Missing(pub Subtree);

impl Plan {
    /// For the root of a tree: one hash, or none for the empty tree ([`Hash::empty_tree`]).
    pub fn root(size: u64) -> Self {
        let parts = match size {
            0 => Vec::new(),
            _ => vec![Subtree::cover(0, size)],
        };
        Self { parts }
    }

    /// For the inclusion proof of a leaf (RFC 9162 §2.1.3.1, `PATH`).
    pub fn inclusion(position: u64, size: u64) -> Result<Self, PlanError> {
        if position >= size {
            return Err(PlanError::NoSuchLeaf { position, size });
        }
        let mut parts = Vec::new();
        let (mut first, mut end) = (0, size);
        while end - first > 1 {
            let middle = split(first, end);
            if position < middle {
                parts.push(Subtree::cover(middle, end));
                end = middle;
            } else {
                parts.push(Subtree::cover(first, middle));
                first = middle;
            }
        }
        // The proof goes from the leaf to the root.
        parts.reverse();
        Ok(Self { parts })
    }

    /// For the consistency proof between two sizes (RFC 9162 §2.1.4.1, `SUBPROOF`). Empty where the smaller tree has no
    /// leaf, or is the larger one.
    pub fn consistency(old: u64, new: u64) -> Result<Self, PlanError> {
        if old > new {
            return Err(PlanError::Shrinks { old, new });
        }
        let mut parts = Vec::new();
        let (mut first, mut end) = (0, new);
        if old > 0 {
            while end > old {
                let middle = split(first, end);
                if old <= middle {
                    parts.push(Subtree::cover(middle, end));
                    end = middle;
                } else {
                    parts.push(Subtree::cover(first, middle));
                    first = middle;
                }
            }
            // What is left ends where the earlier tree ended. Who checks knows its hash only where it is that whole tree.
            if first > 0 {
                parts.push(Subtree::cover(first, end));
            }
        }
        parts.reverse();
        Ok(Self { parts })
    }

    /// The subtrees whose hashes have to be looked up.
    pub fn subtrees(&self) -> impl Iterator<Item = Subtree> + '_ {
        self.parts.iter().flatten().copied()
    }

    /// The proof, from the hashes of the subtrees.
    pub fn assemble(&self, look_up: impl Fn(Subtree) -> Option<Hash>) -> Result<Vec<Hash>, Missing> {
        let mut proof = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            let hashes = part
                .iter()
                .map(|&subtree| look_up(subtree).ok_or(Missing(subtree)))
                .collect::<Result<Vec<_>, _>>()?;
            proof.extend(fold(&hashes));
        }
        Ok(proof)
    }
}

/// Where RFC 9162 §2.1.1 splits a range: after the largest power of two that is smaller than it.
fn split(first: u64, end: u64) -> u64 {
    first + (1 << (end - first - 1).ilog2())
}
