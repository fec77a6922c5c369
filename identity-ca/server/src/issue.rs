//! `RenewNodeSvid` and `IssueX509Svid`: certificates for nodes that have attested.

use std::sync::atomic::Ordering;
use std::time::Duration;

use signet_authority::{IssuedSvid, RequestedKey, Serial};
use signet_registry::{Issued, Node, Registration, RegistrationId};
use signet_spiffe::{NodeName, SerialNumber, SpiffeId};
use tonic::Status;
use tracing::{info, warn};

use crate::audit::AUDIT;
use crate::ca::Ca;
use crate::caller::Caller;
use crate::random;
use crate::refusal::{self, internal};

impl Ca {
    /// Issues an SVID that `node` asks for; who may have it was decided before, unless it has been revoked.
    pub(crate) async fn issue(
        &self,
        key: &RequestedKey,
        id: &SpiffeId,
        ttl: Duration,
        node: &NodeName,
    ) -> Result<IssuedSvid, Status> {
        let serial = random::bytes().map_err(|error| internal("issue", &error))?;
        let permit = self.registry.may_issue(id, node).await;
        let floor = permit
            .map_err(|error| refusal::storage("issue", &error))?
            .map_err(|withheld| refusal::ledger(&withheld.into()))?;
        let svid = self
            .authority
            .issue_after(key, id, ttl, Serial::from_random(serial), self.clock.now(), floor)
            .map_err(|error| refusal::issue("issue", &error))?;
        let issued = Issued {
            serial: SerialNumber::new(svid.serial.as_bytes()).map_err(|error| internal("issue", &error))?,
            spiffe_id: svid.id.clone(),
            node: node.clone(),
            not_before: svid.not_before,
            not_after: svid.not_after,
        };
        self.ledger
            .record(issued)
            .await
            .map_err(|error| refusal::ledger(&error))?;
        self.issued.fetch_add(1, Ordering::Relaxed);
        info!(
            target: AUDIT,
            {
                spiffe.id = %svid.id, svid.serial = %svid.serial, svid.not_after = svid.not_after.as_secs()
            },
            "issued an SVID"
        );
        Ok(svid)
    }

    /// Issues a node's own SVID.
    pub(crate) async fn issue_node_svid(
        &self,
        key: &RequestedKey,
        node: &Node,
    ) -> Result<IssuedSvid, Status> {
        let id = SpiffeId::node(self.trust_domain(), &node.name);
        let svid = self.issue(key, &id, self.svid_ttl, &node.name).await?;
        self.registry
            .record_node_svid(&node.name, svid.not_after)
            .await
            .map_err(|error| refusal::storage("issue", &error))?;
        Ok(svid)
    }

    /// A new SVID for the calling node.
    pub(crate) async fn renew_node_svid(&self, caller: &Caller, csr: &[u8]) -> Result<IssuedSvid, Status> {
        let key = RequestedKey::from_request(csr).map_err(|error| refusal::request(&error))?;
        self.issue_node_svid(&key, caller.node()).await
    }

    /// A workload's SVID. The node names a registration, never an ID, and the registration must be its own.
    pub(crate) async fn issue_x509_svid(
        &self,
        caller: &Caller,
        registration: &str,
        csr: &[u8],
    ) -> Result<IssuedSvid, Status> {
        let key = RequestedKey::from_request(csr).map_err(|error| refusal::request(&error))?;
        let registration = self.own_registration(caller, registration).await?;
        let ttl = match registration.ttl {
            0 => self.svid_ttl,
            seconds => Duration::from_secs(seconds.into()),
        };
        self.issue(&key, &registration.spiffe_id, ttl, &caller.node().name)
            .await
    }

    /// A registration of the calling node. Whatever is issued to a workload is issued for one of these.
    pub(crate) async fn own_registration(
        &self,
        caller: &Caller,
        registration: &str,
    ) -> Result<Registration, Status> {
        let id: RegistrationId = registration.parse().map_err(refusal::invalid)?;
        let found = self
            .registry
            .registration(id)
            .await
            .map_err(|error| refusal::storage("issue", &error))?;
        let registration =
            found.ok_or_else(|| Status::not_found(format!("there is no registration {id}")))?;
        let node = &caller.node().name;
        if registration.node != *node {
            warn!(
                target: AUDIT,
                {
                    peer.node = %node, registration.id = %id, registration.node = %registration.node
                },
                "refused an SVID: the registration is another node's"
            );
            return Err(Status::permission_denied(format!(
                "the registration {id} is not of the node {node}"
            )));
        }
        Ok(registration)
    }
}
