//! Whether everybody has an authority who will have to check what it signs.

use std::fmt;
use std::time::Duration;

use signet_spiffe::{NodeName, UnixTime};

use crate::authority::{Authority, later};

/// Most nodes that an error names.
const NAMED: usize = 8;

/// What is asked for before an authority may sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enough {
    /// That it has been published for the interval: whoever polls has it then, and so has every agent that is there.
    Time,
    /// That every node with an SVID that lives has it. Outsiders, who poll, may not.
    Acknowledged,
    /// Both.
    TimeAndAcknowledged,
    /// Nothing: what the one before it signs does not count any more, so that nobody loses by an earlier beginning.
    Nothing,
}

/// A node that has a living SVID and has not said that it has the authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Which.
    pub node: NodeName,
    /// When its SVID ends: from then on nobody waits for it.
    pub until: UnixTime,
}

/// How an authority's publication stands.
#[derive(Debug, Clone, Copy)]
pub struct Publication<'a> {
    /// How long it is to be published before it signs.
    pub interval: Duration,
    /// Who lacks it.
    pub missing: &'a [Missing],
}

/// It would be used before others have it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Unpublished {
    /// Who lacks it, as far as that counts.
    pub missing: Vec<NodeName>,
    /// When the time has passed, as far as that counts.
    pub until: Option<UnixTime>,
    /// How long that still is.
    pub left: Duration,
}

impl Publication<'_> {
    /// From when on the time has passed.
    pub fn ripe_at(&self, authority: &Authority) -> UnixTime {
        later(authority.published, self.interval)
    }

    /// Whether `authority` may sign.
    pub fn check(&self, authority: &Authority, enough: Enough, now: UnixTime) -> Result<(), Unpublished> {
        let ripe = self.ripe_at(authority);
        let (by_time, by_nodes) = match enough {
            Enough::Time => (true, false),
            Enough::Acknowledged => (false, true),
            Enough::TimeAndAcknowledged => (true, true),
            Enough::Nothing => (false, false),
        };
        let early = by_time && now < ripe;
        let unknown = by_nodes && !self.missing.is_empty();
        if !early && !unknown {
            return Ok(());
        }
        // Who has not got it yet is worth knowing in either case.
        let missing = self.missing.iter().map(|missing| missing.node.clone());
        Err(Unpublished {
            missing: missing.collect(),
            until: early.then_some(ripe),
            left: Duration::from_secs(ripe.as_secs().saturating_sub(now.as_secs())),
        })
    }
}

impl fmt::Display for Unpublished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it would sign before others can check what it signs:")?;
        if self.until.is_some() {
            let seconds = self.left.as_secs();
            write!(
                f,
                " it has to be published for another {} min {:02} s, so that whoever polls the bundle has it",
                seconds / 60,
                seconds % 60
            )?;
        }
        if self.missing.is_empty() {
            return Ok(());
        }
        if self.until.is_some() {
            f.write_str(";")?;
        }
        f.write_str(" these nodes have not said that they have it: ")?;
        for (place, node) in self.missing.iter().take(NAMED).enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{node}")?;
        }
        match self.missing.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
