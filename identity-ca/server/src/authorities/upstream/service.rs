//! `UpstreamService`: requests out, certificates in.

use std::sync::Arc;

use signet_authority::{ChainError, chain_from_pem};
use signet_keys::KeyRecord;
use signet_log::Hash;
use signet_proto::ca::v1::upstream_service_server::UpstreamService;
use signet_proto::ca::v1::{
    AuthorityStepResponse, ImportAuthorityRequest, RequestAuthorityRequest, RequestAuthorityResponse,
};
use signet_registry::RequestedError;
use signet_rotation::AuthorityKind;
use tonic::{Request, Response, Status};
use tracing::info;

use crate::audit::{AUDIT, CameOf};
use crate::authorities::operators;
use crate::ca::Ca;
use crate::refusal::{self, internal};

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct Upstreams(pub(crate) Arc<Ca>);

#[tonic::async_trait]
impl UpstreamService for Upstreams {
    async fn request_authority(
        &self,
        request: Request<RequestAuthorityRequest>,
    ) -> Result<Response<RequestAuthorityResponse>, Status> {
        let ca = &self.0;
        let (registry, _) = ca.steps_of(&request)?;
        let made = ca.maker().request().await;
        let (record, asked) = made.map_err(|error| Status::unavailable(format!("{error:#}")))?;
        let kept = registry
            .keep_authority_request(record.public_key(), &record.encode(), ca.clock.now())
            .await;
        for given_up in kept.map_err(|error| refusal::storage("request", &error))? {
            ca.destroy(given_up)
                .await
                .map_err(|error| internal("request", &error))?;
        }
        info!(target: AUDIT, { authority.key_kind = %record.kind() }, "made a key, and a request for its certificate");
        let key = Hash::sha256(record.public_key());
        let mut answer = Response::new(RequestAuthorityResponse { csr: asked.pem });
        came_of(&mut answer, [("public_key", key.to_string())]);
        Ok(answer)
    }

    async fn import_authority(
        &self,
        request: Request<ImportAuthorityRequest>,
    ) -> Result<Response<AuthorityStepResponse>, Status> {
        let ca = &self.0;
        let (registry, _) = ca.steps_of(&request)?;
        let refused = |error: &ChainError| Status::invalid_argument(error.to_string());
        let chain = chain_from_pem(&request.get_ref().chain).map_err(|error| refused(&error))?;
        let public = chain.first().and_then(signet_authority::public_key);
        let public = public.ok_or_else(|| refused(&ChainError::Length { count: 0 }))?;
        let storage = |error| refusal::storage("import", &error);
        let record = registry.authority_request(&public).await.map_err(storage)?;
        let record = record.ok_or_else(|| {
            Status::failed_precondition(
                "the first certificate is of no key that waits for one: it has to be made of a request of this CA's (`signet ca \
                 authority csr`), and can be taken once",
            )
        })?;
        let record = KeyRecord::decode(&record).map_err(|error| internal("import", &error))?;
        let now = ca.clock.now();
        let all = ca
            .authorities()
            .await
            .map_err(storage)?
            .lives(AuthorityKind::X509);
        signet_rotation::prepare(AuthorityKind::X509, &all).map_err(|error| operators::step(&error))?;
        let made = ca.maker().certified(record, chain, now).await;
        let new = made.map_err(|error| match error.downcast_ref::<ChainError>() {
            Some(chain) => refused(chain),
            None => Status::unavailable(format!("{error:#}")),
        })?;
        let interval = ca.signing.rotation.publish_interval;
        let prepared = registry
            .prepare_requested_authority(new, &public, interval, now)
            .await;
        let prepared = prepared.map_err(|error| match &error {
            RequestedError::NotWaiting => Status::failed_precondition(error.to_string()),
            RequestedError::Authority(error) => operators::refuse(error),
        })?;
        info!(
            target: AUDIT,
            { authority.id = %prepared.life.id, bundle.sequence = prepared.life.sequence },
            "prepared an authority that another CA has signed"
        );
        let mut answer = ca.step(&prepared, &[]).await?;
        let key = Hash::sha256(&public);
        let id = prepared.life.id.to_string();
        came_of(&mut answer, [("authority", id), ("public_key", key.to_string())]);
        Ok(answer)
    }
}

/// For the audit stream: which key a certificate was asked for, and which authority one made of it.
fn came_of<T>(answer: &mut Response<T>, facts: impl IntoIterator<Item = (&'static str, String)>) {
    let facts = facts.into_iter();
    let facts = facts
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    answer.extensions_mut().insert(CameOf(facts));
}
