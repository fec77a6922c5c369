//! Which nodes follow the view right now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use signet_registry::Revision;
use signet_spiffe::NodeName;
use tokio_util::sync::CancellationToken;

/// The nodes that follow the view. One stream per node: a new one ends the old one, which most likely hangs on a
/// connection that is no more.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connected(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    nodes: BTreeMap<NodeName, Stream>,
    generation: u64,
}

#[derive(Debug)]
struct Stream {
    generation: u64,
    sent: Revision,
    superseded: CancellationToken,
}

/// A node's stream, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Following {
    of: Connected,
    node: NodeName,
    generation: u64,
    superseded: CancellationToken,
}

impl Connected {
    /// Enters a node's new stream and ends its old one.
    pub(crate) fn enter(&self, node: &NodeName) -> Following {
        let mut table = self.table();
        table.generation += 1;
        let generation = table.generation;
        let superseded = CancellationToken::new();
        let stream = Stream {
            generation,
            sent: Revision::default(),
            superseded: superseded.clone(),
        };
        if let Some(old) = table.nodes.insert(node.clone(), stream) {
            old.superseded.cancel();
        }
        Following {
            of: self.clone(),
            node: node.clone(),
            generation,
            superseded,
        }
    }

    /// All nodes that follow, each with the last revision that was sent to it.
    pub(crate) fn sent(&self) -> BTreeMap<NodeName, Revision> {
        self.table()
            .nodes
            .iter()
            .map(|(node, stream)| (node.clone(), stream.sent))
            .collect()
    }

    /// All nodes that follow.
    pub(crate) fn nodes(&self) -> BTreeSet<NodeName> {
        self.table().nodes.keys().cloned().collect()
    }

    /// How many.
    pub(crate) fn count(&self) -> usize {
        self.table().nodes.len()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Each change is one map operation, so poison leaves none half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Following {
    /// Ends with a newer stream of the same node.
    pub(crate) fn superseded(&self) -> &CancellationToken {
        &self.superseded
    }

    /// Notes what was sent.
    pub(crate) fn sent(&self, revision: Revision) {
        if let Some(stream) = self.of.table().nodes.get_mut(&self.node)
            && stream.generation == self.generation
        {
            stream.sent = revision;
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let mut table = self.of.table();
        if table
            .nodes
            .get(&self.node)
            .is_some_and(|stream| stream.generation == self.generation)
        {
            table.nodes.remove(&self.node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_stream_ends_the_old_one_and_outlives_it_in_the_table() {
        let connected = Connected::default();
        let node = NodeName::parse("n1").unwrap();
        let old = connected.enter(&node);
        old.sent(Revision(3));
        assert_eq!(connected.sent()[&node], Revision(3));
        let new = connected.enter(&node);
        assert!(old.superseded().is_cancelled() && !new.superseded().is_cancelled());
        new.sent(Revision(5));
        old.sent(Revision(4));
        drop(old);
        assert_eq!(connected.sent()[&node], Revision(5));
        drop(new);
        assert!(connected.nodes().is_empty());
    }
}
