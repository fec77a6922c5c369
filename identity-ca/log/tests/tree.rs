//! The tree against the vectors of RFC 6962's reference implementation, and against the RFC's own recursion.

#![expect(clippy::unwrap_used, reason = "a test whose set-up fails has failed")]

use proptest::prelude::*;
use signet_log::{
    Frontier, Hash, Plan, PlanError, ProofError, Subtree, verify_consistency, verify_inclusion,
};

/// Leaves of the reference vectors.
const LEAVES: [&str; 8] = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
];

/// Roots of the trees of their first 1 to 8.
const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn hash(text: &str) -> Hash {
    Hash::from_slice(&hex(text)).unwrap()
}

/// A log as a store keeps it: beside each leaf the hashes that it completes.
struct Store {
    frontier: Frontier,
    rows: Vec<Vec<Hash>>,
    leaves: Vec<Vec<u8>>,
}

impl Store {
    fn of(leaves: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut store = Self {
            frontier: Frontier::empty(),
            rows: Vec::new(),
            leaves: Vec::new(),
        };
        for leaf in leaves {
            store.rows.push(store.frontier.append(Hash::leaf(&leaf)));
            store.leaves.push(leaf);
        }
        store
    }

    fn numbered(size: usize) -> Self {
        Self::of((0..size).map(|number| number.to_be_bytes().to_vec()))
    }

    fn reference() -> Self {
        Self::of(LEAVES.iter().map(|leaf| hex(leaf)))
    }

    fn get(&self, subtree: Subtree) -> Option<Hash> {
        let row = self.rows.get(usize::try_from(subtree.last_leaf()).unwrap())?;
        row.get(usize::try_from(subtree.level()).unwrap()).copied()
    }

    fn prove(&self, plan: &Plan) -> Vec<Hash> {
        plan.assemble(|subtree| self.get(subtree)).unwrap()
    }

    fn root(&self, size: u64) -> Hash {
        let mut proof = self.prove(&Plan::root(size));
        proof.pop().unwrap_or_else(Hash::empty_tree)
    }

    fn inclusion(&self, position: u64, size: u64) -> Vec<Hash> {
        self.prove(&Plan::inclusion(position, size).unwrap())
    }

    fn consistency(&self, old: u64, new: u64) -> Vec<Hash> {
        self.prove(&Plan::consistency(old, new).unwrap())
    }
}

#[test]
fn the_empty_tree_has_the_hash_of_nothing() {
    let empty = hash("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_eq!(Frontier::empty().root(), empty);
    assert_eq!(Hash::empty_tree(), empty);
}

#[test]
fn roots_are_those_of_the_reference() {
    let store = Store::reference();
    for (size, root) in (1..).zip(ROOTS) {
        assert_eq!(store.root(size), hash(root), "{size}");
    }
    assert_eq!(store.frontier.root(), hash(ROOTS[7]));
}

#[test]
fn inclusion_proofs_are_those_of_the_reference() {
    let store = Store::reference();
    for (position, size, proof) in [
        (0, 1, vec![]),
        (
            0,
            8,
            vec![
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            5,
            8,
            vec![
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                ROOTS[3],
            ],
        ),
        (2, 3, vec![ROOTS[1]]),
        (
            1,
            5,
            vec![
                ROOTS[0],
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        ),
    ] {
        let proof: Vec<_> = proof.into_iter().map(hash).collect();
        assert_eq!(store.inclusion(position, size), proof, "{position} of {size}");
    }
}

#[test]
fn consistency_proofs_are_those_of_the_reference() {
    let store = Store::reference();
    for (old, new, proof) in [
        (1, 1, vec![]),
        (
            1,
            8,
            vec![
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            6,
            8,
            vec![
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                ROOTS[3],
            ],
        ),
        (
            2,
            5,
            vec![
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        ),
    ] {
        let proof: Vec<_> = proof.into_iter().map(hash).collect();
        assert_eq!(store.consistency(old, new), proof, "{old} to {new}");
    }
}

#[test]
fn there_is_no_proof_of_what_is_not_there() {
    assert_eq!(
        Plan::inclusion(5, 5),
        Err(PlanError::NoSuchLeaf { position: 5, size: 5 })
    );
    assert_eq!(
        Plan::consistency(3, 2),
        Err(PlanError::Shrinks { old: 3, new: 2 })
    );
    let store = Store::numbered(4);
    let plan = Plan::inclusion(5, 8).unwrap();
    assert!(plan.assemble(|subtree| store.get(subtree)).is_err());
}

#[test]
fn a_plan_names_few_hashes() {
    let size = (1 << 40) - 1;
    for position in [0, 1 << 39, size - 1] {
        let count = Plan::inclusion(position, size).unwrap().subtrees().count();
        assert!(count <= 80, "{count} hashes for one proof");
        let count = Plan::consistency(position + 1, size).unwrap().subtrees().count();
        assert!(count <= 80, "{count} hashes for one proof");
    }
}

#[test]
fn every_proof_of_small_trees_holds_and_none_that_was_changed() {
    const MOST: u64 = 20;
    let store = Store::numbered(usize::try_from(MOST).unwrap());
    for size in 1..=MOST {
        let root = store.root(size);
        for position in 0..size {
            let leaf = Hash::leaf(&store.leaves[usize::try_from(position).unwrap()]);
            let proof = store.inclusion(position, size);
            let check =
                |leaf, position, size, proof: &[Hash]| verify_inclusion(leaf, position, size, proof, &root);
            assert_eq!(
                check(leaf, position, size, &proof),
                Ok(()),
                "{position} of {size}"
            );
            assert!(check(Hash::leaf(b"other"), position, size, &proof).is_err());
            assert!(check(leaf, position + 1, size, &proof).is_err());
            for changed in changed(&proof) {
                assert!(
                    check(leaf, position, size, &changed).is_err(),
                    "{position} of {size}"
                );
            }
        }
        assert_eq!(
            verify_inclusion(root, size, size, &[], &root),
            Err(ProofError::NotInTree)
        );
        for old in 0..=size {
            let (old_root, proof) = (store.root(old), store.consistency(old, size));
            let check = |proof: &[Hash]| verify_consistency((old, &old_root), (size, &root), proof);
            assert_eq!(check(&proof), Ok(()), "{old} to {size}");
            for changed in changed(&proof) {
                assert!(check(&changed).is_err(), "{old} to {size}");
            }
            let other = Hash::leaf(b"other");
            assert!(verify_consistency((old, &other), (size, &root), &proof).is_err());
            // An empty log is the beginning of any.
            if old > 0 {
                assert!(verify_consistency((old, &old_root), (size, &other), &proof).is_err());
            }
        }
        assert_eq!(
            verify_consistency((size + 1, &root), (size, &root), &[]),
            Err(ProofError::Shrinks)
        );
    }
}

/// The proof with a hash too few, too many, or wrong.
fn changed(proof: &[Hash]) -> Vec<Vec<Hash>> {
    let mut all = vec![[proof, &[Hash::empty_tree()]].concat()];
    if !proof.is_empty() {
        all.push(proof[1..].to_vec());
        all.push(proof[..proof.len() - 1].to_vec());
    }
    for at in 0..proof.len() {
        let mut one = proof.to_vec();
        one[at].0[31] ^= 1;
        all.push(one);
    }
    all
}

#[test]
fn a_frontier_is_restored_from_what_is_stored() {
    let store = Store::numbered(100);
    for size in 0..=100 {
        let peaks = Frontier::subtrees(size)
            .into_iter()
            .map(|subtree| store.get(subtree).unwrap());
        let mut restored = Frontier::restore(size, peaks.collect()).unwrap();
        assert_eq!(restored.root(), store.root(size));
        for (position, row) in store.rows.iter().enumerate().skip(usize::try_from(size).unwrap()) {
            assert_eq!(&restored.append(Hash::leaf(&store.leaves[position])), row);
        }
        assert_eq!(restored, store.frontier);
    }
    assert!(Frontier::restore(3, vec![Hash::empty_tree()]).is_err());
}

/// RFC 9162 §2.1.1, word by word.
fn naive_root(leaves: &[Vec<u8>]) -> Hash {
    match leaves {
        [] => Hash::empty_tree(),
        [leaf] => Hash::leaf(leaf),
        leaves => {
            let (left, right) = leaves.split_at(largest_power_below(leaves.len()));
            Hash::node(&naive_root(left), &naive_root(right))
        }
    }
}

/// RFC 9162 §2.1.3.1, word by word.
fn naive_path(position: usize, leaves: &[Vec<u8>]) -> Vec<Hash> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let k = largest_power_below(leaves.len());
    let (left, right) = leaves.split_at(k);
    if position < k {
        [naive_path(position, left), vec![naive_root(right)]].concat()
    } else {
        [naive_path(position - k, right), vec![naive_root(left)]].concat()
    }
}

/// RFC 9162 §2.1.4.1, word by word.
fn naive_subproof(old: usize, leaves: &[Vec<u8>], whole: bool) -> Vec<Hash> {
    if old == leaves.len() {
        return if whole {
            Vec::new()
        } else {
            vec![naive_root(leaves)]
        };
    }
    let k = largest_power_below(leaves.len());
    let (left, right) = leaves.split_at(k);
    if old <= k {
        [naive_subproof(old, left, whole), vec![naive_root(right)]].concat()
    } else {
        [naive_subproof(old - k, right, false), vec![naive_root(left)]].concat()
    }
}

fn largest_power_below(count: usize) -> usize {
    count.next_power_of_two() / 2
}

proptest! {
    #[test]
    fn roots_and_proofs_are_those_of_the_rfc(
        leaves in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..8), 1..200),
        at in any::<prop::sample::Index>(),
        from in any::<prop::sample::Index>(),
    ) {
        let store = Store::of(leaves.clone());
        let size = u64::try_from(leaves.len()).unwrap();
        let (position, old) = (at.index(leaves.len()), from.index(leaves.len()) + 1);
        let root = naive_root(&leaves);
        prop_assert_eq!(store.frontier.root(), root);
        let inclusion = store.inclusion(u64::try_from(position).unwrap(), size);
        prop_assert_eq!(&inclusion, &naive_path(position, &leaves));
        let consistency = store.consistency(u64::try_from(old).unwrap(), size);
        prop_assert_eq!(&consistency, &naive_subproof(old, &leaves, true));
        let old_root = naive_root(&leaves[..old]);
        let old = u64::try_from(old).unwrap();
        prop_assert_eq!(verify_consistency((old, &old_root), (size, &root), &consistency), Ok(()));
    }

    #[test]
    fn no_proof_makes_the_verifiers_panic(
        sizes in any::<(u64, u64)>(),
        proof in prop::collection::vec(any::<[u8; 32]>(), 0..70),
    ) {
        let proof: Vec<_> = proof.into_iter().map(Hash).collect();
        let root = Hash::leaf(b"root");
        let _ = verify_inclusion(root, sizes.0, sizes.1, &proof, &root);
        let _ = verify_consistency((sizes.0, &root), (sizes.1, &root), &proof);
    }
}
