//! Attest: a join token for a node's first SVID.

use std::fmt::Display;
use std::time::Instant;

use signet_authority::RequestedKey;
use signet_log::Caller as LoggedCaller;
use signet_proto::ca::v1::{AttestRequest, AttestResponse};
use signet_registry::{ConsumeError, Node, TokenId};
use tonic::Status;
use tracing::{info, warn};

use crate::audit::AUDIT;
use crate::ca::Ca;
use crate::join_token;
use crate::refusal;
use crate::stream::Peer;
use crate::wire;

/// What everyone hears whose token is refused, for whatever reason: the log has it.
const REFUSED: &str = "the join token was refused; ask the operator for a new one (signet ca token)";

impl Ca {
    /// Admits a node. The request is checked first, so that a bad one does not use the token up.
    pub(crate) async fn attest(
        &self,
        peer: &Peer,
        request: &AttestRequest,
    ) -> Result<AttestResponse, Status> {
        let key = RequestedKey::from_request(&request.csr).map_err(|error| refusal::request(&error))?;
        let (node, token) = self.consume(peer, &request.join_token).await?;
        let svid = self
            .issue_first_node_svid(&key, &node, LoggedCaller::JoinToken(token.0))
            .await?;
        info!(
            target: AUDIT,
            {
                peer.node = %node.name, peer.address = %peer.address, node.number = %node.number
            },
            "a node attested"
        );
        Ok(AttestResponse {
            node: Some(wire::node(&node)),
            svid: Some(wire::svid(&svid)),
            bundle: Some(self.published.wire.clone()),
        })
    }

    async fn consume(&self, peer: &Peer, text: &str) -> Result<(Node, TokenId), Status> {
        let token = join_token::parse(text).map_err(|reason| {
            self.log_refusal(peer, None, &reason);
            Status::unauthenticated(REFUSED)
        })?;
        let now = self.clock.now();
        self.registry
            .acting(LoggedCaller::JoinToken(token.id.0), now)
            .consume_token(&token, now)
            .await
            .map(|node| (node, token.id))
            .map_err(|reason| {
                if let ConsumeError::Storage(error) = &reason {
                    return refusal::storage("attest", error);
                }
                self.log_refusal(peer, Some(&token.id), &reason);
                Status::unauthenticated(REFUSED)
            })
    }

    /// Strangers can make this happen, so it is not always told.
    fn log_refusal(&self, peer: &Peer, token: Option<&dyn Display>, reason: &dyn Display) {
        let Some(untold) = self.refused_tokens.admit(Instant::now()) else {
            return;
        };
        warn!(
            target: AUDIT,
            {
                peer.address = %peer.address, token.id = token.map(tracing::field::display), %reason, untold
            },
            "refused a join token"
        );
    }
}
