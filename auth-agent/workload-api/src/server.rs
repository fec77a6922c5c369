use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use signet_proto::workload::spiffe_workload_api_server::SpiffeWorkloadApiServer;
use signet_uds::{Access, BindError, PeerStream, serve_incoming};
use tokio::sync::watch;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;

use crate::connection::Connection;
use crate::health::{reflection, report};
use crate::places::{Limits, Patience, Places};
use crate::service::{Service, require_security_header};
use crate::{Entrance, SvidSource};

/// Longest request, bytes. Requests of the X.509 profile are empty, audiences are bounded; a JWT-SVID to validate is a few KiB.
const MAX_REQUEST: usize = 64 * 1024;
/// Longest response, bytes: what gRPC clients accept by default.
const MAX_RESPONSE: usize = 4 * 1024 * 1024;
/// Longest request headers, bytes.
const MAX_HEADERS: u32 = 8 * 1024;
/// Most calls at once on one connection.
const MAX_CALLS: u32 = 32;
/// How long clients get to close their connections when the server stops.
const FAREWELL: Duration = Duration::from_secs(2);

/// Why the Workload API is not served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The socket cannot be had.
    #[error("cannot serve the Workload API")]
    Bind(#[from] BindError),
    /// The definition that reflection shows is damaged.
    #[error("the Workload API's definition cannot be shown")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The server failed.
    #[error("the Workload API server failed")]
    Transport(#[from] tonic::transport::Error),
}

/// Serves the Workload API on a Unix socket that every process may connect to, until `stop` is done; then ends all
/// streams with `Unavailable`, waits a moment for clients to close, and comes back.
///
/// # Errors
/// See [`ServeError`].
pub async fn serve<S: SvidSource>(
    path: &Path,
    source: Arc<S>,
    limits: Limits,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    serve_beside(path, source, limits, |_| Routes::default(), stop).await
}

/// [`serve`], with services of other protocols on the same socket, which let callers in by the [`Entrance`] that they are
/// given. Nothing asks their callers for the Workload API's security header.
///
/// # Errors
/// See [`ServeError`].
pub async fn serve_beside<S: SvidSource>(
    path: &Path,
    source: Arc<S>,
    limits: Limits,
    others: impl FnOnce(Entrance) -> Routes + Send,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    serve_with(path, source, limits, Patience::default(), others, stop).await
}

/// [`serve_beside`], with bounds on silence of one's own.
pub(crate) async fn serve_with<S: SvidSource>(
    path: &Path,
    source: Arc<S>,
    limits: Limits,
    patience: Patience,
    others: impl FnOnce(Entrance) -> Routes + Send,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let incoming = serve_incoming(path, Access::Anyone)?;
    let incoming = bounded(incoming, Places::new(limits), patience.first);
    // Never sent on: it is closed when `serving` is dropped.
    let (serving, stopping) = watch::channel(());
    let (reporter, health) = tonic_health::server::health_reporter();
    let reporting = report(reporter, source.offers());
    let (reflection, reflection_v1alpha) = reflection()?;
    let entrance = Entrance::new(source.clone(), limits, stopping.clone());
    let others = others(entrance.clone());
    let service = SpiffeWorkloadApiServer::new(Service::new(source, entrance))
        .max_decoding_message_size(MAX_REQUEST)
        .max_encoding_message_size(MAX_RESPONSE);
    let server = Server::builder()
        .http2_max_header_list_size(MAX_HEADERS)
        .max_concurrent_streams(MAX_CALLS)
        .http2_keepalive_interval(Some(patience.ping))
        .http2_keepalive_timeout(Some(patience.pong))
        .add_routes(others)
        .add_service(InterceptedService::new(service, require_security_header))
        .add_service(health)
        .add_service(reflection)
        .add_service(reflection_v1alpha)
        .serve_with_incoming_shutdown(incoming, async move {
            let mut stopping = stopping;
            // Comes back, with an error, when `serving` is dropped.
            let _closed = stopping.changed().await;
        });
    let mut server = std::pin::pin!(server);
    tokio::select! {
        result = &mut server => return Ok(result?),
        () = reporting => {}
        () = stop => {}
    }
    drop(serving);
    match tokio::time::timeout(FAREWELL, server).await {
        Ok(result) => Ok(result?),
        Err(_) => Ok(()),
    }
}

/// Closes the connections that are over a bound.
fn bounded(
    incoming: impl Stream<Item = io::Result<PeerStream>> + Send,
    places: Places,
    first: Duration,
) -> impl Stream<Item = io::Result<Connection>> + Send {
    incoming.filter_map(move |stream| {
        let admitted = match stream {
            Ok(stream) => admit(stream, &places, first).map(Ok),
            Err(error) => Some(Err(error)),
        };
        std::future::ready(admitted)
    })
}

fn admit(stream: PeerStream, places: &Places, first: Duration) -> Option<Connection> {
    let Some(place) = places.take(stream.peer()) else {
        tracing::debug!(
            peer.pid = stream.peer().pid,
            peer.uid = stream.peer().uid,
            "closed a connection to the Workload API: too many are open"
        );
        return None;
    };
    Some(Connection::new(stream, place, first))
}
