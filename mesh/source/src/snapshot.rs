//! What a source says.

use std::future::Future;
use std::sync::Arc;

use signet_endpoints::Workload;

use crate::error::Errors;
use crate::set::Set;

/// The last good set, and what is wrong since.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// `None` until there was a good one: then nothing is known, which is not the same as nothing being there.
    pub set: Option<Arc<Set>>,
    /// Empty while the set is what the source says now.
    pub errors: Errors,
    /// While there was never a good set: the workloads whose documents are good. Nothing is known of what they may do,
    /// so nothing may reach them or leave them.
    pub found: Arc<[Workload]>,
}

/// Somewhere that workloads and policies come from. The rest of the code cannot tell which.
pub trait Source: Send {
    /// For people: what kind, and where.
    fn describe(&self) -> String;

    /// Waits for a snapshot that was not seen yet; the first one comes as soon as it is known. `None`: the source
    /// has ended. May be cancelled without loss.
    fn changes(&mut self) -> impl Future<Output = Option<Arc<Snapshot>>> + Send;
}
