//! `MeshService` on `meshd.sock`.

mod list;
mod lookups;
mod streams;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use signet_endpoints::Worth;
use signet_metrics::Page;
use signet_proto::mesh::v1::mesh_service_server::MeshService;
use signet_proto::mesh::v1::{
    Endpoints, ExplainRequest, ExplainResponse, FlowEvent, FlowsRequest, ListEndpointsRequest,
    ListEndpointsResponse, ListPoliciesRequest, ListPoliciesResponse, Pairs, StatusRequest, StatusResponse,
    WatchEndpointsRequest, WatchPairsRequest,
};
use tokio::sync::{Semaphore, watch};
use tokio::task::block_in_place;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

pub(crate) use self::lookups::Lookups;
use crate::explain::{Question, explain};
use crate::flows::{Clock, FlowLog};
use crate::known::Known;
use crate::metrics;

/// Most streams at a time, of all kinds together.
const MAX_STREAMS: usize = 64;

/// Answers from what is known.
#[derive(Clone)]
pub(crate) struct Service {
    known: watch::Receiver<Arc<Known>>,
    beats: watch::Receiver<u64>,
    lookups: Arc<Lookups>,
    flows: Arc<FlowLog>,
    streams: Arc<Semaphore>,
}

impl Service {
    pub(crate) fn new(
        known: watch::Receiver<Arc<Known>>,
        beats: watch::Receiver<u64>,
        lookups: Lookups,
        flows: Arc<FlowLog>,
    ) -> Self {
        Self {
            known,
            beats,
            lookups: Arc::new(lookups),
            flows,
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
        }
    }

    /// The status as metrics; None while the daemon is stopping.
    pub(crate) async fn metrics(&self) -> Option<Page> {
        let status = self.status(Request::new(StatusRequest {})).await.ok()?;
        Some(metrics::page(status.get_ref()))
    }

    fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.borrow())
    }

    fn permit(&self) -> Result<tokio::sync::OwnedSemaphorePermit, Status> {
        let busy =
            |_| Status::resource_exhausted(format!("{MAX_STREAMS} streams are open already: close one"));
        Arc::clone(&self.streams).try_acquire_owned().map_err(busy)
    }
}

/// Both clocks at one instant.
pub(crate) fn clock() -> Clock {
    let wall = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos();
    Clock {
        wall: i64::try_from(wall).unwrap_or(i64::MAX),
        boot: signet_maps::boottime_now(),
    }
}

#[tonic::async_trait]
impl MeshService for Service {
    type WatchEndpointsStream = ReceiverStream<Result<Endpoints, Status>>;
    type WatchPairsStream = ReceiverStream<Result<Pairs, Status>>;
    type FlowsStream = ReceiverStream<Result<FlowEvent, Status>>;

    async fn watch_endpoints(
        &self,
        request: Request<WatchEndpointsRequest>,
    ) -> Result<Response<Self::WatchEndpointsStream>, Status> {
        let permit = self.permit()?;
        let beats = request.get_ref().heartbeat.then(|| self.beats.clone());
        Ok(Response::new(streams::endpoints(
            self.known.clone(),
            beats,
            permit,
        )))
    }

    async fn watch_pairs(
        &self,
        request: Request<WatchPairsRequest>,
    ) -> Result<Response<Self::WatchPairsStream>, Status> {
        let permit = self.permit()?;
        let worth = if request.into_inner().all {
            Worth::Every
        } else {
            Worth::Asked
        };
        Ok(Response::new(streams::pairs(self.known.clone(), worth, permit)))
    }

    async fn list_endpoints(
        &self,
        _: Request<ListEndpointsRequest>,
    ) -> Result<Response<ListEndpointsResponse>, Status> {
        Ok(Response::new(list::endpoints(&self.known())))
    }

    async fn list_policies(
        &self,
        _: Request<ListPoliciesRequest>,
    ) -> Result<Response<ListPoliciesResponse>, Status> {
        Ok(Response::new(list::policies(&self.known())))
    }

    async fn explain(&self, request: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        let question = Question::parse(request.get_ref())
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let known = self.known();
        Ok(Response::new(block_in_place(|| {
            explain(&question, &known, &*self.lookups)
        })))
    }

    async fn flows(&self, request: Request<FlowsRequest>) -> Result<Response<Self::FlowsStream>, Status> {
        let permit = self.permit()?;
        let stream = streams::flows(
            request.into_inner(),
            Arc::clone(&self.flows),
            Arc::clone(&self.lookups),
            self.known.clone(),
            permit,
        );
        Ok(Response::new(stream))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let known = self.known();
        let mut status = list::status(&known);
        // Walks whole maps.
        let lookups = Arc::clone(&self.lookups);
        let read = tokio::task::spawn_blocking(move || lookups.status()).await;
        let (maps, counters, errors) = read.map_err(|_| Status::cancelled("signet-meshd is stopping"))?;
        status.maps = maps;
        status.counters = counters;
        status.errors.extend(errors);
        Ok(Response::new(status))
    }
}
