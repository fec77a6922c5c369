//! The owner's side of leases: answers questions, and tells changes.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::established::SessionError;
use crate::lease::{Digest, Group, LONGEST, LeaseAsk, LeaseError, LeaseGrant, deltas, parts};
use crate::limits::Limits;
use crate::message::Message;
use crate::transport::Bucket;

/// What this node has told the peer of its own addresses.
#[derive(Debug)]
pub(crate) struct Granting {
    /// Of the last update; 0: none.
    revision: u64,
    nonce: u64,
    asks: Bucket,
}

impl Granting {
    pub(crate) fn new(limits: &Limits, now: Instant) -> Self {
        Self {
            revision: 0,
            nonce: 0,
            asks: Bucket::new(limits.ask_burst, limits.ask_refill, now),
        }
    }

    pub(crate) fn on_ask(&mut self, ask: &LeaseAsk, now: Instant) -> Result<(), SessionError> {
        if !self.asks.take(now) {
            return Err(SessionError::Flood);
        }
        if ask.nonce != self.nonce.saturating_add(1) {
            return Err(LeaseError::Nonce.into());
        }
        if ask.revision > self.revision {
            return Err(LeaseError::Revision {
                got: ask.revision,
                want: self.revision,
            }
            .into());
        }
        self.nonce = ask.nonce;
        Ok(())
    }

    /// Whether the peer was told anything in this session.
    pub(crate) fn has_begun(&self) -> bool {
        self.revision != 0
    }

    pub(crate) fn answer(
        &mut self,
        ask: &LeaseAsk,
        table: Option<Digest>,
        groups: impl FnOnce() -> Vec<Group>,
        lasting: Duration,
    ) -> Vec<Message> {
        let mut messages = Vec::new();
        let mut lasting = lasting.min(LONGEST);
        match table {
            None => lasting = Duration::ZERO,
            Some(digest) => {
                let has_it = ask.digest == Some(digest);
                // An older number: what was told meanwhile is on its way.
                let is_up_to_date = ask.revision == self.revision;
                if self.revision == 0 && has_it {
                    self.revision = 1;
                } else if is_up_to_date && !has_it {
                    self.revision += 1;
                    messages = parts(self.revision, &groups());
                }
            }
        }
        messages.push(Message::LeaseGrant(LeaseGrant {
            nonce: ask.nonce,
            revision: self.revision,
            lasting: if self.revision == 0 {
                Duration::ZERO
            } else {
                lasting
            },
        }));
        messages
    }

    pub(crate) fn change(&mut self, withdrawn: &[IpAddr], added: &[Group]) -> Vec<Message> {
        if !self.has_begun() {
            return Vec::new();
        }
        deltas(&mut self.revision, withdrawn, added)
    }
}
