//! `IssueJwtSvid`: tokens for workloads of nodes that have attested.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use signet_authority::{IssuedToken, JwtAuthority, TokenIssueError};
use signet_log::Document;
use signet_rotation::{AuthorityId, AuthorityKind};
use signet_spiffe::Audience;
use tonic::Status;
use tracing::debug;

use crate::audit::AUDIT;
use crate::authorities::Current;
use crate::ca::Ca;
use crate::caller::Caller;
use crate::issue_token::{Draft, TokenKind};
use crate::refusal;

impl TokenKind for Audience {
    type Authority = JwtAuthority;

    const DOCUMENT: Document = Document::Jwt;
    const SIGNER: AuthorityKind = AuthorityKind::Jwt;

    fn active(current: &Current) -> Result<(AuthorityId, Arc<JwtAuthority>), Status> {
        let (id, jwt) = current.jwt().map_err(refusal::unusable)?;
        Ok((id.clone(), Arc::clone(jwt)))
    }

    fn is_remote(jwt: &JwtAuthority) -> bool {
        jwt.is_remote()
    }

    fn sign(&self, draft: &Draft, jwt: &JwtAuthority) -> Result<IssuedToken, TokenIssueError> {
        jwt.issue(&draft.id, self, draft.life, draft.serial, draft.now)
    }
}

impl Ca {
    /// A workload's token. As with certificates the node names a registration, never an ID, and it must be its own.
    pub(crate) async fn issue_jwt_svid(
        &self,
        caller: &Caller,
        registration: &str,
        audience: &[String],
    ) -> Result<IssuedToken, Status> {
        let audience = Audience::new(audience).map_err(refusal::invalid)?;
        let node = &caller.node().name;
        let registration = self.own_registration(node, registration)?;
        // A registration that wants short certificates does not mean longer tokens, unless it says so.
        let ttl = match (registration.jwt_ttl, registration.ttl) {
            (0, 0) => self.jwt_svid_ttl,
            (0, seconds) => self.jwt_svid_ttl.min(Duration::from_secs(seconds.into())),
            (seconds, _) => Duration::from_secs(seconds.into()),
        };
        let svid = self.issue_token(caller, &registration.spiffe_id, ttl, audience.clone());
        let svid = svid.await?;
        self.issued_jwt.fetch_add(1, Ordering::Relaxed);
        debug!(
            target: AUDIT,
            {
                spiffe.id = %svid.id, peer.node = %node, svid.audience = ?audience,
                svid.serial = %svid.serial, svid.not_after = svid.expires.as_secs()
            },
            "issued a JWT-SVID"
        );
        Ok(svid)
    }
}
