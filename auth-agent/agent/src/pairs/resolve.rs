//! From numbers to SVIDs: who may be proven, by what, and where.

use std::collections::BTreeMap;
use std::sync::Arc;

use signet_abi::{AuthKey, NodeId};
use signet_handshake::Credentials;
use signet_pairs::{Answers, Judge, ProveError};
use signet_session::NodeNumber;
use signet_spiffe::{SpiffeId, VerifiedSvid};
use tokio::sync::watch;

use super::hosts;
use super::several::Latest;
use crate::mesh::Endpoints;
use crate::svids::SvidSet;
use crate::view::{Node, View};

/// What the node knows at the moment.
#[derive(Clone, Debug)]
pub struct Knowledge {
    /// The trust domain.
    pub view: watch::Receiver<Option<Arc<View>>>,
    /// The SVIDs of this node.
    pub svids: watch::Receiver<Arc<SvidSet>>,
    /// The endpoints of this node; nothing before meshd has told.
    pub endpoints: watch::Receiver<Option<Arc<Endpoints>>>,
    several: Arc<Latest>,
}

/// Where the other side of a pair is.
#[derive(Clone, Debug)]
pub enum Target {
    /// On this node.
    Here(Arc<Credentials>),
    /// On another.
    Node(Arc<Node>),
}

/// A pair with all that its handshake needs.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The local workload.
    pub local: Arc<Credentials>,
    /// The other one.
    pub remote: SpiffeId,
    /// Where it is.
    pub target: Target,
}

impl Knowledge {
    /// What is told by these.
    pub fn new(
        view: watch::Receiver<Option<Arc<View>>>,
        svids: watch::Receiver<Arc<SvidSet>>,
        endpoints: watch::Receiver<Option<Arc<Endpoints>>>,
    ) -> Self {
        Self {
            view,
            svids,
            endpoints,
            several: Arc::default(),
        }
    }

    /// What a handshake for `key` needs.
    pub fn resolve(&self, key: &AuthKey) -> Result<Resolved, ProveError> {
        let view = self.view()?;
        let local = hosts::spiffe_id(&view, key.local, view.own());
        let local = local.ok_or(ProveError::UnknownIdentity(key.local.0))?;
        let remote = hosts::spiffe_id(&view, key.remote, node(&view, key.node));
        let remote = remote.ok_or(ProveError::UnknownIdentity(key.remote.0))?;
        let node = node(&view, key.node).ok_or_else(|| absent(&view, key.node))?;
        let is_here = view.own().is_some_and(|own| own.number == node.number);
        is_open(&view, [&local, &remote])?;
        let local = self.live(&view, &local)?;
        let target = if is_here {
            Target::Here(self.live(&view, &remote)?)
        } else {
            is_on(&view, &remote, node)?;
            Target::Node(node.clone())
        };
        Ok(Resolved {
            local,
            remote,
            target,
        })
    }

    /// The key under which a proof with a workload on `node` is written.
    pub fn key(&self, local: &SpiffeId, remote: &SpiffeId, node: NodeNumber) -> Option<AuthKey> {
        let view = self.view().ok()?;
        let there = view.node_by_number(node);
        Some(AuthKey {
            local: hosts::number(&view, local, view.own())?,
            remote: hosts::number(&view, remote, there)?,
            node: NodeId(node.get()),
        })
    }

    /// The same by names as they are written down: local, remote, node.
    pub(crate) fn named(&self, [local, remote, node]: &[String; 3]) -> Option<AuthKey> {
        let view = self.view().ok()?;
        let node = view.nodes().find(|known| known.name.as_str() == node)?.number;
        self.key(
            &SpiffeId::parse(local).ok()?,
            &SpiffeId::parse(remote).ok()?,
            node,
        )
    }

    /// The names of a key.
    pub(crate) fn names(&self, key: &AuthKey) -> Option<[String; 3]> {
        let view = self.view().ok()?;
        let name = |number| view.spiffe_id(number).map(ToString::to_string);
        let node = view.node_by_number(NodeNumber::new(key.node.0)?)?;
        Some([name(key.local)?, name(key.remote)?, node.name.to_string()])
    }

    /// This node's number.
    pub fn own(&self) -> Option<NodeNumber> {
        Some(self.view().ok()?.own()?.number)
    }

    /// Whether a proof for `key` may be. What is not known yet speaks against nothing: an earlier run knew it.
    pub fn is_possible(&self, key: &AuthKey) -> bool {
        let Ok(view) = self.view() else { return true };
        let Some(node) = node(&view, key.node) else {
            return false;
        };
        let local = hosts::spiffe_id(&view, key.local, view.own());
        let Some((local, remote)) = local.zip(hosts::spiffe_id(&view, key.remote, Some(node))) else {
            return false;
        };
        let is_here = view.own().is_some_and(|own| own.number == node.number);
        let remote_may_be = if is_here {
            self.may_live(&view, &remote)
        } else {
            is_on(&view, &remote, node).is_ok()
        };
        self.may_live(&view, &local) && remote_may_be
    }

    /// Why a proof of these SVIDs with a workload on that node is worth nothing, if it is so. `settled` says up to which
    /// versions of revocations everything older was looked at.
    pub fn revoked(
        &self,
        key: &AuthKey,
        made_of: Option<[&VerifiedSvid; 2]>,
        settled: &BTreeMap<String, u64>,
    ) -> Option<String> {
        let view = self.view().ok()?;
        let table = view.revocations();
        if let Some(reason) =
            made_of.and_then(|svids| svids.into_iter().find_map(|svid| table.set().check(svid).err()))
        {
            return Some(reason.to_string());
        }
        let number = NodeNumber::new(key.node.0);
        if let Some((name, reason)) = number.and_then(|number| table.banned(number)) {
            return Some(format!("node {name}: {reason}"));
        }
        let other = number.and_then(|number| view.node_by_number(number));
        let nodes = [Some(view.self_name()), other.map(|node| &node.name)];
        if let Some(reason) = nodes
            .into_iter()
            .flatten()
            .find_map(|name| table.node_revoked_after(settled, name))
        {
            return Some(reason);
        }
        let local = hosts::spiffe_id(&view, key.local, view.own())?;
        let remote = hosts::spiffe_id(&view, key.remote, other)?;
        let ids = [&local, &remote];
        if made_of.is_some() {
            return None;
        }
        // It may have been made with what one of these nodes had asked for.
        let mut nodes = table.nodes_revoked_after(settled);
        let suspect = nodes.find(|(name, _)| ids.iter().any(|id| view.is_registered_on(id, name)));
        if let Some((name, reason)) = suspect {
            return Some(format!(
                "it may rest on what node {name} had, which is revoked: {reason}"
            ));
        }
        table.suspects(settled, ids)
    }

    /// What judges proofs where everything up to these versions of revocations was looked at.
    pub fn judge<'a>(&'a self, settled: &'a BTreeMap<String, u64>) -> Settled<'a> {
        Settled {
            knowledge: self,
            settled,
        }
    }

    fn view(&self) -> Result<Arc<View>, ProveError> {
        self.view.borrow().clone().ok_or(ProveError::NoView)
    }

    fn may_live(&self, view: &Arc<View>, id: &SpiffeId) -> bool {
        if hosts::is_own(view, id) {
            return true;
        }
        let endpoints = self.endpoints.borrow().clone();
        let may_be = endpoints
            .is_none_or(|endpoints| endpoints.has(id) && self.several.of(view, &endpoints).why(id).is_none());
        may_be && view.is_registered_here(id)
    }

    fn live(&self, view: &Arc<View>, id: &SpiffeId) -> Result<Arc<Credentials>, ProveError> {
        if hosts::is_own(view, id) {
            return self.svids.borrow().credentials(id).ok_or(ProveError::NoSvid);
        }
        let endpoints = self.endpoints.borrow().clone().ok_or(ProveError::NoEndpoint)?;
        if !endpoints.has(id) {
            let why = endpoints.contest(id).map(str::to_owned);
            return Err(why.map_or(ProveError::NoEndpoint, ProveError::SeveralIds));
        }
        if !view.is_registered_here(id) {
            return Err(ProveError::NoSvid);
        }
        if let Some(why) = self.several.of(view, &endpoints).why(id) {
            return Err(ProveError::SeveralIds(why.to_owned()));
        }
        let svids = self.svids.borrow();
        svids.credentials(id).ok_or_else(|| match svids.revoked(id) {
            Some(reason) => ProveError::Revoked(reason.to_owned()),
            None => ProveError::NoSvid,
        })
    }
}

/// What this node knows, up to these versions of revocations.
#[derive(Clone, Copy, Debug)]
pub struct Settled<'a> {
    knowledge: &'a Knowledge,
    settled: &'a BTreeMap<String, u64>,
}

impl Judge for Settled<'_> {
    fn is_possible(&self, key: &AuthKey) -> bool {
        self.knowledge.is_possible(key)
    }

    fn revoked(&self, key: &AuthKey, made_of: Option<[&VerifiedSvid; 2]>) -> Option<String> {
        self.knowledge.revoked(key, made_of, self.settled)
    }
}

impl Answers for Knowledge {
    /// Only identities with a live endpoint and an SVID here, and this node itself; and only for an identity that is registered
    /// there, or that node itself. A key that
    /// was carried off to another node proves nothing.
    fn answer(
        &self,
        peer: NodeNumber,
        initiator: &SpiffeId,
        responder: &SpiffeId,
    ) -> Result<Arc<Credentials>, ProveError> {
        let view = self.view()?;
        for id in [initiator, responder] {
            if view.identity(id).is_none() && !hosts::is_a_node(&view, id) {
                return Err(ProveError::UnknownIdentity(0));
            }
        }
        is_open(&view, [initiator, responder])?;
        let peer = view
            .node_by_number(peer)
            .ok_or(ProveError::UnknownNode(peer.get()))?;
        is_on(&view, initiator, peer)?;
        self.live(&view, responder)
    }
}

/// Nobody who may have no SVID proves anything, whatever he still has.
fn is_open(view: &View, ids: [&SpiffeId; 2]) -> Result<(), ProveError> {
    for id in ids {
        if let Some(reason) = view.revocations().closed(id) {
            return Err(ProveError::Revoked(format!(
                "{id} gets no certificates: {reason}"
            )));
        }
    }
    Ok(())
}

/// Why a node is not in the view.
fn absent(view: &View, node: NodeId) -> ProveError {
    let banned = NodeNumber::new(node.0).and_then(|number| view.revocations().banned(number));
    match banned {
        Some((name, reason)) => ProveError::Revoked(format!("node {name}: {reason}")),
        None => ProveError::UnknownNode(node.0),
    }
}

fn is_on(view: &View, id: &SpiffeId, node: &Node) -> Result<(), ProveError> {
    if view.is_registered_on(id, &node.name) || hosts::is(view, id, node) {
        return Ok(());
    }
    Err(ProveError::NotThere {
        id: id.clone(),
        node: node.name.clone(),
    })
}

fn node(view: &View, number: NodeId) -> Option<&Arc<Node>> {
    view.node_by_number(NodeNumber::new(number.0)?)
}
