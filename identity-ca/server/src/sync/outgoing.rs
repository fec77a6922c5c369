//! Updates on the wire: encoded parts put behind one another, and never copied. A snapshot that thousands want at once is in memory once.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{BufMut as _, Bytes, BytesMut};
use http_body_util::StreamBody;
use hyper::body::Frame;
use prost::Message as _;
use signet_proto::ca::v1::SyncRequest;
use signet_proto::ca::v1::node_service_server::NodeServiceServer;
use signet_proto::view::v1::Update;
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::DropGuard;
use tonic::body::Body;
use tonic::codec::Streaming;
use tonic::codegen::http::{self, HeaderMap, HeaderValue, header};
use tonic::codegen::{BoxFuture, Service};
use tonic::metadata::MetadataMap;
use tonic::server::NamedService;
use tonic::{Request, Status};
use tonic_prost::ProstDecoder;

use crate::ca::Ca;
use crate::caller::{Caller, peer};
use crate::limits::{REQUEST, RESPONSE};

/// Where the updates are called for.
const PATH: &str = "/signet.ca.v1.NodeService/Sync";

/// Most bytes that the transport is given at once: it asks for more when it has got rid of these.
const PIECE: usize = 64 * 1024;

/// Before each message of gRPC: whether it is compressed, and how long it is, big-endian `u32`.
const PREFIX: usize = 5;

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

impl Outgoing {
    /// The message as gRPC has it: prefix, what is everybody's, what is the node's own.
    fn message(&self) -> Result<[Bytes; 3], Status> {
        let own: Bytes = self.own.encode_to_vec().into();
        let length = self.shared.len() + own.len();
        let length = u32::try_from(length)
            .ok()
            .filter(|_| length <= RESPONSE)
            .ok_or_else(|| {
                Status::out_of_range(format!(
                    "the view has {length} bytes, and one message at most {RESPONSE}"
                ))
            })?;
        let mut prefix = BytesMut::with_capacity(PREFIX);
        prefix.put_u8(0);
        prefix.put_u32(length);
        Ok([prefix.freeze(), self.shared.clone(), own])
    }
}

/// An update, or the last word of a stream. Small: a channel has room for 32 of them from its beginning, whatever its bound, and each
/// connected node has one.
pub(super) type Told = Result<Box<Outgoing>, Status>;

/// What a caller reads from.
#[derive(Debug)]
pub(crate) struct Updates {
    receiver: mpsc::Receiver<Told>,
    taken: Taken,
}

/// Counts the pieces of updates that the transport has taken: it does so as the node reads. Clones count together.
#[derive(Debug, Clone, Default)]
pub(super) struct Taken(Arc<AtomicU64>);

impl Taken {
    pub(super) fn one_more(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Updates {
    pub(super) fn new(receiver: mpsc::Receiver<Told>, taken: Taken) -> Self {
        Self { receiver, taken }
    }
}

impl Stream for Updates {
    type Item = Told;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.receiver.poll_recv(cx)
    }
}

/// The body of the answer.
#[derive(Debug)]
struct Frames {
    updates: Updates,
    /// What is left of the update that is being sent.
    pieces: VecDeque<Bytes>,
    /// Of that update. The transport asks for the next one once it has got rid of this one.
    under_way: Option<DropGuard>,
    /// Whether the trailers have been sent.
    ended: bool,
}

impl Frames {
    fn end(&mut self, status: &Status) -> Result<Frame<Bytes>, Status> {
        self.ended = true;
        let mut trailers = HeaderMap::new();
        status.add_header(&mut trailers)?;
        Ok(Frame::trailers(trailers))
    }

    fn next_piece(&mut self) -> Option<Bytes> {
        while let Some(first) = self.pieces.front_mut() {
            let piece = first.split_to(first.len().min(PIECE));
            if first.is_empty() {
                self.pieces.pop_front();
            }
            if !piece.is_empty() {
                return Some(piece);
            }
        }
        None
    }
}

impl Stream for Frames {
    type Item = Result<Frame<Bytes>, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(piece) = self.next_piece() {
                self.updates.taken.one_more();
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            self.under_way = None;
            let update = ready!(Pin::new(&mut self.updates).poll_next(cx));
            let message = match update {
                Some(Ok(mut update)) => {
                    self.under_way = update.under_way.take();
                    update.message()
                }
                Some(Err(last)) => Err(last),
                None => Err(Status::ok("")),
            };
            match message {
                Ok(pieces) => self.pieces = pieces.into(),
                Err(last) => return Poll::Ready(Some(self.end(&last))),
            }
        }
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
            Ok(match sync(&ca, request).await {
                Ok(updates) => answer(updates),
                Err(refused) => refused.into_http(),
            })
        })
    }
}

async fn sync(ca: &Arc<Ca>, request: http::Request<Body>) -> Result<Updates, Status> {
    let (head, body) = request.into_parts();
    let mut asked = Streaming::new_request(ProstDecoder::<SyncRequest>::default(), body, None, Some(REQUEST));
    let asked = asked.next().await.transpose()?;
    let asked = asked.ok_or_else(|| Status::internal("a request without a message"))?;
    let metadata = MetadataMap::from_headers(head.headers);
    let request = Request::from_parts(metadata, head.extensions, asked);
    let caller = Caller::of(ca, &request).await?;
    let peer = peer(&request)?.clone();
    ca.sync(caller, &peer, request.get_ref()).await
}

fn answer(updates: Updates) -> http::Response<Body> {
    let frames = Frames {
        updates,
        pieces: VecDeque::new(),
        under_way: None,
        ended: false,
    };
    let mut response = http::Response::new(Body::new(StreamBody::new(frames)));
    let kind = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn frames(sent: Vec<Told>) -> Vec<Frame<Bytes>> {
        let (sender, receiver) = mpsc::channel(sent.len());
        for update in sent {
            sender.try_send(update).unwrap();
        }
        drop(sender);
        let frames = Frames {
            updates: Updates::new(receiver, Taken::default()),
            pieces: VecDeque::new(),
            under_way: None,
            ended: false,
        };
        let taken = frames.updates.taken.clone();
        let sent: Vec<_> = frames.map(Result::unwrap).collect().await;
        // All but the trailers.
        assert_eq!(taken.count(), u64::try_from(sent.len() - 1).unwrap());
        sent
    }

    fn update(shared: &Bytes) -> Box<Outgoing> {
        Box::new(Outgoing {
            shared: shared.clone(),
            own: Update {
                self_node: "n1".to_owned(),
                ..Update::default()
            },
            under_way: None,
        })
    }

    #[tokio::test]
    async fn a_long_update_goes_out_in_pieces_that_are_not_copies() {
        let shared = Bytes::from(
            Update {
                mark: vec![7; 3 * PIECE],
                ..Update::default()
            }
            .encode_to_vec(),
        );
        let sent = frames(vec![Ok(update(&shared)), Ok(update(&Bytes::new()))]).await;
        let (trailers, data) = sent.split_last().unwrap();
        assert_eq!(trailers.trailers_ref().unwrap()["grpc-status"], "0");
        let within = shared.as_ptr_range();
        let data: Vec<_> = data.iter().map(|frame| frame.data_ref().unwrap()).collect();
        let same = data
            .iter()
            .filter(|piece| within.contains(&piece.as_ptr()))
            .count();
        assert_eq!(same, 4, "of three pieces and a little more");
        assert!(data.iter().all(|piece| piece.len() <= PIECE));
        let mut wire = data
            .iter()
            .flat_map(|piece| piece.iter().copied())
            .collect::<Vec<_>>();
        for expected in [3 * PIECE, 0] {
            let length = u32::from_be_bytes(wire[1..PREFIX].try_into().unwrap());
            let rest = wire.split_off(PREFIX + usize::try_from(length).unwrap());
            assert_eq!(wire[0], 0);
            let message = Update::decode(&wire[PREFIX..]).unwrap();
            assert_eq!((message.mark.len(), &*message.self_node), (expected, "n1"));
            wire = rest;
        }
        assert!(wire.is_empty());
    }

    #[tokio::test]
    async fn a_stream_ends_with_its_reason_and_an_update_that_is_too_long_with_that() {
        let last = frames(vec![Err(Status::aborted("x"))]).await;
        assert_eq!(last.len(), 1);
        assert_eq!(last[0].trailers_ref().unwrap()["grpc-status"], "10");
        let long = Bytes::from(vec![0; RESPONSE]);
        let last = frames(vec![Ok(update(&long)), Ok(update(&Bytes::new()))]).await;
        assert_eq!(last.len(), 1);
        assert_eq!(last[0].trailers_ref().unwrap()["grpc-status"], "11");
    }
}
