//! `IssueJwtSvid`: tokens for workloads of nodes that have attested.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use signet_authority::{IssuedJwtSvid, JwtAuthority, JwtIssueError, Serial};
use signet_log::{Document, Entry, Hash, Issuance, Record};
use signet_registry::{AppendError, Submission, Withheld};
use signet_rotation::{AuthorityId, AuthorityKind};
use signet_spiffe::{Audience, NodeName, SpiffeId, UnixTime};
use tokio::time::sleep;
use tonic::Status;
use tracing::debug;

use crate::audit::AUDIT;
use crate::ca::Ca;
use crate::caller::Caller;
use crate::refusal::{self, internal};

/// What tokens count in.
const SECOND: Duration = Duration::from_secs(1);

/// How often a token is made anew because another key took over meanwhile.
const TRIES: u32 = 3;

/// A token to be.
struct Token {
    id: SpiffeId,
    audience: Audience,
    life: Duration,
    serial: Serial,
    now: UnixTime,
}

impl Token {
    fn sign(self, jwt: &JwtAuthority) -> Result<IssuedJwtSvid, JwtIssueError> {
        jwt.issue(&self.id, &self.audience, self.life, self.serial, self.now)
    }
}

fn submission(svid: &IssuedJwtSvid, signer: AuthorityId, caller: &Caller, now: UnixTime) -> Submission {
    let issuance = Issuance {
        document: Document::Jwt,
        serial: svid.serial.as_bytes().to_vec(),
        spiffe_id: svid.id.clone(),
        node: Some(caller.node().name.clone()),
        not_before: svid.issued_at.as_secs(),
        not_after: svid.expires.as_secs(),
        sha256: Hash::sha256(svid.token.as_bytes()),
    };
    Submission {
        entry: Entry {
            at: now.as_secs(),
            caller: caller.logged(),
            record: Record::Issuance(issuance),
        },
        issued: None,
        shown: Some(caller.shown()),
        signer: Some((AuthorityKind::Jwt, signer)),
    }
}

impl Ca {
    /// A workload's token, which stands in the issuance log before it is handed out. As with certificates the node names a registration, never an ID, and it must be its own.
    pub(crate) async fn issue_jwt_svid(
        &self,
        caller: &Caller,
        registration: &str,
        audience: &[String],
    ) -> Result<IssuedJwtSvid, Status> {
        let audience = Audience::new(audience).map_err(refusal::invalid)?;
        let node = &caller.node().name;
        let registration = self.own_registration(node, registration)?;
        // A registration that wants short certificates does not mean longer tokens, unless it says so.
        let ttl = match (registration.jwt_ttl, registration.ttl) {
            (0, 0) => self.jwt_svid_ttl,
            (0, seconds) => self.jwt_svid_ttl.min(Duration::from_secs(seconds.into())),
            (seconds, _) => Duration::from_secs(seconds.into()),
        };
        let mut tries = TRIES;
        let svid = loop {
            tries -= 1;
            self.check_not_withheld(&registration.spiffe_id, node).await?;
            let now = self.after_revocations(&registration.spiffe_id, node).await?;
            let serial = self
                .serial(now, Some(caller.node().number))
                .map_err(|error| internal("issue", &error))?;
            let token = Token {
                id: registration.spiffe_id.clone(),
                audience: audience.clone(),
                life: ttl,
                serial,
                now,
            };
            let coming = self.log.announce();
            let (svid, signer) = self.sign_token(token).await?;
            drop(coming);
            match self.log.append(submission(&svid, signer, caller, now)).await {
                Ok(()) => break svid,
                // Nobody has seen it.
                Err(AppendError::Withheld(Withheld::Superseded)) if tries > 0 => {}
                Err(error) => return Err(refusal::append("issue", &error)),
            }
        };
        // What has been revoked gets nothing new. Asked last, so that this holds also if it was revoked just now.
        self.check_not_withheld(&svid.id, node).await?;
        if self.revoked_at(&svid.id, node).await? >= Some(svid.issued_at) {
            return Err(refusal::withheld(&Withheld::Overtaken {
                reason: "ask again".to_owned(),
            }));
        }
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

    /// Signs with the key that is active as of the last look at the registry, which was for this very call.
    async fn sign_token(&self, token: Token) -> Result<(IssuedJwtSvid, AuthorityId), Status> {
        let current = self.authorities_known().await;
        let current = current.map_err(|error| refusal::storage("issue", &error))?;
        let (id, jwt) = current.jwt().map_err(refusal::unusable)?;
        let (id, jwt) = (id.clone(), Arc::clone(jwt));
        let signed = if jwt.is_remote() {
            self.signing.keys().sign(move || token.sign(&jwt)).await?
        } else {
            token.sign(&jwt)
        };
        Ok((signed.map_err(|error| internal("issue", &error))?, id))
    }

    pub(crate) async fn check_not_withheld(&self, id: &SpiffeId, node: &NodeName) -> Result<(), Status> {
        let permit = self.known.may_issue(&self.registry, id, node).await;
        permit
            .map_err(|error| refusal::storage("issue", &error))?
            .map(drop)
            .map_err(|withheld| refusal::withheld(&withheld))
    }

    pub(crate) async fn revoked_at(
        &self,
        id: &SpiffeId,
        node: &NodeName,
    ) -> Result<Option<UnixTime>, Status> {
        let at = self.known.revoked_at(&self.registry, id, node).await;
        at.map_err(|error| refusal::storage("issue", &error))
    }

    /// Now, but later than anything of the two was revoked: those who verify could not tell a token from an older one. Tokens
    /// count whole seconds, so this may take one.
    pub(crate) async fn after_revocations(&self, id: &SpiffeId, node: &NodeName) -> Result<UnixTime, Status> {
        let revoked = self.revoked_at(id, node).await?;
        let now = self.clock.now();
        if revoked < Some(now) {
            return Ok(now);
        }
        sleep(SECOND).await;
        let now = self.clock.now();
        if revoked < Some(now) {
            return Ok(now);
        }
        Err(Status::unavailable(
            "what could be issued now is revoked already; look at the CA's clock",
        ))
    }
}
