//! `OperatorService`: tokens, registrations, settings. Who may call what was decided before ([`crate::operators`]).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use signet_proto::ca::v1::list_nodes_response::Entry;
use signet_proto::ca::v1::operator_service_server::OperatorService;
use signet_proto::ca::v1::{
    AllowNodeRequest, BanNodeRequest, BundleRequest, BundleResponse, CreateJoinTokenRequest,
    CreateJoinTokenResponse, DefederateRequest, DeregisterRequest, DeregisterResponse, DisallowNodeRequest,
    EvictNodeRequest, FederateRequest, FederationEntry, GetCrlRequest, GetCrlResponse, ListFederationRequest,
    ListFederationResponse, ListIdentitiesRequest, ListIdentitiesResponse, ListNodeEntriesRequest,
    ListNodeEntriesResponse, ListNodesRequest, ListNodesResponse, ListRegistrationsRequest,
    ListRegistrationsResponse, ListRevocationsRequest, ListRevocationsResponse, NodeEntry,
    ProveLogEntryRequest, ProveLogEntryResponse, ProveLogGrowthRequest, ProveLogGrowthResponse,
    ReadLogRequest, RefreshFederationRequest, RegisterAllRequest, RegisterAllResponse, RegisterRequest,
    ReopenRequest, RevocationEntry, RevokeRequest, RevokeResponse, SetEncryptionRequest,
    SignLogCheckpointRequest, SignLogCheckpointResponse, StatusRequest, StatusResponse,
    UpdateRegistrationRequest,
};
use signet_proto::view::v1::{Cluster, Registration};
use signet_registry::{
    MAX_ADDRESSES, MAX_POD_CIDRS, NewToken, NodeFate, RegistrationId, Registry, Revision, StorageError,
};
use signet_spiffe::{NodeName, UnixTime};
use tonic::{Request, Response, Status};
use tracing::info;

use crate::audit::AUDIT;
use crate::ca::Ca;
use crate::clock::unix_seconds;
use crate::hex;
use crate::join_token::JoinToken;
use crate::limits::{MAX_TOKEN_TTL, TOKEN_TTL};
use crate::log_service::Entries;
use crate::operators::{Operator, asker};
use crate::refusal::{self, internal, invalid};
use crate::registrations::{draw, parse_all};
use crate::revoke;
use crate::wire;

/// The service for operators.
#[derive(Debug, Clone)]
pub(crate) struct Operators(pub(crate) Arc<Ca>);

#[tonic::async_trait]
impl OperatorService for Operators {
    type ReadLogStream = Entries;

    async fn create_join_token(
        &self,
        request: Request<CreateJoinTokenRequest>,
    ) -> Result<Response<CreateJoinTokenResponse>, Status> {
        let registry = self.0.acting_for(&request)?;
        Ok(Response::new(
            self.0.create_join_token(&registry, request.get_ref()).await?,
        ))
    }

    async fn register(&self, request: Request<RegisterRequest>) -> Result<Response<Registration>, Status> {
        let registry = self.0.acting_for(&request)?;
        Ok(Response::new(
            self.0.register(&registry, request.get_ref()).await?,
        ))
    }

    async fn update_registration(
        &self,
        request: Request<UpdateRegistrationRequest>,
    ) -> Result<Response<Registration>, Status> {
        let registry = self.0.acting_for(&request)?;
        Ok(Response::new(
            self.0.update_registration(&registry, request.get_ref()).await?,
        ))
    }

    async fn register_all(
        &self,
        request: Request<RegisterAllRequest>,
    ) -> Result<Response<RegisterAllResponse>, Status> {
        let registry = self.0.acting_for(&request)?;
        Ok(Response::new(
            self.0.register_all(&registry, request.get_ref()).await?,
        ))
    }

    async fn deregister(
        &self,
        request: Request<DeregisterRequest>,
    ) -> Result<Response<DeregisterResponse>, Status> {
        let ca = &self.0;
        let id: RegistrationId = request.get_ref().id.parse().map_err(invalid)?;
        let gone = ca
            .acting_for(&request)?
            .deregister(id, ca.clock.now())
            .await
            .map_err(|error| refusal::deregister(&error))?;
        info!(
            target: AUDIT,
            {
                registration.id = %id, spiffe.id = %gone.spiffe_id, registration.node = %gone.node
            },
            "deregistered workloads"
        );
        if gone.terms.downstream {
            // What it signed as a CA is revoked with it.
            let honoured = ca.honour().await;
            honoured.map_err(|error| refusal::storage("deregister", &error))?;
        }
        Ok(Response::new(DeregisterResponse {}))
    }

    async fn list_registrations(
        &self,
        _request: Request<ListRegistrationsRequest>,
    ) -> Result<Response<ListRegistrationsResponse>, Status> {
        let registrations = self.0.registry.registrations().await.map_err(list)?;
        let registrations = registrations.iter().map(wire::registration).collect();
        Ok(Response::new(ListRegistrationsResponse { registrations }))
    }

    async fn list_nodes(
        &self,
        _request: Request<ListNodesRequest>,
    ) -> Result<Response<ListNodesResponse>, Status> {
        let nodes = self.0.registry.nodes().await.map_err(list)?;
        let sent = self.0.connected.sent();
        let entry = |node: &signet_registry::Node| {
            let following = sent.get(&node.name).copied();
            Entry {
                node: Some(wire::node(node)),
                connected: following.is_some(),
                svid_not_after: unix_seconds(node.svid_not_after),
                revision: following.unwrap_or_default().0,
            }
        };
        Ok(Response::new(ListNodesResponse {
            nodes: nodes.iter().map(entry).collect(),
        }))
    }

    async fn list_identities(
        &self,
        _request: Request<ListIdentitiesRequest>,
    ) -> Result<Response<ListIdentitiesResponse>, Status> {
        let identities = self.0.registry.identities().await.map_err(list)?;
        let identities = identities.iter().map(wire::identity).collect();
        Ok(Response::new(ListIdentitiesResponse { identities }))
    }

    async fn set_encryption(
        &self,
        request: Request<SetEncryptionRequest>,
    ) -> Result<Response<Cluster>, Status> {
        let mode = wire::encryption(request.get_ref().mode)
            .ok_or_else(|| invalid("the encryption mode is one of off and wireguard"))?;
        self.0
            .acting_for(&request)?
            .set_encryption(mode)
            .await
            .map_err(|error| refusal::storage("set encryption", &error))?;
        info!(
            target: AUDIT,
            {
                encryption = %mode
            },
            "set the cluster's encryption"
        );
        let target = self.0.registry.availability_target().await;
        let target = target.map_err(|error| refusal::storage("set encryption", &error))?;
        Ok(Response::new(wire::cluster(mode, target)))
    }

    async fn revoke(&self, request: Request<RevokeRequest>) -> Result<Response<RevokeResponse>, Status> {
        let order = self.0.order(request.get_ref(), asker(&request))?;
        Ok(Response::new(
            self.0.revoke(self.0.acting_for(&request)?, order).await?,
        ))
    }

    async fn reopen(&self, request: Request<ReopenRequest>) -> Result<Response<RevocationEntry>, Status> {
        let asker = asker(&request);
        let id = &request.get_ref().spiffe_id;
        Ok(Response::new(
            self.0.reopen(&self.0.acting_for(&request)?, id, &asker).await?,
        ))
    }

    async fn list_revocations(
        &self,
        _request: Request<ListRevocationsRequest>,
    ) -> Result<Response<ListRevocationsResponse>, Status> {
        let revocations = self.0.registry.revocations().await.map_err(list)?;
        let revocations = revocations.iter().map(revoke::entry).collect();
        Ok(Response::new(ListRevocationsResponse { revocations }))
    }

    async fn ban_node(&self, request: Request<BanNodeRequest>) -> Result<Response<RevokeResponse>, Status> {
        let asker = asker(&request);
        let BanNodeRequest {
            node,
            reason,
            rehearse,
        } = request.get_ref();
        let order = Ca::node_order(node, NodeFate::Banned, reason, asker, *rehearse)?;
        Ok(Response::new(
            self.0.revoke(self.0.acting_for(&request)?, order).await?,
        ))
    }

    async fn evict_node(
        &self,
        request: Request<EvictNodeRequest>,
    ) -> Result<Response<RevokeResponse>, Status> {
        let asker = asker(&request);
        let EvictNodeRequest {
            node,
            reason,
            rehearse,
        } = request.get_ref();
        let order = Ca::node_order(node, NodeFate::Evicted, reason, asker, *rehearse)?;
        Ok(Response::new(
            self.0.revoke(self.0.acting_for(&request)?, order).await?,
        ))
    }

    async fn federate(&self, request: Request<FederateRequest>) -> Result<Response<FederationEntry>, Status> {
        let registry = self.0.acting_for(&request)?;
        Ok(Response::new(
            self.0.federate(&registry, request.get_ref()).await?,
        ))
    }

    async fn defederate(
        &self,
        request: Request<DefederateRequest>,
    ) -> Result<Response<FederationEntry>, Status> {
        let registry = self.0.acting_for(&request)?;
        let trust_domain = &request.get_ref().trust_domain;
        Ok(Response::new(self.0.defederate(&registry, trust_domain).await?))
    }

    async fn list_federation(
        &self,
        request: Request<ListFederationRequest>,
    ) -> Result<Response<ListFederationResponse>, Status> {
        let entries = self.0.list_federation(&request.get_ref().trust_domain).await?;
        Ok(Response::new(ListFederationResponse { entries }))
    }

    async fn refresh_federation(
        &self,
        request: Request<RefreshFederationRequest>,
    ) -> Result<Response<FederationEntry>, Status> {
        let trust_domain = &request.get_ref().trust_domain;
        Ok(Response::new(self.0.refresh_federation(trust_domain).await?))
    }

    async fn allow_node(&self, request: Request<AllowNodeRequest>) -> Result<Response<NodeEntry>, Status> {
        let registry = self.0.acting_for(&request)?;
        Ok(Response::new(
            self.0.allow_node(&registry, request.get_ref()).await?,
        ))
    }

    async fn disallow_node(
        &self,
        request: Request<DisallowNodeRequest>,
    ) -> Result<Response<NodeEntry>, Status> {
        let registry = self.0.acting_for(&request)?;
        let node = &request.get_ref().node;
        Ok(Response::new(self.0.disallow_node(&registry, node).await?))
    }

    async fn list_node_entries(
        &self,
        _request: Request<ListNodeEntriesRequest>,
    ) -> Result<Response<ListNodeEntriesResponse>, Status> {
        let entries = self.0.list_node_entries().await?;
        Ok(Response::new(ListNodeEntriesResponse { entries }))
    }

    async fn get_crl(&self, _request: Request<GetCrlRequest>) -> Result<Response<GetCrlResponse>, Status> {
        Ok(Response::new(self.0.crl().await?))
    }

    async fn status(&self, _request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        self.0
            .status(true)
            .await
            .map(Response::new)
            .map_err(|error| refusal::storage("status", &error))
    }

    async fn bundle(&self, _request: Request<BundleRequest>) -> Result<Response<BundleResponse>, Status> {
        let published = self.0.authorities().await;
        let published = published.map_err(|error| refusal::storage("bundle", &error))?;
        Ok(Response::new(BundleResponse {
            pem: published.bundle.x509.to_pem(),
            spiffe: published.spiffe.clone(),
            jwks: published.jwks.clone(),
        }))
    }

    async fn sign_log_checkpoint(
        &self,
        _request: Request<SignLogCheckpointRequest>,
    ) -> Result<Response<SignLogCheckpointResponse>, Status> {
        Ok(Response::new(self.0.sign_checkpoint().await?))
    }

    async fn read_log(&self, request: Request<ReadLogRequest>) -> Result<Response<Entries>, Status> {
        Ok(Response::new(self.0.read_log(request.get_ref()).await?))
    }

    async fn prove_log_entry(
        &self,
        request: Request<ProveLogEntryRequest>,
    ) -> Result<Response<ProveLogEntryResponse>, Status> {
        Ok(Response::new(self.0.prove_entry(request.get_ref()).await?))
    }

    async fn prove_log_growth(
        &self,
        request: Request<ProveLogGrowthRequest>,
    ) -> Result<Response<ProveLogGrowthResponse>, Status> {
        Ok(Response::new(self.0.prove_growth(request.get_ref()).await?))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "map_err hands it over")]
fn list(error: StorageError) -> Status {
    refusal::storage("list", &error)
}

impl Ca {
    /// The registry, for the doings of who was let in.
    pub(crate) fn acting_for<T>(&self, request: &Request<T>) -> Result<Registry, Status> {
        let operator = request.extensions().get::<Operator>();
        let operator = operator.ok_or_else(|| internal("operator", &"a call that nobody has judged"))?;
        Ok(self.registry.acting(operator.caller(), self.clock.now()))
    }

    async fn create_join_token(
        &self,
        registry: &Registry,
        request: &CreateJoinTokenRequest,
    ) -> Result<CreateJoinTokenResponse, Status> {
        let node = NodeName::parse(&request.node).map_err(invalid)?;
        let ttl = match request.ttl {
            0 => TOKEN_TTL,
            ttl if ttl <= MAX_TOKEN_TTL => ttl,
            ttl => {
                return Err(invalid(format!(
                    "a join token lives at most {MAX_TOKEN_TTL} seconds, not {ttl}"
                )));
            }
        };
        let token = JoinToken::new(draw()?, draw()?);
        let now = self.clock.now();
        let new = NewToken {
            id: token.id(),
            secret_sha256: token.secret_sha256(),
            node,
            pod_cidrs: parse_all(&request.pod_cidrs, MAX_POD_CIDRS)?,
            addresses: parse_all(&request.addresses, MAX_ADDRESSES)?,
            expires: UnixTime::since_unix_epoch(Duration::from_secs(
                now.as_secs().saturating_add(ttl.into()),
            )),
        };
        registry
            .create_token(&new, now)
            .await
            .map_err(|error| refusal::create_token(&error))?;
        info!(
            target: AUDIT,
            {
                token.id = %new.id, token.node = %new.node, token.expires = new.expires.as_secs()
            },
            "made a join token"
        );
        Ok(CreateJoinTokenResponse {
            token: token.to_secret_text(),
            expires: unix_seconds(new.expires),
        })
    }

    /// What the CA is. Not `exactly`: what takes long to find out may be of a moment ago.
    pub(crate) async fn status(&self, exactly: bool) -> Result<StatusResponse, StorageError> {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let revision: Revision = *self.registry.watch().borrow();
        let authorities = self.authorities().await?;
        // Of the one that signs; nothing while this CA cannot use it.
        let signing = authorities
            .signing()
            .ok()
            .map(|active| Arc::clone(&active.authority));
        let root_sha256 = signing
            .as_ref()
            .map(|active| digest(&SHA256, active.certificate()));
        Ok(StatusResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            trust_domain: self.trust_domain().to_string(),
            revision: revision.0,
            root_not_before: signing
                .as_ref()
                .map_or(0, |active| unix_seconds(active.not_before())),
            root_not_after: signing
                .as_ref()
                .map_or(0, |active| unix_seconds(active.not_after())),
            root_sha256: root_sha256.map_or_else(String::new, |digest| hex::encode(digest.as_ref())),
            nodes: self.registry.count_nodes().await?,
            connected: count(self.connected.nodes().len()),
            registrations: self.registry.count_registrations().await?,
            cluster: Some(wire::cluster(
                self.registry.encryption().await?,
                self.registry.availability_target().await?,
            )),
            issued: self.issued.load(Ordering::Relaxed),
            issued_jwt: self.issued_jwt.load(Ordering::Relaxed),
            key_storage: self.key_storage.clone(),
            bundle_pem: authorities.bundle.x509.to_pem(),
            outage: Some(self.outage(exactly).await?),
            upstream: self.upstream_status(&authorities).await?,
            waits: self.signing.troubles(),
        })
    }
}
