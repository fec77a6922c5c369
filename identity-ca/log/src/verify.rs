//! Checking proofs: RFC 9162 §2.1.3.2 and §2.1.4.2.

use crate::hash::Hash;

/// Why a proof does not prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The leaf is beyond the end of the tree.
    #[error("the entry is not in a log of that size")]
    NotInTree,
    /// The later tree is smaller than the earlier one.
    #[error("the log has shrunk")]
    Shrinks,
    /// Too few or too many hashes.
    #[error("the proof has the wrong length")]
    Length,
    /// The hashes lead to another earlier root.
    #[error("the proof leads to another earlier tree head: the log has been rewritten")]
    OldRoot,
    /// The hashes lead to another root.
    #[error("the proof leads to another tree head")]
    Root,
}

/// Checks that a leaf is at `position` of the tree with this size and root.
pub fn verify_inclusion(
    leaf: Hash,
    position: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    if position >= size {
        return Err(ProofError::NotInTree);
    }
    let (mut node, mut last, mut hash) = (position, size - 1, leaf);
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if node & 1 == 1 || node == last {
            hash = Hash::node(sibling, &hash);
            skip_only_children(&mut node, &mut last);
        } else {
            hash = Hash::node(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
    if hash != *root {
        return Err(ProofError::Root);
    }
    Ok(())
}

/// Checks that the tree with the first size and root is the beginning of the tree with the second ones.
pub fn verify_consistency(old: (u64, &Hash), new: (u64, &Hash), proof: &[Hash]) -> Result<(), ProofError> {
    let ((old_size, old_root), (new_size, new_root)) = (old, new);
    if old_size > new_size {
        return Err(ProofError::Shrinks);
    }
    if old_size == 0 || old_size == new_size {
        return verify_trivially(old, new, proof);
    }
    // A complete earlier tree is a node of the later one, whose hash the proof leaves out.
    let (&first, rest) = if old_size.is_power_of_two() {
        (old_root, proof)
    } else {
        proof.split_first().ok_or(ProofError::Length)?
    };
    let (mut node, mut last) = (old_size - 1, new_size - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (mut to_old, mut to_new) = (first, first);
    for sibling in rest {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if node & 1 == 1 || node == last {
            to_old = Hash::node(sibling, &to_old);
            to_new = Hash::node(sibling, &to_new);
            skip_only_children(&mut node, &mut last);
        } else {
            to_new = Hash::node(&to_new, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
    if to_old != *old_root {
        return Err(ProofError::OldRoot);
    }
    if to_new != *new_root {
        return Err(ProofError::Root);
    }
    Ok(())
}

/// An empty tree is the beginning of every tree, and each tree its own.
fn verify_trivially(old: (u64, &Hash), new: (u64, &Hash), proof: &[Hash]) -> Result<(), ProofError> {
    if !proof.is_empty() {
        return Err(ProofError::Length);
    }
    let empty = Hash::empty_tree();
    for (size, root) in [old, new] {
        if size == 0 && *root != empty {
            return Err(ProofError::OldRoot);
        }
    }
    if old.0 == new.0 && old.1 != new.1 {
        return Err(ProofError::OldRoot);
    }
    Ok(())
}

/// At the right edge a node may have no sibling: it then goes up as it is.
fn skip_only_children(node: &mut u64, last: &mut u64) {
    while *node & 1 == 0 && *node != 0 {
        *node >>= 1;
        *last >>= 1;
    }
}
