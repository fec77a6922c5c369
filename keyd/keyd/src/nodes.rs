//! `NODES`, the map by which the kernel programs know for which nodes packets go into the tunnel.
//!
//! signet-meshd makes and pins it, perhaps long after us, perhaps anew. So what it should say is kept here, and the
//! map is made to agree whenever it is there.

use std::collections::BTreeMap;
use std::path::PathBuf;

use signet_abi::{NodeId, NodeState};
use signet_maps::{MapError, NodesMap};

/// What is needed of the map.
pub(crate) trait Table: Send {
    fn entries(&self) -> Result<Vec<(NodeId, NodeState)>, MapError>;
    fn insert(&mut self, node: NodeId, state: NodeState) -> Result<(), MapError>;
    fn remove(&mut self, node: NodeId) -> Result<(), MapError>;
    /// Whether it still is the map that the kernel programs read.
    fn is_current(&self) -> bool;
}

impl Table for NodesMap {
    fn entries(&self) -> Result<Vec<(NodeId, NodeState)>, MapError> {
        self.entries()
    }

    fn insert(&mut self, node: NodeId, state: NodeState) -> Result<(), MapError> {
        self.insert(&node, &state)
    }

    fn remove(&mut self, node: NodeId) -> Result<(), MapError> {
        self.remove(&node).map(drop)
    }

    fn is_current(&self) -> bool {
        self.is_current()
    }
}

type OpenTable = Box<dyn Fn() -> Result<Box<dyn Table>, MapError> + Send>;

/// The map, there or not.
pub(crate) struct Nodes {
    open: OpenTable,
    table: Option<Box<dyn Table>>,
    found: bool,
}

impl Nodes {
    /// The map that is pinned in `dir`.
    pub(crate) fn pinned(dir: PathBuf) -> Self {
        Self::new(Box::new(move || Ok(Box::new(NodesMap::open(&dir)?))))
    }

    pub(crate) fn new(open: OpenTable) -> Self {
        Self {
            open,
            table: None,
            found: false,
        }
    }

    /// What an earlier process left in the map: `Some` at the first time that the map is there, `None` otherwise.
    pub(crate) fn find(&mut self) -> Result<Option<Vec<(NodeId, NodeState)>>, MapError> {
        if self.found {
            return Ok(None);
        }
        let Some(table) = self.table()? else {
            return Ok(None);
        };
        let entries = table.entries()?;
        self.found = true;
        Ok(Some(entries))
    }

    /// Makes the map say what is wanted and nothing else. While there is no map there is nothing to do: no kernel
    /// program sends anything into a tunnel then.
    pub(crate) fn sync(&mut self, wanted: &BTreeMap<NodeId, NodeState>) -> Result<(), MapError> {
        let Some(table) = self.table()? else { return Ok(()) };
        let there: BTreeMap<_, _> = table.entries()?.into_iter().collect();
        for node in there.keys().filter(|node| !wanted.contains_key(node)) {
            table.remove(*node)?;
        }
        for (node, state) in wanted {
            if there.get(node) != Some(state) {
                table.insert(*node, *state)?;
            }
        }
        Ok(())
    }

    fn table(&mut self) -> Result<Option<&mut Box<dyn Table>>, MapError> {
        if self.table.as_ref().is_some_and(|table| !table.is_current()) {
            self.table = None;
        }
        if self.table.is_none() {
            match (self.open)() {
                Ok(table) => self.table = Some(table),
                Err(error) if error.is_missing() => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(self.table.as_mut())
    }
}
