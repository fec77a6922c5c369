//! Complete subtrees: the nodes of the tree that never change once they are there.

/// The complete subtree over the leaves `index << level` up to, but not including, `(index + 1) << level`.
///
/// Its hash is known as soon as its last leaf is, and never changes. A store keeps with each leaf the hashes of the
/// subtrees which that leaf completes, smallest first: the subtree of level `l` is then the `l`-th hash beside
/// [`Subtree::last_leaf`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subtree {
    level: u32,
    index: u64,
}

impl Subtree {
    /// The subtree of `1 << level` leaves that ends before the leaf `end`, which must be a multiple of that.
    pub(crate) fn ending(level: u32, end: u64) -> Self {
        Self {
            level,
            index: (end >> level).saturating_sub(1),
        }
    }

    /// Its height; a leaf has 0.
    pub fn level(&self) -> u32 {
        self.level
    }

    /// Its place among the subtrees of its level.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The position of the leaf that completes it.
    pub fn last_leaf(&self) -> u64 {
        ((self.index + 1) << self.level) - 1
    }

    /// The complete subtrees that a range of leaves consists of, in order. `first` must be a multiple of the largest
    /// power of two that is not larger than the range.
    pub(crate) fn cover(first: u64, end: u64) -> Vec<Self> {
        let mut subtrees = Vec::new();
        let mut at = first;
        while at < end {
            let level = (end - at).ilog2();
            at += 1 << level;
            subtrees.push(Self::ending(level, at));
        }
        subtrees
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_covered_by_complete_subtrees_from_large_to_small() {
        let shown: Vec<_> = Subtree::cover(0, 7)
            .iter()
            .map(|subtree| (subtree.level(), subtree.index(), subtree.last_leaf()))
            .collect();
        assert_eq!(shown, [(2, 0, 3), (1, 2, 5), (0, 6, 6)]);
        assert_eq!(Subtree::cover(4, 7).len(), 2);
        assert!(Subtree::cover(5, 5).is_empty());
    }
}
