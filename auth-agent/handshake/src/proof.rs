//! The result of a handshake.

use signet_spiffe::{SpiffeId, UnixTime};

/// Two workload identities have proven themselves to each other, in this session, until [`Proof::not_after`].
///
/// The only way to one is [`crate::AwaitingConfirm::on_confirm`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a proof that is not written lets nothing through"]
pub struct Proof {
    local: SpiffeId,
    remote: SpiffeId,
    not_after: UnixTime,
}

impl Proof {
    pub(crate) fn mint(local: SpiffeId, remote: SpiffeId, not_after: UnixTime) -> Self {
        Self {
            local,
            remote,
            not_after,
        }
    }

    /// The workload on this node.
    pub fn local(&self) -> &SpiffeId {
        &self.local
    }

    /// The other workload.
    pub fn remote(&self) -> &SpiffeId {
        &self.remote
    }

    /// The earlier end of the two SVIDs.
    pub fn not_after(&self) -> UnixTime {
        self.not_after
    }
}
