//! Serves the pages: bounded in connections, time and what is read.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use signet_telemetry::Throttle;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, info, warn};

use crate::ca::Ca;
use crate::limits::{
    ENDPOINT_CONNECTIONS, ENDPOINT_HEAD, ENDPOINT_HEADERS, ENDPOINT_LIFE, ENDPOINT_PER_ADDRESS, HANDSHAKE,
    TOLD, TOLD_PER,
};
use crate::per_address::PerAddress;

use super::config::{BundleEndpoint, EndpointIdentity, JwtIssuer};
use super::identity::Identity;
use super::lists;
use super::pages::Pages;
use super::published::Published;

/// Pause after a failed `accept` (out of file descriptors), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A bundle endpoint that is bound.
#[derive(Debug)]
pub(crate) struct Endpoint {
    tcp: TcpListener,
    identity: Identity,
    pages: Published,
}

impl Endpoint {
    /// Binds the endpoint. Discovery is for those who know web certificates alone, so it comes with `https_web`.
    pub(crate) async fn bind(
        ca: &Arc<Ca>,
        wanted: &BundleEndpoint,
        issuer: Option<&JwtIssuer>,
    ) -> anyhow::Result<Self> {
        let issuer = match &wanted.identity {
            EndpointIdentity::Spiffe => None,
            EndpointIdentity::Web { .. } => issuer.cloned(),
        };
        let identity = Identity::new(ca, &wanted.identity).await?;
        let tcp = TcpListener::bind(wanted.listen)
            .await
            .with_context(|| format!("failed to listen on {} for the bundle endpoint", wanted.listen))?;
        info!(listen = %tcp.local_addr()?, discovery = issuer.is_some(), "the bundle endpoint is ready");
        Ok(Self {
            tcp,
            identity,
            pages: Published::new(ca, issuer)?,
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.tcp.local_addr()?)
    }

    /// Serves until the CA ends.
    pub(crate) async fn serve(self, ca: Arc<Ca>) -> anyhow::Result<()> {
        tokio::select! {
            () = self.accept(&ca) => {}
            () = ca.shutdown.cancelled() => {}
        }
        Ok(())
    }

    async fn accept(&self, ca: &Arc<Ca>) {
        let connections = Arc::new(Semaphore::new(ENDPOINT_CONNECTIONS));
        let per_address = PerAddress::new(ENDPOINT_PER_ADDRESS);
        let failures = Throttle::new(TOLD, TOLD_PER);
        loop {
            let (tcp, address) = match self.tcp.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    if let Some(untold) = failures.admit(Instant::now()) {
                        warn!(%error, untold, "the bundle endpoint failed to accept a connection");
                    }
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let place = Arc::clone(&connections).try_acquire_owned();
            let (Ok(place), Some(share)) = (place, per_address.take(address.ip())) else {
                debug!(peer.address = %address, "turned a connection to the bundle endpoint away: too many are open");
                continue;
            };
            let (config, pages) = (self.identity.current(), self.pages.current());
            let ca = Arc::clone(ca);
            tokio::spawn(async move {
                let _held = (place, share);
                match timeout(ENDPOINT_LIFE, answer(tcp, config, pages, ca)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => {
                        let error = format!("{error:#}");
                        debug!(peer.address = %address, error, "a connection to the bundle endpoint broke off");
                    }
                    Err(_) => {
                        debug!(peer.address = %address, "cut off a connection to the bundle endpoint: it lasts too long");
                    }
                }
            });
        }
    }
}

async fn answer(
    tcp: TcpStream,
    config: Arc<ServerConfig>,
    pages: Arc<Pages>,
    ca: Arc<Ca>,
) -> anyhow::Result<()> {
    tcp.set_nodelay(true)?;
    let tls = timeout(HANDSHAKE, TlsAcceptor::from(config).accept(tcp))
        .await
        .context("the TLS handshake took too long")?
        .context("the TLS handshake failed")?;
    let service = service_fn(move |request: Request<Incoming>| {
        let (pages, ca) = (Arc::clone(&pages), Arc::clone(&ca));
        async move {
            let (method, path) = (request.method(), request.uri().path());
            Ok::<_, Infallible>(if Pages::reads(method) && lists::are_at(path) {
                lists::answer(&ca, path).await
            } else {
                pages.answer(method, path)
            })
        }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HANDSHAKE)
        .max_headers(ENDPOINT_HEADERS)
        .max_buf_size(ENDPOINT_HEAD)
        .serve_connection(TokioIo::new(tls), service)
        .await?;
    Ok(())
}
