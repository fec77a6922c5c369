//! One node's claims, and how people see them.

use std::net::IpAddr;

use signet_session::NodeNumber;
use signet_spiffe::SpiffeId;

use crate::facts::Refusal;
use crate::table::Table;

/// A message of a session that another one has replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another session with the node has taken this one's place")]
pub struct Superseded;

/// What one node says, and how long it counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claims {
    /// The session that speaks for it; older ones are heard no more.
    pub(crate) generation: u64,
    /// Nothing before it has said anything.
    pub(crate) table: Option<Table>,
    /// Boot clock, ns; 0: never granted.
    pub(crate) not_after: u64,
    /// Its lapse was told.
    pub(crate) lapsed: bool,
}

impl Claims {
    pub(crate) fn is_live(&self, now: u64) -> bool {
        now < self.not_after
    }
}

/// A claim as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Who says so.
    pub node: NodeNumber,
    /// Of which address.
    pub address: IpAddr,
    /// What it carries.
    pub id: SpiffeId,
    /// Until when, boot clock, ns; 0: never granted.
    pub not_after: u64,
    /// Whether the kernel has it.
    pub written: bool,
    /// Why it is not believed; nothing if it is.
    pub refusal: Option<Refusal>,
}
