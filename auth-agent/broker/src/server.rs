use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use signet_proto::broker::api_server::ApiServer;
use signet_spiffe::TrustDomain;
use signet_uds::{Access, BindError, serve_incoming};
use signet_workload_api::{Limits, Representation, SvidSource};
use tokio::sync::watch;
use tonic::service::interceptor::InterceptorLayer;
use tonic::transport::Server;
use tonic_health::ServingStatus;

use crate::health::reflection;
use crate::listener::authenticated;
use crate::service::Service;
use crate::{Brokers, Host, gate};

/// Longest request, bytes: a reference, some audiences and an ID.
const MAX_REQUEST: usize = 64 * 1024;
/// Longest response, bytes: what gRPC clients accept by default.
const MAX_RESPONSE: usize = 4 * 1024 * 1024;
/// Longest request headers, bytes.
const MAX_HEADERS: u32 = 8 * 1024;
/// Most calls at once on one connection: brokers act for many.
const MAX_CALLS: u32 = 1024;
/// From one HTTP/2 ping to the next, and for the answer.
const PING: Duration = Duration::from_secs(20);
const PONG: Duration = Duration::from_secs(10);
/// How long brokers get to close their connections when the server stops.
const FAREWELL: Duration = Duration::from_secs(2);

/// What the streams for all workloads may be. A node's workloads can all be of one user.
const STREAMS: usize = 2048;

/// Why the Broker API is not served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The socket cannot be had.
    #[error("cannot serve the Broker API")]
    Bind(#[from] BindError),
    /// The definition that reflection shows is damaged.
    #[error("the Broker API's definition cannot be shown")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The server failed.
    #[error("the Broker API server failed")]
    Transport(#[from] tonic::transport::Error),
}

/// Serves the Broker API on a Unix socket until `stop` is done; then ends all streams with `Unavailable`, waits a moment for
/// brokers to close, and comes back.
///
/// Every process that reaches the socket may connect, and gets no further than the TLS handshake without an SVID of
/// `trust_domain`; put the socket where workloads do not reach it, too (Broker Endpoint §2).
///
/// # Errors
/// See [`ServeError`].
pub async fn serve(
    path: &Path,
    trust_domain: TrustDomain,
    brokers: Brokers,
    host: Arc<dyn Host>,
    source: Arc<dyn SvidSource>,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let (serving, stopping) = watch::channel(());
    let limits = Limits {
        per_user: STREAMS,
        total: STREAMS,
        ..Limits::default()
    };
    let service = Service::new(Representation::new(source, limits, stopping.clone()));
    run(
        path,
        trust_domain,
        brokers,
        host,
        service,
        (serving, stopping),
        stop,
    )
    .await
}

/// [`serve`], with a service of one's own.
pub(crate) async fn run(
    path: &Path,
    trust_domain: TrustDomain,
    brokers: Brokers,
    host: Arc<dyn Host>,
    service: Service,
    (serving, mut stopping): (watch::Sender<()>, watch::Receiver<()>),
    stop: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let incoming = serve_incoming(path, Access::Anyone)?;
    let incoming = authenticated(incoming, host, trust_domain);
    let (reflection, reflection_v1alpha) = reflection()?;
    let (reporter, health) = tonic_health::server::health_reporter();
    let name = signet_proto::broker::api_server::SERVICE_NAME;
    reporter.set_service_status(name, ServingStatus::Serving).await;
    let service = ApiServer::new(service)
        .max_decoding_message_size(MAX_REQUEST)
        .max_encoding_message_size(MAX_RESPONSE);
    let server = Server::builder()
        .http2_max_header_list_size(MAX_HEADERS)
        .max_concurrent_streams(MAX_CALLS)
        .http2_keepalive_interval(Some(PING))
        .http2_keepalive_timeout(Some(PONG))
        .layer(InterceptorLayer::new(move |request| {
            gate::admit(&brokers, request)
        }))
        .add_service(service)
        .add_service(health)
        .add_service(reflection)
        .add_service(reflection_v1alpha)
        .serve_with_incoming_shutdown(incoming, async move {
            // Comes back, with an error, when `serving` is dropped.
            let _closed = stopping.changed().await;
        });
    let mut server = std::pin::pin!(server);
    tokio::select! {
        result = &mut server => return Ok(result?),
        () = stop => {}
    }
    drop(serving);
    match tokio::time::timeout(FAREWELL, server).await {
        Ok(result) => Ok(result?),
        Err(_) => Ok(()),
    }
}
