//! What nodes say to each other of their addresses. The `.proto` file says what may follow what.

use std::net::IpAddr;
use std::time::Duration;

use signet_spiffe::SpiffeId;

use crate::message::Message;

/// Longest time for which a grant lets a table be believed.
pub const LONGEST: Duration = Duration::from_secs(10);
/// Most addresses of one node.
pub const ADDRESSES: usize = 4_096;
/// Most parts of a table.
pub const PARTS: usize = 512;
/// Questions that may be open at a time.
pub(crate) const OPEN: usize = 4;
/// Bytes of SPIFFE IDs and addresses that we put into one message; its frame stays below [`crate::MAX_FRAME`].
const ROOM: usize = 32 * 1024;
/// What an address costs of it, with its tag and length.
const ADDRESS: usize = 18;
/// What a group costs besides its SPIFFE ID.
const GROUP: usize = 16;

/// SHA-256 over a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

/// Addresses with one SPIFFE ID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Whose they are.
    pub id: SpiffeId,
    /// At least one. IPv4 addresses are never in IPv6 form.
    pub addresses: Vec<IpAddr>,
}

/// A holder's question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseAsk {
    /// Its number within the session, from 1.
    pub nonce: u64,
    /// The last update that the holder has applied in this session; 0: none.
    pub revision: u64,
    /// Of the table that the holder has; none if it has none.
    pub digest: Option<Digest>,
}

/// A part of an owner's whole table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeasePart {
    /// Number of the update; the same in all parts.
    pub revision: u64,
    /// The first.
    pub begin: bool,
    /// The last.
    pub end: bool,
    /// What it says.
    pub groups: Vec<Group>,
}

/// A change of an owner's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseDelta {
    /// Number of the update.
    pub revision: u64,
    /// Gone, before the added ones come.
    pub withdrawn: Vec<IpAddr>,
    /// New.
    pub added: Vec<Group>,
}

/// An owner's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseGrant {
    /// Of the question.
    pub nonce: u64,
    /// Of the last update.
    pub revision: u64,
    /// How long the table may be believed, from when it was asked; at most [`LONGEST`], in milliseconds.
    pub lasting: Duration,
}

/// Why lease messages end a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// A grant without a question, or the second one, or not of the oldest.
    #[error("peer granted a lease that was not asked for, or once more")]
    NotAsked,
    /// Numbers of updates go up one by one, and grants and questions name the last one.
    #[error("peer speaks of lease update {got}, {want} is due")]
    Revision {
        /// What it said.
        got: u64,
        /// What would be right.
        want: u64,
    },
    /// Something else between the parts of a table, or a part without its first one.
    #[error("peer's lease messages are out of order")]
    Order,
    /// More than [`ADDRESSES`] or [`PARTS`].
    #[error("peer says too much of its addresses, at most {ADDRESSES} in {PARTS} parts are taken")]
    TooMuch,
    /// An address twice.
    #[error("peer says of an address twice whose it is")]
    Twice,
    /// A question with a number that does not follow.
    #[error("peer's questions for leases are not numbered in order")]
    Nonce,
}

/// The whole table as messages with this number.
pub(crate) fn parts(revision: u64, groups: &[Group]) -> Vec<Message> {
    let mut chunks = chunks(groups);
    if chunks.is_empty() {
        chunks.push(Vec::new());
    }
    let last = chunks.len() - 1;
    let part = |(number, groups)| {
        Message::LeasePart(LeasePart {
            revision,
            begin: number == 0,
            end: number == last,
            groups,
        })
    };
    chunks.into_iter().enumerate().map(part).collect()
}

/// A change as messages, numbered after `revision`; the number of the last one. All that is withdrawn comes before anything
/// is added.
pub(crate) fn deltas(revision: &mut u64, withdrawn: &[IpAddr], added: &[Group]) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut push = |withdrawn: Vec<IpAddr>, added: Vec<Group>| {
        *revision += 1;
        messages.push(Message::LeaseDelta(LeaseDelta {
            revision: *revision,
            withdrawn,
            added,
        }));
    };
    let mut gone: Vec<Vec<IpAddr>> = withdrawn.chunks(ROOM / ADDRESS).map(<[_]>::to_vec).collect();
    let mut new = chunks(added).into_iter();
    // Small changes take one message.
    let together =
        (gone.len() <= 1 && ADDRESS * withdrawn.len() < ROOM / 2).then(|| gone.pop().unwrap_or_default());
    for withdrawn in gone {
        push(withdrawn, Vec::new());
    }
    if let Some(withdrawn) = together {
        let added = new.next().unwrap_or_default();
        if !withdrawn.is_empty() || !added.is_empty() {
            push(withdrawn, added);
        }
    }
    for added in new {
        push(Vec::new(), added);
    }
    messages
}

/// Groups cut so that each chunk fits into a message.
fn chunks(groups: &[Group]) -> Vec<Vec<Group>> {
    let mut chunks: Vec<Vec<Group>> = Vec::new();
    let mut room = 0_usize;
    for group in groups {
        let head = GROUP + group.id.as_str().len();
        let mut rest = group.addresses.as_slice();
        while !rest.is_empty() {
            if room < head + ADDRESS {
                chunks.push(Vec::new());
                room = ROOM;
            }
            let fitting = (room - head) / ADDRESS;
            let (taken, left) = rest.split_at(fitting.min(rest.len()));
            room -= head + ADDRESS * taken.len();
            if let Some(chunk) = chunks.last_mut() {
                chunk.push(Group {
                    id: group.id.clone(),
                    addresses: taken.to_vec(),
                });
            }
            rest = left;
        }
    }
    chunks
}
