use std::collections::BTreeSet;

use crate::NodeSelector;

/// What is known of a node's certificate, and of its TPM where it has one. Nothing else may be said of the node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts(BTreeSet<NodeSelector>);

impl Facts {
    /// The first of those that are asked for which is not there.
    pub fn lack<'a>(&self, asked: impl IntoIterator<Item = &'a NodeSelector>) -> Option<&'a NodeSelector> {
        asked.into_iter().find(|selector| !self.0.contains(selector))
    }

    /// In order of kind and value.
    pub fn iter(&self) -> impl Iterator<Item = &NodeSelector> {
        self.0.iter()
    }
}

impl FromIterator<NodeSelector> for Facts {
    fn from_iter<T: IntoIterator<Item = NodeSelector>>(selectors: T) -> Self {
        Self(selectors.into_iter().collect())
    }
}
