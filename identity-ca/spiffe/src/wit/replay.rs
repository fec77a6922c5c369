//! Which proofs were here before.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest::{SHA256, digest};
use rustls_pki_types::UnixTime;

use super::proof::ProofError;

/// The proofs that a receiver has taken and that have not ended. Bounded: when it is full, new ones are refused until some end,
/// as one that is forgotten too early could be used twice.
#[derive(Debug, Clone)]
pub struct SeenProofs {
    most: usize,
    /// Hashes of key and `jti`.
    known: BTreeSet<[u8; 32]>,
    by_end: BTreeMap<u64, Vec<[u8; 32]>>,
}

impl SeenProofs {
    /// Room for so many at once: the most requests that a receiver takes in five minutes.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            known: BTreeSet::new(),
            by_end: BTreeMap::new(),
        }
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Takes a proof that was not here before, and remembers it until its end.
    pub(super) fn take(
        &mut self,
        key: &str,
        id: &str,
        expires: UnixTime,
        now: UnixTime,
    ) -> Result<(), ProofError> {
        // What ends at a second is refused from that second on.
        let living = self.by_end.split_off(&now.as_secs().saturating_add(1));
        for ended in std::mem::replace(&mut self.by_end, living)
            .into_values()
            .flatten()
        {
            self.known.remove(&ended);
        }
        let hash = hash(key, id);
        if self.known.contains(&hash) {
            return Err(ProofError::Replayed);
        }
        if self.known.len() >= self.most {
            return Err(ProofError::Full);
        }
        self.known.insert(hash);
        self.by_end.entry(expires.as_secs()).or_default().push(hash);
        Ok(())
    }
}

/// Of one key: others may use the same `jti`. A thumbprint has a fixed length, so nothing runs together.
fn hash(key: &str, id: &str) -> [u8; 32] {
    let text = [key.as_bytes(), b".", id.as_bytes()].concat();
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, &text).as_ref());
    hash
}
