//! The SVIDs of this node as a state.

use std::sync::Arc;

use signet_handshake::Credentials;
use signet_spiffe::SpiffeId;

use super::issue::WorkloadSvid;
use crate::view::Registration;

/// A registration and what there is for it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The registration.
    pub registration: Arc<Registration>,
    /// Its SVID, if there is a valid one.
    pub svid: Option<Arc<WorkloadSvid>>,
    /// Why the last attempt failed; nothing after a success.
    pub last_error: Option<String>,
    /// Why its SVID was taken back; nothing once there is a new one. Workloads see no such identity meanwhile.
    pub revoked: Option<Arc<str>>,
    /// Whether its SVID is to be replaced as soon as that can be.
    pub outdated: bool,
    /// Whether it is for an endpoint that this node does not have: then there is no SVID, and none is asked for.
    pub away: bool,
}

/// All registrations of this node, in the order in which they were made.
#[derive(Clone, Debug, Default)]
pub struct SvidSet {
    entries: Vec<Entry>,
    /// What proves to be this node itself.
    node: Option<Arc<Credentials>>,
}

impl SvidSet {
    /// A set of these.
    pub fn new(entries: Vec<Entry>) -> Self {
        Self { entries, node: None }
    }

    /// The same, with what proves to be the node itself.
    #[must_use]
    pub fn with_node(self, node: Option<Arc<Credentials>>) -> Self {
        Self { node, ..self }
    }

    /// All of them.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What proves to be `id`: the node's own SVID, or the SVID that lasts longest, should several registrations have one identity.
    pub fn credentials(&self, id: &SpiffeId) -> Option<Arc<Credentials>> {
        if let Some(node) = self.node.as_ref().filter(|node| node.id() == id) {
            return Some(node.clone());
        }
        self.entries
            .iter()
            .filter(|entry| entry.registration.spiffe_id == *id)
            .filter_map(|entry| entry.svid.as_ref())
            .max_by_key(|svid| svid.not_after)
            .map(|svid| svid.credentials.clone())
    }

    /// Why `id` has no SVID any more, if all that it had was taken back.
    pub fn revoked(&self, id: &SpiffeId) -> Option<&str> {
        self.entries
            .iter()
            .filter(|entry| entry.registration.spiffe_id == *id)
            .find_map(|entry| entry.revoked.as_deref())
    }

    /// How many have an SVID.
    pub fn ready(&self) -> usize {
        self.entries.iter().filter(|entry| entry.svid.is_some()).count()
    }
}
