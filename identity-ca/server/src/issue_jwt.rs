//! `IssueJwtSvid`: tokens for workloads of nodes that have attested.

use std::sync::atomic::Ordering;
use std::time::Duration;

use signet_authority::{IssuedJwtSvid, JwtIssueError, Serial};
use signet_spiffe::Audience;
use tonic::Status;
use tracing::info;

use crate::audit::AUDIT;
use crate::ca::Ca;
use crate::caller::Caller;
use crate::random;
use crate::refusal::{self, internal};

impl Ca {
    /// A workload's token. As with certificates the node names a registration, never an ID, and it must be its own.
    pub(crate) async fn issue_jwt_svid(
        &self,
        caller: &Caller,
        registration: &str,
        audience: &[String],
    ) -> Result<IssuedJwtSvid, Status> {
        let audience = Audience::new(audience).map_err(refusal::invalid)?;
        let registration = self.own_registration(caller, registration).await?;
        // A registration that wants short certificates does not mean longer tokens.
        let ttl = match registration.ttl {
            0 => self.jwt_svid_ttl,
            seconds => self.jwt_svid_ttl.min(Duration::from_secs(seconds.into())),
        };
        let serial = random::bytes().map_err(|error| internal("issue", &error))?;
        let svid = self
            .jwt
            .issue(
                &registration.spiffe_id,
                &audience,
                ttl,
                Serial::from_random(serial),
                self.clock.now(),
            )
            .map_err(|error: JwtIssueError| internal("issue", &error))?;
        // What has been revoked gets nothing new. Asked last, so that this holds also if it was revoked just now.
        let node = &caller.node().name;
        let permit = self.registry.may_issue(&svid.id, node).await;
        permit
            .map_err(|error| refusal::storage("issue", &error))?
            .map_err(|withheld| refusal::ledger(&withheld.into()))?;
        self.issued_jwt.fetch_add(1, Ordering::Relaxed);
        info!(
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
