//! One token from the CA.

use std::sync::Arc;
use std::time::Duration;

use signet_proto::ca::v1::IssueJwtSvidRequest;
use signet_proto::ca::v1::node_service_client::NodeServiceClient;
use signet_spiffe::{Audience, JwtSvidError, SpiffeId, UnixTime, verify_jwt_svid};
use signet_workload_api::JwtSvid;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::cache::Fresh;
use crate::ca::NodeAccess;
use crate::view::View;

const CALL: Duration = Duration::from_secs(10);

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(super) enum IssueError {
    /// The identity has gone.
    #[error("{0} is not registered here any more")]
    NotRegistered(SpiffeId),
    /// No view, or no node SVID.
    #[error("the agent has not heard from the CA yet")]
    NotReady,
    /// Nobody knows what is revoked.
    #[error("everything counts as revoked: {0}")]
    Unreadable(String),
    /// No answer.
    #[error("the CA does not answer")]
    Deadline,
    /// A refusal.
    #[error("the CA refused: {}", .0.message())]
    Refused(Box<tonic::Status>),
    /// An answer that is of no use.
    #[error("the CA's JWT-SVID does not verify")]
    Svid(#[from] JwtSvidError),
    /// An answer for somebody else.
    #[error("the CA's JWT-SVID is of {0}")]
    Other(SpiffeId),
    /// An answer for other audiences.
    #[error("the CA's JWT-SVID is for other audiences")]
    Audience,
}

/// Asks for a token, and checks that it is what was asked for: workloads get nothing that a peer would refuse.
pub(super) async fn issue(
    view: Option<Arc<View>>,
    access: Option<Arc<NodeAccess>>,
    id: &SpiffeId,
    audience: &Audience,
) -> Result<Fresh, IssueError> {
    let (Some(view), Some(access)) = (view, access) else {
        return Err(IssueError::NotReady);
    };
    if let Some(reason) = view.revocations().set().unreadable() {
        return Err(IssueError::Unreadable(reason.to_owned()));
    }
    let registration = view
        .registrations()
        .filter(|registration| registration.spiffe_id == *id)
        // Of several, the first that was made says how long tokens live.
        .min_by_key(|registration| registration.ordinal)
        .ok_or_else(|| IssueError::NotRegistered(id.clone()))?;
    let call = IssueJwtSvidRequest {
        registration: registration.id.clone(),
        audience: audience.as_slice().to_vec(),
    };
    let mut client = NodeServiceClient::new(access.channel.clone());
    let answer = timeout(CALL, client.issue_jwt_svid(call))
        .await
        .map_err(|_| IssueError::Deadline)?
        .map_err(|status| IssueError::Refused(Box::new(status)))?
        .into_inner();
    let token = Zeroizing::new(answer.token);
    let verified = verify_jwt_svid(&token, view.jwt_bundles(), audience.first(), UnixTime::now())?;
    if verified.id() != id {
        return Err(IssueError::Other(verified.id().clone()));
    }
    if verified.audience() != audience.as_slice() {
        return Err(IssueError::Audience);
    }
    Ok(Fresh {
        svid: Arc::new(JwtSvid::new(id.clone(), token, verified.expires())),
        key_id: verified.key_id().to_owned(),
        serial: verified.token_id().and_then(|id| id.parse().ok()),
    })
}
