//! `AuthorityService`: the steps that operators take. Who may take them was decided before ([`crate::operators`]).

use std::sync::Arc;

use signet_proto::ca::v1::authority_service_server::AuthorityService;
use signet_proto::ca::v1::{
    ActivateAuthorityRequest, AuthorityStepResponse, ListAuthoritiesRequest, ListAuthoritiesResponse,
    PrepareAuthorityRequest, RetireAuthorityRequest, RevokeAuthorityRequest, TaintAuthorityRequest,
};
use signet_registry::{AuthorityError, NodeFate, Registry, StoredAuthority, Target};
use signet_rotation::{AuthorityId, AuthorityKind, Enough, StepError};
use signet_spiffe::NodeName;
use tonic::{Request, Response, Status};
use tracing::{info, warn};

use super::automatic::{StepFailure, activated};
use super::wire;
use crate::audit::AUDIT;
use crate::ca::Ca;
use crate::operators::asker;
use crate::refusal::{self, internal, invalid};
use crate::revoke::{self, Order};

/// Most nodes that a refusal names.
const NAMED: usize = 8;

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct Authorities(pub(crate) Arc<Ca>);

type Answer = Result<Response<AuthorityStepResponse>, Status>;

#[tonic::async_trait]
impl AuthorityService for Authorities {
    async fn list_authorities(
        &self,
        _: Request<ListAuthoritiesRequest>,
    ) -> Result<Response<ListAuthoritiesResponse>, Status> {
        let ca = &self.0;
        let now = ca.clock.now();
        let failed = |error| refusal::storage("list authorities", &error);
        let current = ca.authorities().await.map_err(failed)?;
        let mut authorities = Vec::with_capacity(current.all.len());
        for one in &current.all {
            authorities.push(ca.shown(one, now).await.map_err(failed)?);
        }
        Ok(Response::new(ListAuthoritiesResponse {
            authorities,
            sequence: current.bundle.sequence,
            publish_interval: ca.signing.rotation.publish_interval.as_secs(),
            automatic: ca.signing.rotation.automatic,
            below: ca.below(now).await.map_err(failed)?,
        }))
    }

    async fn prepare_authority(&self, request: Request<PrepareAuthorityRequest>) -> Answer {
        let (registry, _) = self.0.steps_of(&request)?;
        let kind = kind(&request.get_ref().kind)?;
        self.0.check_has(kind)?;
        let made = self
            .0
            .prepare(&registry, kind)
            .await
            .map_err(|error| failure(&error))?;
        self.0.step(&made, &[]).await
    }

    async fn activate_authority(&self, request: Request<ActivateAuthorityRequest>) -> Answer {
        let (registry, _) = self.0.steps_of(&request)?;
        let asked = request.get_ref();
        let kind = kind(&asked.kind)?;
        self.0.check_has(kind)?;
        let named = match asked.id.as_str() {
            "" => None,
            text => Some(id(text)?),
        };
        let enough = if asked.acknowledged {
            Enough::Acknowledged
        } else {
            Enough::Time
        };
        let (now, interval) = (self.0.clock.now(), self.0.signing.rotation.publish_interval);
        let done = registry
            .activate_authority(kind, named.as_ref(), interval, enough, now, asked.rehearse)
            .await;
        let (one, missing) = done.map_err(|error| refuse(&error))?;
        if !asked.rehearse {
            activated(kind, &one.life.id, &missing);
        }
        self.0.step(&one, &wire::missing(&missing)).await
    }

    async fn taint_authority(&self, request: Request<TaintAuthorityRequest>) -> Answer {
        let (registry, _) = self.0.steps_of(&request)?;
        let asked = request.get_ref();
        let (kind, id) = (kind(&asked.kind)?, id(&asked.id)?);
        let done = registry
            .taint_authority(kind, &id, self.0.clock.now(), asked.rehearse)
            .await;
        let one = done.map_err(|error| refuse(&error))?;
        if !asked.rehearse {
            warn!(target: AUDIT, { authority.kind = %kind, authority.id = %id }, "tainted an authority");
        }
        let nodes = self.0.holders(&one).await?;
        self.0.step(&one, &wire::names(&nodes)).await
    }

    async fn retire_authority(&self, request: Request<RetireAuthorityRequest>) -> Answer {
        let (registry, _) = self.0.steps_of(&request)?;
        let asked = request.get_ref();
        let (kind, id) = (kind(&asked.kind)?, id(&asked.id)?);
        let longest = self.0.signing.rotation.policy(kind).longest;
        let done = registry
            .retire_authority(kind, &id, longest, self.0.clock.now(), asked.rehearse)
            .await;
        let one = done.map_err(|error| refuse(&error))?;
        if !asked.rehearse {
            info!(target: AUDIT, { authority.kind = %kind, authority.id = %id }, "retired an authority");
        }
        self.0.step(&one, &[]).await
    }

    async fn revoke_authority(&self, request: Request<RevokeAuthorityRequest>) -> Answer {
        let (registry, asker) = self.0.steps_of(&request)?;
        let asked = request.get_ref();
        let kind = kind(&asked.kind)?;
        let id = id(&asked.id)?;
        let reason = revoke::reason(&asked.reason)?;
        match kind {
            AuthorityKind::X509 => self.0.revoke_x509(registry, asker, &id, asked, reason).await,
            AuthorityKind::Jwt | AuthorityKind::Wit => {
                let now = self.0.clock.now();
                let done = match kind {
                    AuthorityKind::Wit => registry.revoke_wit_authority(&id, now, asked.rehearse).await,
                    AuthorityKind::X509 | AuthorityKind::Jwt => {
                        registry.revoke_jwt_authority(&id, now, asked.rehearse).await
                    }
                };
                let one = done.map_err(|error| refuse(&error))?;
                if !asked.rehearse {
                    warn!(
                        target: AUDIT,
                        { authority.kind = %kind, authority.id = %id, revocation.reason = reason, revocation.by = asker },
                        "revoked an authority"
                    );
                }
                self.0.step(&one, &[]).await
            }
        }
    }
}

impl Ca {
    /// Nothing new where there is to be nothing of the kind. What is left of it may be taken away.
    fn check_has(&self, kind: AuthorityKind) -> Result<(), Status> {
        let has = self.signing.rotation.has(kind);
        has.then_some(())
            .ok_or_else(|| Status::failed_precondition(crate::issue_wit::OFF))
    }

    /// The registry for the doings of who is at the other end, and how records name them.
    pub(super) fn steps_of<T>(&self, request: &Request<T>) -> Result<(Registry, String), Status> {
        Ok((self.acting_for(request)?, asker(request)))
    }

    async fn revoke_x509(
        self: &Arc<Self>,
        registry: Registry,
        asker: String,
        id: &AuthorityId,
        asked: &RevokeAuthorityRequest,
        reason: String,
    ) -> Answer {
        let current = self.authorities().await;
        let current = current.map_err(|error| refusal::storage("revoke", &error))?;
        let lives = current.lives(AuthorityKind::X509);
        // Said by the registry again, when it is done.
        signet_rotation::revoke(AuthorityKind::X509, &lives, id).map_err(|error| step(&error))?;
        let one = current.all.iter().find(|one| one.life.id == *id);
        let one = one.ok_or_else(|| internal("revoke", &"an authority without a row"))?;
        let nodes = self.holders(one).await?;
        if !nodes.is_empty() && !asked.force && !asked.rehearse {
            return Err(Status::failed_precondition(in_use(&nodes)));
        }
        let order = Order {
            target: Target::Authority(id.as_str().parse().map_err(invalid)?),
            fate: NodeFate::Stays,
            reason,
            asker,
            reissue: true,
            rehearse: asked.rehearse,
            force: true,
        };
        self.revoke(registry, order).await?;
        self.step(one, &wire::names(&nodes)).await
    }

    async fn holders(&self, one: &StoredAuthority) -> Result<Vec<NodeName>, Status> {
        let holders = self.signed_by(one, self.clock.now()).await;
        holders.map_err(|error| refusal::storage("authority", &error))
    }

    /// How things stand after a step, or would.
    pub(super) async fn step(&self, one: &StoredAuthority, nodes: &[String]) -> Answer {
        let failed = |error| refusal::storage("authority", &error);
        let current = self.authorities().await.map_err(failed)?;
        let now_there = current
            .all
            .iter()
            .find(|there| there.life.kind == one.life.kind && there.life.id == one.life.id);
        let shown = self.shown(now_there.unwrap_or(one), self.clock.now()).await;
        let mut nodes = nodes.to_vec();
        nodes.truncate(signet_registry::MAX_NAMED);
        Ok(Response::new(AuthorityStepResponse {
            authority: Some(shown.map_err(failed)?),
            nodes,
            connected: u32::try_from(self.connected.nodes().len()).unwrap_or(u32::MAX),
        }))
    }
}

fn in_use(nodes: &[NodeName]) -> String {
    let named: Vec<_> = nodes.iter().take(NAMED).map(NodeName::as_str).collect();
    let more = match nodes.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "these nodes still have an SVID that it signed, and would have to attest anew with a new join token: {}{more}; taint it and \
         wait until they have renewed, or force it (--force)",
        named.join(", ")
    )
}

fn kind(text: &str) -> Result<AuthorityKind, Status> {
    text.parse().map_err(invalid)
}

fn id(text: &str) -> Result<AuthorityId, Status> {
    text.parse().map_err(invalid)
}

pub(super) fn step(error: &StepError) -> Status {
    match error {
        StepError::Unknown { .. } => Status::not_found(error.to_string()),
        StepError::NothingPrepared(_)
        | StepError::AlreadyPrepared { .. }
        | StepError::TooMany(_)
        | StepError::State { .. }
        | StepError::Unpublished { .. }
        | StepError::Ended { .. }
        | StepError::Alive { .. } => Status::failed_precondition(error.to_string()),
    }
}

pub(super) fn refuse(error: &AuthorityError) -> Status {
    match error {
        AuthorityError::Step(error) => step(error),
        AuthorityError::Storage(error) => refusal::storage("authority", error),
    }
}

fn failure(error: &StepFailure) -> Status {
    match error {
        StepFailure::Authority(error) => refuse(error),
        StepFailure::Storage(error) => refusal::storage("authority", error),
        // Whoever asks is who runs the CA: what a key manager says is for them.
        StepFailure::Make(error) => Status::unavailable(format!("{error:#}")),
    }
}
