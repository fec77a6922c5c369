//! The holder's side of leases: asks, and takes what the owner says in the order in which it may be said.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::established::SessionError;
use crate::lease::{
    ADDRESSES, Digest, Group, LeaseAsk, LeaseDelta, LeaseError, LeaseGrant, LeasePart, OPEN, PARTS,
};
use crate::limits::Limits;
use crate::transport::Bucket;

/// What the peer says of its own addresses.
#[derive(Debug)]
pub(crate) struct Holding {
    open: VecDeque<Question>,
    nonce: u64,
    /// Of the last update that was taken; 0: none in this session.
    revision: u64,
    table: Option<Assembling>,
    tables: Bucket,
    deltas: Bucket,
}

#[derive(Debug)]
struct Question {
    nonce: u64,
    /// By the holder's boot clock, ns.
    at: u64,
    had_table: bool,
}

/// A table of which the last part is not here yet.
#[derive(Debug)]
struct Assembling {
    revision: u64,
    groups: Vec<Group>,
    seen: BTreeSet<IpAddr>,
    parts: usize,
}

impl Holding {
    pub(crate) fn new(limits: &Limits, now: Instant) -> Self {
        Self {
            open: VecDeque::new(),
            nonce: 0,
            revision: 0,
            table: None,
            tables: Bucket::new(limits.table_burst, limits.table_refill, now),
            deltas: Bucket::new(limits.delta_burst, limits.delta_refill, now),
        }
    }

    /// The next question; none while too many are open.
    pub(crate) fn ask(&mut self, digest: Option<Digest>, at: u64) -> Option<LeaseAsk> {
        if self.open.len() >= OPEN {
            return None;
        }
        self.nonce += 1;
        self.open.push_back(Question {
            nonce: self.nonce,
            at,
            had_table: digest.is_some(),
        });
        Some(LeaseAsk {
            nonce: self.nonce,
            revision: self.revision,
            digest,
        })
    }

    /// A part of a table; the whole of it with the last one.
    pub(crate) fn on_part(
        &mut self,
        part: LeasePart,
        now: Instant,
    ) -> Result<Option<Vec<Group>>, SessionError> {
        let mut table = match (part.begin, self.table.take()) {
            (true, None) => {
                if !self.tables.take(now) {
                    return Err(SessionError::Flood);
                }
                self.follows(part.revision)?;
                Assembling {
                    revision: part.revision,
                    groups: Vec::new(),
                    seen: BTreeSet::new(),
                    parts: 0,
                }
            }
            (false, Some(table)) => table,
            (true, Some(_)) | (false, None) => return Err(LeaseError::Order.into()),
        };
        if part.revision != table.revision {
            return Err(revision(part.revision, table.revision));
        }
        table.parts += 1;
        if table.parts > PARTS {
            return Err(LeaseError::TooMuch.into());
        }
        for address in part.groups.iter().flat_map(|group| &group.addresses) {
            if !table.seen.insert(*address) {
                return Err(LeaseError::Twice.into());
            }
        }
        if table.seen.len() > ADDRESSES {
            return Err(LeaseError::TooMuch.into());
        }
        table.groups.extend(part.groups);
        if !part.end {
            self.table = Some(table);
            return Ok(None);
        }
        self.revision = table.revision;
        Ok(Some(table.groups))
    }

    /// A change; it is to be applied if it is right.
    pub(crate) fn on_delta(&mut self, delta: &LeaseDelta, now: Instant) -> Result<(), SessionError> {
        if self.table.is_some() {
            return Err(LeaseError::Order.into());
        }
        if !self.deltas.take(now) {
            return Err(SessionError::Flood);
        }
        self.follows(delta.revision)?;
        if self.revision == 0 {
            // A change of what?
            return Err(LeaseError::Order.into());
        }
        let added = delta
            .added
            .iter()
            .map(|group| group.addresses.len())
            .sum::<usize>();
        if added > ADDRESSES || delta.withdrawn.len() > ADDRESSES {
            return Err(LeaseError::TooMuch.into());
        }
        self.revision = delta.revision;
        Ok(())
    }

    /// An answer: when it was asked for, and for how long it lets the table be believed from then on.
    pub(crate) fn on_grant(&mut self, grant: &LeaseGrant) -> Result<(u64, Duration), SessionError> {
        if self.table.is_some() {
            return Err(LeaseError::Order.into());
        }
        let question = self
            .open
            .pop_front()
            .filter(|question| question.nonce == grant.nonce);
        let question = question.ok_or(LeaseError::NotAsked)?;
        if self.revision == 0 && grant.revision == 1 && question.had_table {
            // The owner has the table that was asked with.
            self.revision = 1;
        }
        if grant.revision != self.revision || (self.revision == 0 && !grant.lasting.is_zero()) {
            return Err(revision(grant.revision, self.revision));
        }
        Ok((question.at, grant.lasting))
    }

    fn follows(&self, got: u64) -> Result<(), SessionError> {
        let want = self.revision.saturating_add(1);
        if got == want {
            Ok(())
        } else {
            Err(revision(got, want))
        }
    }
}

fn revision(got: u64, want: u64) -> SessionError {
    LeaseError::Revision { got, want }.into()
}
