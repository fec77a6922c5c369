//! What every session of this node needs.

use std::sync::Arc;
use std::time::Duration;

use signet_session::{Instance, Limits, LocalNode};
use signet_spiffe::{NodeName, SpiffeId, TrustDomain};
use signet_tls::BundleSource;
use tokio::sync::watch;

use super::establish::EstablishError;
use crate::ca::NodeAccess;
use crate::leases::Leases;
use crate::pairs::Knowledge;
use crate::view::View;

/// What every session of this node needs.
#[derive(Clone, Debug)]
pub struct Context {
    /// This node.
    pub name: NodeName,
    /// Its trust domain.
    pub trust_domain: TrustDomain,
    /// This start of the agent.
    pub instance: Instance,
    /// The node's SVID.
    pub access: watch::Receiver<Option<Arc<NodeAccess>>>,
    /// What peers are verified against.
    pub bundles: Arc<dyn BundleSource>,
    /// View, SVIDs and endpoints.
    pub knowledge: Knowledge,
    /// What nodes say of their addresses.
    pub leases: Leases,
    /// Bounds within a session.
    pub limits: Limits,
    /// For TCP, and for the TLS handshake after it.
    pub tls_deadline: Duration,
}

impl Context {
    pub(super) fn view(&self) -> Result<Arc<View>, EstablishError> {
        self.knowledge
            .view
            .borrow()
            .clone()
            .ok_or(EstablishError::NotReady)
    }

    pub(super) fn identity(&self) -> Result<Arc<NodeAccess>, EstablishError> {
        self.access.borrow().clone().ok_or(EstablishError::NotReady)
    }

    /// Waits until this node has an SVID again; for ever while it has one.
    pub(super) async fn regained(&self) {
        let mut access = self.access.clone();
        if access.borrow().is_some() || access.wait_for(Option::is_some).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    pub(super) fn local(&self, view: &View) -> Result<LocalNode, EstablishError> {
        let node = view.own().ok_or(EstablishError::NotReady)?.number;
        Ok(LocalNode {
            node,
            instance: self.instance,
        })
    }

    pub(super) fn node_id(&self, name: &NodeName) -> SpiffeId {
        SpiffeId::node(&self.trust_domain, name)
    }
}
