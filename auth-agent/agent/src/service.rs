//! `agent.sock`: the view for the node's daemons, proofs, sessions and SVIDs for the operator.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use signet_abi::{AuthKey, NodeId, SecurityIdentity};
use signet_maps::boottime_now;
use signet_proto::agent::v1::agent_service_server::AgentService;
use signet_proto::agent::v1::{
    AuthEvent, FlushRequest, FlushResponse, ListLeasesRequest, ListLeasesResponse, ListProofsRequest,
    ListProofsResponse, ListSessionsRequest, ListSessionsResponse, ListSvidsRequest, ListSvidsResponse,
    Parking as WireParking, ProofEntry, ProveRequest, StatusRequest, StatusResponse, SvidEntry, WatchRequest,
    WatchViewRequest,
};
use signet_proto::view::v1::Update;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status as Refusal};

use crate::pairs::Pairs;
use crate::parking::Parking;
use crate::sessions::Sessions;
use crate::status::Status;
use crate::svids::Entry;
use crate::svids::SvidSet;
use crate::view::ViewStore;

mod counts;
mod operators;

/// Streams of the view at a time.
const WATCHERS: usize = 32;
/// Streams of events at a time. Apart from the others: no operator takes the place of a daemon of the node.
const OPERATORS: usize = 32;
/// Updates that wait for a slow watcher.
const BACKLOG: usize = 16;
/// For a proof that a person asked for; longer than a handshake may take.
const PROVE: Duration = Duration::from_secs(15);

/// What the service looks at.
#[derive(Clone, Debug)]
pub struct Service {
    /// This node's name.
    pub node: String,
    /// The view.
    pub view: Arc<ViewStore>,
    /// SVIDs.
    pub svids: tokio::sync::watch::Receiver<Arc<SvidSet>>,
    /// Proofs.
    pub pairs: Pairs,
    /// Sessions.
    pub sessions: Arc<Sessions>,
    /// Counters.
    pub status: Arc<Status>,
    watchers: Arc<Semaphore>,
    operators: Arc<Semaphore>,
}

impl Service {
    /// A service over these.
    pub fn new(
        node: String,
        view: Arc<ViewStore>,
        svids: tokio::sync::watch::Receiver<Arc<SvidSet>>,
        pairs: Pairs,
        sessions: Arc<Sessions>,
        status: Arc<Status>,
    ) -> Self {
        Self {
            node,
            view,
            svids,
            pairs,
            sessions,
            status,
            watchers: Arc::new(Semaphore::new(WATCHERS)),
            operators: Arc::new(Semaphore::new(OPERATORS)),
        }
    }
}

#[tonic::async_trait]
impl AgentService for Service {
    type WatchViewStream = BoxStream<'static, Result<Update, Refusal>>;

    async fn watch_view(
        &self,
        _request: Request<WatchViewRequest>,
    ) -> Result<Response<Self::WatchViewStream>, Refusal> {
        let place = self.watchers.clone().try_acquire_owned();
        let place = place.map_err(|_| Refusal::resource_exhausted("too many watch the view already"))?;
        let (sender, receiver) = mpsc::channel(BACKLOG);
        let view = self.view.clone();
        tokio::spawn(async move {
            view.feed(sender).await;
            drop(place);
        });
        Ok(Response::new(ReceiverStream::new(receiver).boxed()))
    }

    async fn list_proofs(
        &self,
        _request: Request<ListProofsRequest>,
    ) -> Result<Response<ListProofsResponse>, Refusal> {
        let view = self.view.current();
        let reports = self.pairs.report().await;
        let proofs = reports
            .iter()
            .map(|report| report.to_wire(view.as_deref()))
            .collect();
        Ok(Response::new(ListProofsResponse { proofs }))
    }

    async fn list_sessions(
        &self,
        _request: Request<ListSessionsRequest>,
    ) -> Result<Response<ListSessionsResponse>, Refusal> {
        Ok(Response::new(ListSessionsResponse {
            sessions: self.sessions.report(),
        }))
    }

    async fn list_leases(
        &self,
        _request: Request<ListLeasesRequest>,
    ) -> Result<Response<ListLeasesResponse>, Refusal> {
        Ok(Response::new(self.sessions.leases().report()))
    }

    async fn list_svids(
        &self,
        _request: Request<ListSvidsRequest>,
    ) -> Result<Response<ListSvidsResponse>, Refusal> {
        let set = self.svids.borrow().clone();
        Ok(Response::new(ListSvidsResponse {
            svids: set.entries().iter().map(svid_to_wire).collect(),
        }))
    }

    async fn status(&self, _request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Refusal> {
        let view = self.view.current();
        let reports = self.pairs.report().await;
        let proofs = reports
            .iter()
            .filter(|report| report.pair.proof.is_some())
            .count();
        let handshakes = counts::handshakes(&self.status.tally, &reports, boottime_now());
        let status = &self.status;
        Ok(Response::new(StatusResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.node.clone(),
            node_id: view
                .as_ref()
                .and_then(|view| view.own())
                .map_or(0, |own| own.number.get()),
            trust_domain: view
                .as_ref()
                .map(|view| view.trust_domain().to_string())
                .unwrap_or_default(),
            ca_connected: status.ca_connected(),
            revision: view.as_ref().map_or(0, |view| view.revision()),
            node_svid_not_before: status.node_svid_not_before(),
            node_svid_not_after: status.node_svid_not_after(),
            svids: count(self.svids.borrow().ready()),
            sessions: count(self.sessions.count()),
            proofs: count(proofs),
            handshakes_ok: status.handshakes_ok.load(Relaxed),
            handshakes_failed: status.handshakes_failed.load(Relaxed),
            signals_received: status.signals_received.load(Relaxed),
            signals_refused: status.signals_refused.load(Relaxed),
            last_error: status.last_error(),
            mesh_connected: status.mesh_connected(),
            keyd_connected: status.keyd_connected(),
            cluster: view.map(|view| view.cluster()),
            parking: Some(parking(&status.parking)),
            custody: Some(status.custody.to_wire()),
            preauth: Some(status.ahead.to_wire()),
            handshakes: Some(handshakes),
            room: Some(status.room.to_wire()),
            leases: Some(self.sessions.leases().status_report()),
        }))
    }

    async fn prove(&self, request: Request<ProveRequest>) -> Result<Response<ProofEntry>, Refusal> {
        let request = request.into_inner();
        let key = AuthKey {
            local: SecurityIdentity(request.local_identity),
            remote: SecurityIdentity(request.remote_identity),
            node: NodeId(request.node_id),
        };
        let report = timeout(PROVE, self.pairs.prove(key))
            .await
            .map_err(|_| Refusal::deadline_exceeded("the handshake takes too long; see `signet auth list`"))?
            .ok_or_else(|| Refusal::resource_exhausted("too many wait for this proof"))?;
        Ok(Response::new(report.to_wire(self.view.current().as_deref())))
    }

    type WatchStream = BoxStream<'static, Result<AuthEvent, Refusal>>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Refusal> {
        let place = self.operators.clone().try_acquire_owned();
        let place = place.map_err(|_| Refusal::resource_exhausted("too many watch already"))?;
        Ok(Response::new(operators::watch(
            &self.status,
            request.into_inner().kinds,
            place,
        )))
    }

    async fn flush(&self, request: Request<FlushRequest>) -> Result<Response<FlushResponse>, Refusal> {
        operators::flush(&self.pairs, &request).await.map(Response::new)
    }
}

fn svid_to_wire(entry: &Entry) -> SvidEntry {
    let state = match (&entry.svid, &entry.revoked, &entry.last_error) {
        (Some(_), _, _) => "ready",
        (None, Some(_), _) => "revoked",
        (None, None, _) if entry.away => "away",
        (None, None, Some(_)) => "failed",
        (None, None, None) => "pending",
    };
    let revoked = entry.revoked.as_deref().map(str::to_owned);
    SvidEntry {
        spiffe_id: entry.registration.spiffe_id.to_string(),
        registration: entry.registration.id.clone(),
        identity: entry.registration.identity.0,
        serial: entry
            .svid
            .as_ref()
            .map(|svid| svid.serial.clone())
            .unwrap_or_default(),
        not_before: entry.svid.as_ref().map_or(0, |svid| svid.not_before),
        not_after: entry.svid.as_ref().map_or(0, |svid| svid.not_after),
        state: state.to_owned(),
        last_error: revoked.or_else(|| entry.last_error.clone()).unwrap_or_default(),
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn parking(parking: &Parking) -> WireParking {
    let (fill, counts, answers) = (parking.fill(), parking.counts(), parking.answers());
    WireParking {
        open: parking.is_open(),
        pairs: count(fill.pairs),
        packets: count(fill.packets),
        bytes: fill.bytes as u64,
        parked: counts.parked,
        released: counts.released,
        refused: counts.refused,
        expired: counts.expired,
        overflowed: counts.overflowed,
        told: answers.told,
        untold: answers.withheld,
    }
}
