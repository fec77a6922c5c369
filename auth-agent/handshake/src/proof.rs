//! The result of a handshake.

use signet_spiffe::{SpiffeId, UnixTime, VerifiedSvid};

/// Two workload identities have proven themselves to each other, in this session, until [`Proof::not_after`] or until one
/// of the two SVIDs that they did it with is revoked.
///
/// The only way to one is [`crate::AwaitingConfirm::on_confirm`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a proof that is not written lets nothing through"]
pub struct Proof {
    local: VerifiedSvid,
    remote: VerifiedSvid,
}

impl Proof {
    pub(crate) fn mint(local: VerifiedSvid, remote: VerifiedSvid) -> Self {
        Self { local, remote }
    }

    /// The workload on this node.
    pub fn local(&self) -> &SpiffeId {
        self.local.id()
    }

    /// The other workload.
    pub fn remote(&self) -> &SpiffeId {
        self.remote.id()
    }

    /// The earlier end of the two SVIDs.
    pub fn not_after(&self) -> UnixTime {
        self.local.not_after().min(self.remote.not_after())
    }

    /// The two SVIDs that it was made with, the local one first.
    pub fn svids(&self) -> [&VerifiedSvid; 2] {
        [&self.local, &self.remote]
    }
}
