//! From what was proven to a node's first SVID.

use std::fmt::Display;
use std::time::Instant;

use signet_authority::{IssueError, RequestedKey};
use signet_log::Caller as LoggedCaller;
use signet_proto::ca::v1::node_evidence::Proof;
use signet_proto::ca::v1::{AttestRequest, AttestResponse, NodeEvidence};
use signet_registry::{Node, Proven};
use signet_spiffe::NodeName;
use tonic::Status;
use tracing::{info, warn};

use super::attestor::{Attempt, Begun, Claim};
use super::refusal::Refusal;
use super::tried::Tried;
use crate::audit::{AUDIT, Event, Record, Who};
use crate::ca::Ca;
use crate::random;
use crate::refusal;
use crate::stream::Peer;
use crate::wire;

/// An exchange whose first message was read: the key that is asked for is checked first, so that a bad request uses no join
/// token up.
pub(crate) struct Opened {
    pub(crate) key: RequestedKey,
    pub(crate) attempt: Attempt,
    pub(crate) begun: Begun,
}

impl Ca {
    /// Admits a node by join token: the exchange of one step.
    pub(crate) async fn attest(
        &self,
        peer: &Peer,
        request: &AttestRequest,
    ) -> Result<AttestResponse, Status> {
        let evidence = NodeEvidence {
            node: String::new(),
            csr: request.csr.clone(),
            proof: Some(Proof::JoinToken(request.join_token.clone())),
        };
        let tried = Tried::of(&evidence);
        let admitted = self.attest_in_one_step(peer, evidence).await;
        admitted.map_err(|refusal| self.refuse_node(peer, "Attest", &tried, &refusal))
    }

    async fn attest_in_one_step(
        &self,
        peer: &Peer,
        evidence: NodeEvidence,
    ) -> Result<AttestResponse, Refusal> {
        let Opened { key, begun, .. } = self.open_exchange(peer, evidence)?;
        match begun {
            Begun::Proven(claim) => self.admit(peer, &key, claim).await,
            Begun::Asked(..) => Err(Refusal::NoAnswer),
        }
    }

    /// Reads what a node begins with.
    pub(crate) fn open_exchange(&self, peer: &Peer, evidence: NodeEvidence) -> Result<Opened, Refusal> {
        let NodeEvidence { node, csr, proof } = evidence;
        let proof = proof.ok_or(Refusal::NoEvidence)?;
        let key = RequestedKey::from_request(&csr)?;
        let attempt = Attempt {
            node: match node.as_str() {
                "" => None,
                name => Some(NodeName::parse(name)?),
            },
            request: csr,
            binding: peer.binding.clone(),
            now: self.clock.now(),
        };
        let begun = self
            .attestors
            .of(&proof)?
            .begin(&attempt, &proof, random::bytes()?)?;
        Ok(Opened { key, attempt, begun })
    }

    /// Admits a node that has proven what it is, if that is allowed.
    pub(crate) async fn admit(
        &self,
        peer: &Peer,
        key: &RequestedKey,
        claim: Claim,
    ) -> Result<AttestResponse, Refusal> {
        // Before a token is used up and the node's earlier SVIDs end for nothing.
        let authorities = self.authorities().await;
        let authorities = authorities.map_err(|error| refusal::storage("attest", &error))?;
        let signing = authorities.signing().map_err(refusal::unusable)?;
        let life = signing.authority.not_before()..signing.authority.not_after();
        if !life.contains(&self.clock.now()) {
            return Err(refusal::issue("attest", &IssueError::RootNotValid).into());
        }
        let (caller, admitted) = self.allowed(&claim).await;
        let node = admitted?;
        let way = caller.to_string();
        let shown = claim.facts();
        let svid = self.issue_first_node_svid(key, &node, caller).await?;
        info!(
            target: AUDIT,
            {
                peer.node = %node.name, peer.address = %peer.address, node.number = %node.number, by = way, shown
            },
            "a node attested"
        );
        Ok(AttestResponse {
            node: Some(wire::node(&node)),
            svid: Some(wire::svid(&svid)),
            bundle: Some(authorities.wire.clone()),
        })
    }

    async fn allowed(&self, claim: &Claim) -> (LoggedCaller, Result<Node, Refusal>) {
        let now = self.clock.now();
        match claim {
            Claim::Token(token) => {
                let caller = LoggedCaller::JoinToken(token.id.0);
                let registry = self.registry.acting(caller.clone(), now);
                let admitted = registry.consume_token(token, now).await;
                (caller, admitted.map_err(Refusal::from))
            }
            Claim::Key(key) => {
                let caller = key.logged();
                let proven = Proven {
                    node: &key.node,
                    method: key.method,
                    facts: &key.facts,
                    carries_name: key.carries_name,
                };
                let registry = self.registry.acting(caller.clone(), now);
                let admitted = registry.admit_proven(&proven, now).await;
                (caller, admitted.map_err(Refusal::from))
            }
        }
    }

    /// Says no, in the log and the audit stream. Strangers can make this happen, so it is not always told. Here stands why
    /// a join token is no good, which whoever showed it does not hear.
    pub(crate) fn refuse_node(
        &self,
        peer: &Peer,
        call: &'static str,
        tried: &Tried,
        reason: &Refusal,
    ) -> Status {
        let status = reason.status();
        if self.audit.is_on() {
            let record = Record {
                call: Some(call.to_owned()),
                who: Some(Who::of(peer)),
                what: tried.what(),
                ..Record::new(Event::NodeCall)
            };
            self.note_refused_node(record.refused_because(status.code(), &reason.to_string()));
        }
        if let Some(untold) = self.refused_tokens.admit(Instant::now()) {
            let reason: &dyn Display = reason;
            warn!(target: AUDIT, { peer.address = %peer.address, %reason, untold }, "refused a node");
        }
        status
    }
}
