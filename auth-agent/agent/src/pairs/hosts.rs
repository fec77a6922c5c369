//! Nodes themselves as ends of a pair: their own processes, which have no registration. A node proves itself with its own SVID, and
//! nobody else: `host` is this node, `remote-node` is whichever other one the pair names.

use std::sync::Arc;

use signet_abi::SecurityIdentity;
use signet_spiffe::SpiffeId;

use crate::view::{Node, View};

/// The SPIFFE ID of a number on a node.
pub(super) fn spiffe_id(view: &View, number: SecurityIdentity, node: Option<&Arc<Node>>) -> Option<SpiffeId> {
    if number.is_workload() {
        return view.spiffe_id(number).cloned();
    }
    let node = node?;
    (number == of(view, node)).then(|| id(view, node))
}

/// The number of a SPIFFE ID on a node.
pub(super) fn number(view: &View, wanted: &SpiffeId, node: Option<&Arc<Node>>) -> Option<SecurityIdentity> {
    match node {
        Some(node) if is(view, wanted, node) => Some(of(view, node)),
        Some(_) | None => view.identity(wanted),
    }
}

/// Whether the SPIFFE ID is this very node's.
pub(crate) fn is(view: &View, wanted: &SpiffeId, node: &Node) -> bool {
    *wanted == id(view, node)
}

/// Whether the SPIFFE ID is our own node's.
pub(super) fn is_own(view: &View, wanted: &SpiffeId) -> bool {
    view.own().is_some_and(|own| is(view, wanted, own))
}

/// Whether the SPIFFE ID is a node's of the view.
pub(super) fn is_a_node(view: &View, wanted: &SpiffeId) -> bool {
    let name = wanted.node_name();
    name.and_then(|name| view.node(&name))
        .is_some_and(|node| is(view, wanted, node))
}

fn id(view: &View, node: &Node) -> SpiffeId {
    SpiffeId::node(view.trust_domain(), &node.name)
}

fn of(view: &View, node: &Node) -> SecurityIdentity {
    let is_own = view.own().is_some_and(|own| own.number == node.number);
    if is_own {
        SecurityIdentity::HOST
    } else {
        SecurityIdentity::REMOTE_NODE
    }
}
