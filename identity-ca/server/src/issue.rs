//! `RenewNodeSvid` and `IssueX509Svid`: certificates for nodes that have attested.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use signet_authority::{Authority, IssueError, IssuedSvid, LeafContents, RequestedKey, Serial};
use signet_log::Caller as LoggedCaller;
use signet_registry::{AppendError, Node, NodeNumber, RegistrationId, SignedBy, Standing, Withheld};
use signet_rotation::{AuthorityId, AuthorityKind};
use signet_spiffe::{DnsName, NodeName, SpiffeId, UnixTime};
use tonic::Status;
use tracing::{debug, warn};

use crate::audit::{AUDIT, Record, unwritten};
use crate::ca::Ca;
use crate::caller::{Applicant, Caller};
use crate::config::{MAX_NODE_SVID_TTL, MAX_SVID_TTL};
use crate::known::Grant;
use crate::random::{self, RandomError};
use crate::refusal::{self, internal};

/// How often an SVID is made anew because another authority took over meanwhile.
const TRIES: u32 = 3;

/// A certificate to be.
struct Leaf {
    key: RequestedKey,
    id: SpiffeId,
    dns_names: Vec<DnsName>,
    life: Duration,
    serial: Serial,
    now: UnixTime,
    floor: Option<UnixTime>,
}

impl Leaf {
    fn sign(self, authority: &Authority) -> Result<IssuedSvid, IssueError> {
        let contents = LeafContents {
            id: &self.id,
            dns_names: &self.dns_names,
        };
        authority.issue_after(&self.key, contents, self.life, self.serial, self.now, self.floor)
    }
}

impl Ca {
    /// Issues an SVID; who may have it was decided before, unless it, or what was shown for it, has been revoked. Returns once
    /// it stands in the issuance log.
    pub(crate) async fn issue(
        &self,
        key: &RequestedKey,
        contents: LeafContents<'_>,
        ttl: Duration,
        applicant: Applicant,
    ) -> Result<IssuedSvid, Status> {
        let Applicant {
            node,
            number,
            logged,
            shown,
        } = applicant;
        let mut tries = TRIES;
        let svid = loop {
            tries -= 1;
            let coming = self.log.announce();
            let now = self.clock.now();
            let serial = self
                .serial(now, Some(number))
                .map_err(|error| internal("issue", &error))?;
            let permit = self.known.may_issue(&self.registry, contents.id, &node).await;
            let floor = permit
                .map_err(|error| refusal::storage("issue", &error))?
                .map_err(|withheld| refusal::withheld(&withheld))?;
            let leaf = Leaf {
                key: key.clone(),
                id: contents.id.clone(),
                dns_names: contents.dns_names.to_vec(),
                life: ttl,
                serial,
                now,
                floor,
            };
            let (svid, signer) = self.sign(leaf).await?;
            drop(coming);
            let logged = self.log.issued(
                &svid,
                SignedBy::Active(AuthorityKind::X509, signer),
                logged.clone(),
                Some(node.clone()),
                shown.clone(),
                now,
            );
            match logged.await {
                Ok(()) => break svid,
                // Nobody has seen it.
                Err(AppendError::Withheld(Withheld::Superseded)) if tries > 0 => {}
                Err(error) => return Err(refusal::append("issue", &error)),
            }
        };
        self.issued.fetch_add(1, Ordering::Relaxed);
        // Under load there are thousands a second; the issuance log has each of them for good.
        debug!(
            target: AUDIT,
            {
                spiffe.id = %svid.id, svid.serial = %svid.serial, svid.not_after = svid.not_after.as_secs()
            },
            "issued an SVID"
        );
        Ok(svid)
    }

    /// Signs with the authority that is active as of the last look at the registry, which was for this very call.
    async fn sign(&self, leaf: Leaf) -> Result<(IssuedSvid, AuthorityId), Status> {
        let current = self.authorities_known().await;
        let current = current.map_err(|error| refusal::storage("issue", &error))?;
        let active = current.signing().map_err(refusal::unusable)?;
        let signed = self.sign_by(leaf, &active.authority).await?;
        Ok((signed, active.id.clone()))
    }

    async fn sign_by(&self, leaf: Leaf, authority: &Arc<Authority>) -> Result<IssuedSvid, Status> {
        let signed = if authority.is_remote() {
            let authority = Arc::clone(authority);
            self.signing.keys().sign(move || leaf.sign(&authority)).await?
        } else {
            leaf.sign(authority)
        };
        signed.map_err(|error| refusal::issue("issue", &error))
    }

    /// An SVID of the CA itself, and the authority that signed it.
    pub(crate) async fn issue_own(&self, key: &RequestedKey) -> Result<(IssuedSvid, AuthorityId), String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let mut tries = TRIES;
        loop {
            tries -= 1;
            // The registry's position of now.
            self.authorities().await.map_err(|error| text(&error))?;
            let now = self.clock.now();
            let leaf = self
                .own_leaf(key, self.svid_ttl, now)
                .map_err(|error| text(&error))?;
            let (svid, signer) = self
                .sign(leaf)
                .await
                .map_err(|status| status.message().to_owned())?;
            let by = SignedBy::Active(AuthorityKind::X509, signer.clone());
            match self
                .log
                .issued(&svid, by, LoggedCaller::Ca, None, None, now)
                .await
            {
                Ok(()) => return Ok((svid, signer)),
                Err(AppendError::Withheld(Withheld::Superseded)) if tries > 0 => {}
                Err(error) => return Err(text(&error)),
            }
        }
    }

    /// An SVID of the CA itself by an authority that signed before the one that does: for nodes that were away meanwhile, and know no later one.
    /// It ends before that authority is retired. Nothing where it may not sign that any more.
    pub(crate) async fn issue_own_by_former(
        &self,
        key: &RequestedKey,
        former: &AuthorityId,
    ) -> Result<Option<IssuedSvid>, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let current = self.authorities().await.map_err(|error| text(&error))?;
        let now = self.clock.now();
        let longest = MAX_SVID_TTL.max(MAX_NODE_SVID_TTL);
        let Some((authority, life)) = current.former(former, longest, now) else {
            return Ok(None);
        };
        let leaf = self.own_leaf(key, life.min(self.svid_ttl), now);
        let svid = self
            .sign_by(leaf.map_err(|error| text(&error))?, authority)
            .await
            .map_err(|status| status.message().to_owned())?;
        let by = SignedBy::Former(former.clone());
        match self
            .log
            .issued(&svid, by, LoggedCaller::Ca, None, None, now)
            .await
        {
            Ok(()) => Ok(Some(svid)),
            // Nobody has seen it.
            Err(AppendError::Withheld(Withheld::Superseded)) => Ok(None),
            Err(error) => Err(text(&error)),
        }
    }

    fn own_leaf(&self, key: &RequestedKey, life: Duration, now: UnixTime) -> Result<Leaf, RandomError> {
        Ok(Leaf {
            key: key.clone(),
            id: SpiffeId::ca(self.trust_domain()),
            dns_names: Vec::new(),
            life,
            serial: self.serial(now, None)?,
            now,
            floor: None,
        })
    }

    /// A new serial number, which says which node asks.
    pub(crate) fn serial(&self, now: UnixTime, node: Option<NodeNumber>) -> Result<Serial, RandomError> {
        let counter = self.serials.fetch_add(1, Ordering::Relaxed);
        let node = node.map_or(0, |number| number.0);
        Ok(Serial::ordered(now, counter, node, random::bytes()?))
    }

    /// Issues the first SVID of a node that has just attested.
    pub(crate) async fn issue_first_node_svid(
        &self,
        key: &RequestedKey,
        node: &Node,
        caller: LoggedCaller,
    ) -> Result<IssuedSvid, Status> {
        let applicant = Applicant {
            node: node.name.clone(),
            number: node.number,
            logged: caller.clone(),
            shown: None,
        };
        let svid = self.issue_node_svid(key, applicant).await?;
        let standing = self
            .registry
            .record_first_svid(&node.name, svid.serial.as_bytes(), svid.not_after)
            .await
            .map_err(|error| refusal::storage("issue", &error))?;
        if standing == Standing::Replaced {
            return Err(refusal::replaced(&node.name));
        }
        // Nobody is admitted unseen.
        let record = Record::of_attestation(&node.name, &caller, &svid.serial.to_string());
        self.audit.keep(record).await.map_err(unwritten)?;
        Ok(svid)
    }

    async fn issue_node_svid(&self, key: &RequestedKey, applicant: Applicant) -> Result<IssuedSvid, Status> {
        let id = SpiffeId::node(self.trust_domain(), &applicant.node);
        self.issue(key, LeafContents::from(&id), self.node_svid_ttl, applicant)
            .await
    }

    /// A new SVID for the calling node.
    pub(crate) async fn renew_node_svid(&self, caller: &Caller, csr: &[u8]) -> Result<IssuedSvid, Status> {
        let key = RequestedKey::from_request(csr).map_err(|error| refusal::request(&error))?;
        let node = caller.node();
        let svid = self.issue_node_svid(&key, caller.applicant()).await?;
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
        self.issue_registered(caller.applicant(), registration, csr).await
    }

    /// The same for a node that is known to be the one who asks.
    pub(crate) async fn issue_registered(
        &self,
        applicant: Applicant,
        registration: &str,
        csr: &[u8],
    ) -> Result<IssuedSvid, Status> {
        let registration = self.own_registration(&applicant.node, registration)?;
        let coming = self.log.announce();
        let key =
            RequestedKey::of_kind(csr, registration.key_type).map_err(|error| refusal::request(&error))?;
        drop(coming);
        let ttl = match registration.ttl {
            0 => self.svid_ttl,
            seconds => Duration::from_secs(seconds.into()),
        };
        let contents = LeafContents {
            id: &registration.spiffe_id,
            dns_names: &registration.dns_names,
        };
        self.issue(&key, contents, ttl, applicant).await
    }

    /// A registration of the node that asks, as of the look by which that node was found to be known: what was deregistered
    /// before the call came in is not there. Whatever is issued to a workload is issued for one of these.
    pub(crate) fn own_registration(&self, node: &NodeName, registration: &str) -> Result<Grant, Status> {
        let id: RegistrationId = registration.parse().map_err(refusal::invalid)?;
        let found = self.known.grant_seen(id);
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

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use signet_registry::{NewToken, NodeFate, PresentedToken, Shown, TokenId};
    use tonic::Code;

    use super::*;
    use crate::testing;

    fn key() -> RequestedKey {
        let request = CertificateParams::default()
            .serialize_request(&KeyPair::generate().unwrap())
            .unwrap();
        RequestedKey::from_request(request.der()).unwrap()
    }

    #[tokio::test]
    async fn what_is_under_way_for_a_node_that_is_revoked_is_not_for_it() {
        let ca = testing::ca().await;
        let (node, now) = (NodeName::parse("n1").unwrap(), ca.clock.now());
        let token = NewToken {
            id: TokenId([1; 8]),
            secret_sha256: [1; 32],
            node: node.clone(),
            pod_cidrs: Vec::new(),
            addresses: Vec::new(),
            expires: UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs() + 60)),
        };
        ca.registry.create_token(&token, now).await.unwrap();
        let presented = PresentedToken {
            id: token.id,
            secret_sha256: token.secret_sha256,
        };
        ca.registry.consume_token(&presented, now).await.unwrap();
        let applicant = |not_before| Applicant {
            node: node.clone(),
            number: NodeNumber(1),
            logged: LoggedCaller::Node(node.clone()),
            shown: Some(Shown {
                node: node.clone(),
                serial: None,
                not_before,
            }),
        };
        // It has called, and was let in.
        let begun = applicant(ca.signing.latest().signing().unwrap().authority.begins(now));
        let order = Ca::node_order("n1", NodeFate::Stays, "stolen", "uid:0".to_owned(), false).unwrap();
        ca.revoke(ca.registry.clone(), order).await.unwrap();
        let refused = ca.issue_node_svid(&key(), begun).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
        assert!(refused.message().contains("stolen"), "{refused}");
        ca.issue_node_svid(&key(), applicant(now)).await.unwrap();
    }
}
