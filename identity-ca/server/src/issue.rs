//! `RenewNodeSvid` and `IssueX509Svid`: certificates for nodes that have attested.

use std::sync::atomic::Ordering;
use std::time::Duration;

use signet_authority::{IssuedSvid, RequestedKey, Serial};
use signet_log::Caller as LoggedCaller;
use signet_registry::{Node, RegistrationId, Standing};
use signet_spiffe::{NodeName, SpiffeId, UnixTime};
use tonic::Status;
use tracing::{info, warn};

use crate::audit::AUDIT;
use crate::ca::Ca;
use crate::caller::Caller;
use crate::known::Grant;
use crate::random::{self, RandomError};
use crate::refusal::{self, internal};

impl Ca {
    /// Issues an SVID that `node` asks for; who may have it was decided before, unless it has been revoked. Returns once it
    /// stands in the issuance log.
    pub(crate) async fn issue(
        &self,
        key: &RequestedKey,
        id: &SpiffeId,
        ttl: Duration,
        caller: LoggedCaller,
        node: &NodeName,
    ) -> Result<IssuedSvid, Status> {
        let now = self.clock.now();
        let serial = self.serial(now).map_err(|error| internal("issue", &error))?;
        let permit = self.known.may_issue(&self.registry, id, node).await;
        let floor = permit
            .map_err(|error| refusal::storage("issue", &error))?
            .map_err(|withheld| refusal::withheld(&withheld))?;
        let svid = self
            .authority
            .issue_after(key, id, ttl, serial, now, floor)
            .map_err(|error| refusal::issue("issue", &error))?;
        self.log
            .issued(&svid, caller, Some(node.clone()), now)
            .await
            .map_err(|error| refusal::append("issue", &error))?;
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

    /// A new serial number.
    pub(crate) fn serial(&self, now: UnixTime) -> Result<Serial, RandomError> {
        let counter = self.serials.fetch_add(1, Ordering::Relaxed);
        Ok(Serial::ordered(now, counter, random::bytes()?))
    }

    /// Issues the first SVID of a node that has just attested.
    pub(crate) async fn issue_first_node_svid(
        &self,
        key: &RequestedKey,
        node: &Node,
        caller: LoggedCaller,
    ) -> Result<IssuedSvid, Status> {
        let svid = self.issue_node_svid(key, node, caller).await?;
        self.registry
            .record_first_svid(&node.name, svid.serial.as_bytes(), svid.not_after)
            .await
            .map_err(|error| refusal::storage("issue", &error))?;
        Ok(svid)
    }

    async fn issue_node_svid(
        &self,
        key: &RequestedKey,
        node: &Node,
        caller: LoggedCaller,
    ) -> Result<IssuedSvid, Status> {
        let id = SpiffeId::node(self.trust_domain(), &node.name);
        self.issue(key, &id, self.node_svid_ttl, caller, &node.name).await
    }

    /// A new SVID for the calling node.
    pub(crate) async fn renew_node_svid(&self, caller: &Caller, csr: &[u8]) -> Result<IssuedSvid, Status> {
        let key = RequestedKey::from_request(csr).map_err(|error| refusal::request(&error))?;
        let node = caller.node();
        let svid = self.issue_node_svid(&key, node, caller.logged()).await?;
        let standing = self
            .registry
            .record_successor(
                &node.name,
                caller.serial(),
                svid.serial.as_bytes(),
                svid.not_after,
            )
            .await
            .map_err(|error| refusal::storage("issue", &error))?;
        match standing {
            Standing::Good => Ok(svid),
            Standing::Replaced => Err(refusal::replaced(&node.name)),
        }
    }

    /// A workload's SVID. The node names a registration, never an ID, and the registration must be its own.
    pub(crate) async fn issue_x509_svid(
        &self,
        caller: &Caller,
        registration: &str,
        csr: &[u8],
    ) -> Result<IssuedSvid, Status> {
        self.issue_registered(&caller.node().name, registration, csr)
            .await
    }

    /// The same for a node that is known to be the one who asks.
    pub(crate) async fn issue_registered(
        &self,
        node: &NodeName,
        registration: &str,
        csr: &[u8],
    ) -> Result<IssuedSvid, Status> {
        let key = RequestedKey::from_request(csr).map_err(|error| refusal::request(&error))?;
        let registration = self.own_registration(node, registration).await?;
        let ttl = match registration.ttl {
            0 => self.svid_ttl,
            seconds => Duration::from_secs(seconds.into()),
        };
        let caller = LoggedCaller::Node(node.clone());
        self.issue(&key, &registration.spiffe_id, ttl, caller, node).await
    }

    /// A registration of the node that asks. Whatever is issued to a workload is issued for one of these.
    pub(crate) async fn own_registration(
        &self,
        node: &NodeName,
        registration: &str,
    ) -> Result<Grant, Status> {
        let id: RegistrationId = registration.parse().map_err(refusal::invalid)?;
        let found = self
            .known
            .grant(&self.registry, id)
            .await
            .map_err(|error| refusal::storage("issue", &error))?;
        let registration =
            found.ok_or_else(|| Status::not_found(format!("there is no registration {id}")))?;
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
