//! The right edge of the tree: all that appending needs.

use crate::hash::Hash;
use crate::subtree::Subtree;

/// Size and right edge of a log. Appends in O(log n) and holds O(log n) hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// The complete subtrees that the tree consists of, large to small: one for each bit of `size`.
    peaks: Vec<Hash>,
}

/// The hashes do not make the right edge of a tree of that size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a tree of {size} leaves has {wanted} complete subtrees at its right edge, not {found}")]
pub struct FrontierError {
    size: u64,
    wanted: u32,
    found: usize,
}

impl Frontier {
    /// Of a log without entries.
    pub fn empty() -> Self {
        Self {
            size: 0,
            peaks: Vec::new(),
        }
    }

    /// The subtrees whose hashes [`Frontier::restore`] wants, in order.
    pub fn subtrees(size: u64) -> Vec<Subtree> {
        Subtree::cover(0, size)
    }

    /// From stored hashes.
    pub fn restore(size: u64, peaks: Vec<Hash>) -> Result<Self, FrontierError> {
        let wanted = size.count_ones();
        if u32::try_from(peaks.len()) != Ok(wanted) {
            return Err(FrontierError {
                size,
                wanted,
                found: peaks.len(),
            });
        }
        Ok(Self { size, peaks })
    }

    /// Leaves in the log; the position of the next one.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf. Returns the hashes of the subtrees that it completes, smallest first, beginning with its own.
    pub fn append(&mut self, leaf: Hash) -> Vec<Hash> {
        let mut completed = vec![leaf];
        let mut last = leaf;
        // Each trailing one of the size is a subtree that waits for a sibling of its size.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                last = Hash::node(&left, &last);
                completed.push(last);
            }
        }
        self.peaks.push(last);
        self.size += 1;
        completed
    }

    /// The hash of the whole tree.
    pub fn root(&self) -> Hash {
        fold(&self.peaks).unwrap_or_else(Hash::empty_tree)
    }
}

/// Hashes neighbouring complete subtrees, large to small, into the hash of their range.
pub(crate) fn fold(subtrees: &[Hash]) -> Option<Hash> {
    let (last, rest) = subtrees.split_last()?;
    Some(
        rest.iter()
            .rev()
            .fold(*last, |right, left| Hash::node(left, &right)),
    )
}
