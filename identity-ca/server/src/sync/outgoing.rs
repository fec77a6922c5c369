//! Updates on the wire: encoded parts put behind one another.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf as _, BufMut as _, Bytes};
use prost::Message as _;
use signet_proto::ca::v1::SyncRequest;
use signet_proto::ca::v1::node_service_server::NodeServiceServer;
use signet_proto::view::v1::Update;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_util::sync::DropGuard;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService, ServerStreamingService};
use tonic::{Request, Response, Status};

use crate::ca::Ca;
use crate::caller::{Caller, peer};
use crate::limits::{REQUEST, RESPONSE};

/// Where the updates are called for.
const PATH: &str = "/signet.ca.v1.NodeService/Sync";

/// An update: what is everybody's, and what is of the node that it goes to.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(super) shared: Bytes,
    pub(super) own: Update,
    /// Dropped once it has been sent.
    pub(super) under_way: Option<DropGuard>,
}

impl Outgoing {
    /// The update as a whole.
    pub(crate) fn update(&self) -> Result<Update, Status> {
        let whole = [&self.shared[..], &self.own.encode_to_vec()].concat();
        Update::decode(&whole[..]).map_err(|error| Status::internal(error.to_string()))
    }
}

/// What a caller reads from.
#[derive(Debug)]
pub(crate) struct Updates {
    receiver: mpsc::Receiver<Result<Outgoing, Status>>,
    /// Of the last one. The transport asks for the next one once it has got rid of that.
    under_way: Option<DropGuard>,
}

impl Updates {
    pub(super) fn new(receiver: mpsc::Receiver<Result<Outgoing, Status>>) -> Self {
        Self {
            receiver,
            under_way: None,
        }
    }
}

impl Stream for Updates {
    type Item = Result<Outgoing, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.under_way = None;
        let next = self.receiver.poll_recv(cx);
        next.map(|next| {
            next.map(|next| {
                next.map(|mut update| {
                    self.under_way = update.under_way.take();
                    update
                })
            })
        })
    }
}

/// Writes parts, reads requests.
#[derive(Debug, Clone, Copy, Default)]
struct Parts;

impl Codec for Parts {
    type Encode = Outgoing;
    type Decode = SyncRequest;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Parts {
    type Item = Outgoing;
    type Error = Status;

    fn encode(&mut self, update: Outgoing, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.reserve(update.shared.len() + update.own.encoded_len());
        to.put_slice(&update.shared);
        update
            .own
            .encode(to)
            .map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for Parts {
    type Item = SyncRequest;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<SyncRequest>, Status> {
        let request = SyncRequest::decode(from.copy_to_bytes(from.remaining()));
        request
            .map(Some)
            .map_err(|error| Status::invalid_argument(error.to_string()))
    }
}

/// The service for nodes, whose `Sync` sends parts.
#[derive(Debug, Clone)]
pub(crate) struct WithParts<S> {
    pub(crate) ca: Arc<Ca>,
    pub(crate) others: S,
}

impl<S> NamedService for WithParts<NodeServiceServer<S>> {
    const NAME: &'static str = <NodeServiceServer<S> as NamedService>::NAME;
}

impl<S> Service<http::Request<Body>> for WithParts<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.others.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() != PATH {
            return Box::pin(self.others.call(request));
        }
        let ca = Arc::clone(&self.ca);
        Box::pin(async move {
            let mut grpc = Grpc::new(Parts).apply_max_message_size_config(Some(REQUEST), Some(RESPONSE));
            Ok(grpc.server_streaming(Sync(ca), request).await)
        })
    }
}

struct Sync(Arc<Ca>);

impl ServerStreamingService<SyncRequest> for Sync {
    type Response = Outgoing;
    type ResponseStream = Updates;
    type Future = BoxFuture<Response<Updates>, Status>;

    fn call(&mut self, request: Request<SyncRequest>) -> Self::Future {
        let ca = Arc::clone(&self.0);
        Box::pin(async move {
            let caller = Caller::of(&ca, &request).await?;
            let peer = peer(&request)?.clone();
            Ok(Response::new(ca.sync(caller, &peer, request.get_ref()).await?))
        })
    }
}
