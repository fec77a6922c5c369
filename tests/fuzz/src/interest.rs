//! Which inputs are worth keeping: one for each reason to refuse, and accepted ones that look like nothing before.

use std::collections::{BTreeMap, BTreeSet};

use crate::verdict::Verdict;

/// Most reasons of one target that are told apart.
const REASONS: usize = 48;
/// Most refused inputs that are kept of one run.
const REFUSED: usize = 12;
/// Most accepted inputs that are kept of one run.
const ACCEPTED: usize = 6;
/// Longest input that is kept, bytes.
const LONGEST: usize = 1024;

/// What was seen in a run.
pub(crate) struct Interest {
    /// By reason, the shortest input; none where the corpus has one.
    refused: BTreeMap<String, Option<Vec<u8>>>,
    accepted: Vec<Vec<u8>>,
    /// Pairs of neighbouring bytes of what was accepted.
    pairs: BTreeSet<[u8; 2]>,
}

impl Interest {
    pub(crate) fn new(seeds: &[Vec<u8>]) -> Self {
        Self {
            refused: BTreeMap::new(),
            accepted: Vec::new(),
            pairs: seeds.iter().flat_map(|seed| pairs(seed)).collect(),
        }
    }

    /// Takes it in; whether its reason is new.
    pub(crate) fn note(&mut self, input: &[u8], verdict: &Verdict) -> bool {
        let Some(reason) = verdict.reason() else {
            self.accept(input);
            return false;
        };
        if reason.is_empty() {
            return false;
        }
        if let Some(there) = self.refused.get_mut(reason) {
            if let Some(there) = there
                && input.len() < there.len()
            {
                *there = input.to_vec();
            }
            return false;
        }
        let is_new = self.refused.len() < REASONS;
        if is_new {
            self.refused.insert(reason.to_owned(), Some(input.to_vec()));
        }
        is_new
    }

    /// What was noted so far is kept already.
    pub(crate) fn settle(&mut self) {
        for there in self.refused.values_mut() {
            *there = None;
        }
        self.accepted.clear();
    }

    fn accept(&mut self, input: &[u8]) {
        if input.len() > LONGEST || self.accepted.len() >= ACCEPTED {
            return;
        }
        let new = pairs(input).filter(|pair| !self.pairs.contains(pair)).count();
        // Two or three come with any change.
        if new > 3 {
            self.pairs.extend(pairs(input));
            self.accepted.push(input.to_vec());
        }
    }

    /// One input for each reason that the corpus did not have.
    pub(crate) fn refused(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let kept = |input: &&Vec<u8>| input.len() <= LONGEST;
        let refused = self.refused.iter().filter_map(move |(reason, input)| {
            Some((reason.as_str(), input.as_ref().filter(kept)?.as_slice()))
        });
        refused.take(REFUSED)
    }

    /// Accepted inputs that look different.
    pub(crate) fn accepted(&self) -> impl Iterator<Item = &[u8]> {
        self.accepted.iter().map(Vec::as_slice)
    }
}

fn pairs(input: &[u8]) -> impl Iterator<Item = [u8; 2]> {
    input.windows(2).filter_map(|pair| pair.try_into().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Refused;

    #[test]
    fn one_input_is_kept_for_each_reason_and_none_that_is_there() {
        let refused = |text: &str| Verdict::from(text.parse::<u8>().map_err(Refused::from));
        let mut interest = Interest::new(&[b"seed".to_vec()]);
        assert!(interest.note(b"in the corpus", &refused("")));
        interest.settle();
        assert!(interest.note(b"long", &refused("x")));
        assert!(!interest.note(b"y", &refused("x")) && !interest.note(b"", &refused("")));
        let kept: Vec<_> = interest.refused().map(|(_, input)| input.to_vec()).collect();
        assert_eq!(kept, [b"y".to_vec()]);
        interest.note(b"seed", &Verdict::from(true));
        interest.note(b"another thing", &Verdict::from(true));
        assert_eq!(interest.accepted().count(), 1);
    }
}
