//! Which addresses and pod CIDRs are whose: kept in memory, so that a new node need not be compared with each of the others.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use signet_spiffe::NodeName;

use crate::changes;
use crate::cidr::PodCidr;
use crate::database::StorageError;
use crate::nodes::{self, Node};
use crate::position::{self, Position};
use crate::sql::Connection;

/// The nodes that are not evicted, found by what is theirs. Follows the registry: whoever asks within a transaction is answered
/// as of that transaction's beginning.
#[derive(Debug, Default)]
pub(crate) struct Places {
    at: Position,
    nodes: HashMap<NodeName, Node>,
    addresses: BTreeMap<IpAddr, BTreeSet<NodeName>>,
    blocks: BTreeMap<PodCidr, BTreeSet<NodeName>>,
}

impl Places {
    /// Reads what changed since the last time. What the transaction itself has changed may be among it; should that be rolled
    /// back, the mark of the revision tells, and all is read anew.
    pub(crate) async fn catch_up(&mut self, connection: &mut Connection) -> Result<(), StorageError> {
        let revision = changes::current(connection).await?;
        let mark = position::of(connection, revision).await?.unwrap_or_default();
        let now = Position { revision, mark };
        if self.at == now && !mark.is_none() {
            return Ok(());
        }
        if position::is_ours(connection, self.at).await? {
            for name in changes::nodes_since(connection, self.at.revision).await? {
                let node = nodes::find(connection, &name).await?;
                self.set(&name, node);
            }
        } else {
            *self = Self::default();
            for node in nodes::all(connection).await? {
                self.set(&node.name.clone(), Some(node));
            }
        }
        self.at = now;
        Ok(())
    }

    /// A node that is not evicted.
    pub(crate) fn node(&self, name: &NodeName) -> Option<&Node> {
        self.nodes.get(name)
    }

    /// The nodes that announced an address: one, or none.
    pub(crate) fn at(&self, address: IpAddr) -> impl Iterator<Item = &Node> {
        let names = self.addresses.get(&address).into_iter().flatten();
        names.filter_map(|name| self.nodes.get(name))
    }

    /// A pod CIDR with the address in it, and whose it is.
    pub(crate) fn block_of(&self, address: IpAddr) -> Option<(PodCidr, &NodeName)> {
        PodCidr::around(address).find_map(|block| Some((block, self.blocks.get(&block)?.first()?)))
    }

    /// A pod CIDR of another node that shares addresses with this one, and whose it is.
    pub(crate) fn overlap(&self, node: &NodeName, cidr: PodCidr) -> Option<(PodCidr, &NodeName)> {
        // One of two blocks that overlap contains the other: those around it, then those in it.
        let around = PodCidr::around(cidr.first()).filter(|block| block.contains_block(&cidr));
        let around = around.filter_map(|block| self.blocks.get_key_value(&block));
        let within = self.blocks.range(cidr..);
        let within = within.take_while(|(block, _)| cidr.contains(block.first()));
        let mut both = around.chain(within);
        both.find_map(|(&block, owners)| Some((block, owners.iter().find(|&owner| owner != node)?)))
    }

    fn set(&mut self, name: &NodeName, node: Option<Node>) {
        if let Some(before) = self.nodes.remove(name) {
            for address in &before.addresses {
                forget(&mut self.addresses, address, name);
            }
            for cidr in &before.pod_cidrs {
                forget(&mut self.blocks, cidr, name);
            }
        }
        let Some(node) = node else {
            return;
        };
        for &address in &node.addresses {
            self.addresses.entry(address).or_default().insert(name.clone());
        }
        for &cidr in &node.pod_cidrs {
            self.blocks.entry(cidr).or_default().insert(name.clone());
        }
        self.nodes.insert(name.clone(), node);
    }
}

fn forget<K: Ord>(owners: &mut BTreeMap<K, BTreeSet<NodeName>>, key: &K, name: &NodeName) {
    if let Some(names) = owners.get_mut(key) {
        names.remove(name);
        if names.is_empty() {
            owners.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use signet_spiffe::UnixTime;

    use super::*;
    use crate::nodes::NodeNumber;

    fn name(text: &str) -> NodeName {
        NodeName::parse(text).unwrap()
    }

    fn cidr(text: &str) -> PodCidr {
        text.parse().unwrap()
    }

    fn places(of: &[(&str, &[&str], &str)]) -> Places {
        let mut places = Places::default();
        for (number, (node, cidrs, address)) in (1..).zip(of) {
            let node = Node {
                name: name(node),
                number: NodeNumber(number),
                pod_cidrs: cidrs.iter().map(|text| cidr(text)).collect(),
                addresses: vec![address.parse().unwrap()],
                session_port: 4250,
                svid_not_after: UnixTime::since_unix_epoch(std::time::Duration::ZERO),
            };
            places.set(&node.name.clone(), Some(node));
        }
        places
    }

    #[test]
    fn blocks_are_found_around_and_within_and_as_themselves() {
        let places = places(&[
            ("n1", &["10.1.0.0/16", "fd00:1::/64"], "192.0.2.1"),
            ("n2", &["10.2.3.0/24"], "192.0.2.2"),
        ]);
        for (asked, found) in [
            ("10.1.9.0/24", Some("10.1.0.0/16")),
            ("10.1.0.0/16", Some("10.1.0.0/16")),
            ("10.0.0.0/9", Some("10.1.0.0/16")),
            ("10.2.0.0/16", Some("10.2.3.0/24")),
            ("10.2.4.0/24", None),
            ("10.3.0.0/16", None),
            ("fd00:1:0:0:8000::/80", Some("fd00:1::/64")),
            ("fd00::/16", Some("fd00:1::/64")),
            ("fd00:2::/64", None),
        ] {
            let hit = places.overlap(&name("n3"), cidr(asked)).map(|(block, _)| block);
            assert_eq!(hit, found.map(cidr), "{asked}");
        }
        // What is its own is in nobody's way, and hides nobody else's.
        assert_eq!(places.overlap(&name("n1"), cidr("10.1.9.0/24")), None);
        let both = places.overlap(&name("n1"), cidr("10.0.0.0/8"));
        assert_eq!(both, Some((cidr("10.2.3.0/24"), &name("n2"))));
        let inside = places.block_of("10.2.3.77".parse().unwrap());
        assert_eq!(inside, Some((cidr("10.2.3.0/24"), &name("n2"))));
        assert_eq!(places.block_of("10.2.4.1".parse().unwrap()), None);
    }

    #[tokio::test]
    async fn a_revision_without_a_mark_may_be_of_another_history_each_time() {
        let registry = crate::Registry::in_memory().await.unwrap();
        let mut write = registry.write().await.unwrap();
        let connection = write.connection();
        // As revisions are that an earlier version wrote.
        let row = "INSERT INTO changes (kind, key, mark) VALUES ('cluster', '', x'')";
        crate::sql::query(row).execute(&mut *connection).await.unwrap();
        let mut places = places(&[("n1", &["10.1.0.0/16"], "192.0.2.1")]);
        places.at.revision = changes::current(&mut *connection).await.unwrap();
        places.catch_up(&mut *connection).await.unwrap();
        assert!(places.node(&name("n1")).is_none(), "this history has no nodes");
    }

    #[test]
    fn what_a_node_has_no_more_is_nobodys() {
        let mut places = places(&[("n1", &["10.1.0.0/16"], "192.0.2.1")]);
        assert!(places.at("192.0.2.1".parse().unwrap()).next().is_some());
        places.set(&name("n1"), None);
        assert!(places.at("192.0.2.1".parse().unwrap()).next().is_none());
        assert!(places.node(&name("n1")).is_none());
        assert!(places.blocks.is_empty() && places.addresses.is_empty());
    }
}
