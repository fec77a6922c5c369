//! One question to a bundle endpoint: bounded in time, size and redirects.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, HOST, LOCATION, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use signet_federation::{EndpointUrl, RedirectError, redirect};
use signet_spiffe::MAX_JWKS_BYTES;
use signet_tls::peer_error;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use crate::limits::{FETCH, FETCH_HEAD};

/// Why no document came. The other side is to blame, or the way to it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("the endpoint took longer than {} s", FETCH.as_secs())]
    Slow,
    #[error("{url} cannot be reached: {source}")]
    Connect { url: EndpointUrl, source: io::Error },
    #[error("{url} is not who it should be, or does not speak TLS: {reason}")]
    Tls { url: EndpointUrl, reason: String },
    #[error("the endpoint does not speak HTTP: {0}")]
    Http(#[from] hyper::Error),
    #[error("the request could not be written: {0}")]
    Request(#[from] hyper::http::Error),
    #[error(transparent)]
    Redirect(#[from] RedirectError),
    #[error("the endpoint answers with status {0} instead of a bundle")]
    Status(StatusCode),
    #[error("the endpoint sends more than {MAX_JWKS_BYTES} bytes")]
    TooLong,
    #[error("the answer broke off: {0}")]
    Body(String),
}

/// What the endpoint publishes. Every server on the way, behind redirects too, has to satisfy the same `tls`.
pub(crate) async fn fetch(url: &EndpointUrl, tls: Arc<ClientConfig>) -> Result<Bytes, FetchError> {
    timeout(FETCH, follow(url, tls))
        .await
        .unwrap_or(Err(FetchError::Slow))
}

async fn follow(first: &EndpointUrl, tls: Arc<ClientConfig>) -> Result<Bytes, FetchError> {
    let mut url = first.clone();
    let mut followed = 0;
    loop {
        let (_connection, response) = ask(&url, Arc::clone(&tls)).await?;
        let status = response.status();
        let location = response.headers().get(LOCATION);
        // One that is not even text is as good as none.
        let location = location.and_then(|location| location.to_str().ok());
        match redirect(&url, status.as_u16(), location, followed)? {
            Some(next) => url = next,
            None if status == StatusCode::OK => return read(response.into_body()).await,
            None => return Err(FetchError::Status(status)),
        }
        followed += 1;
    }
}

/// The answer's head, and what drives the connection for as long as it is held.
async fn ask(
    url: &EndpointUrl,
    tls: Arc<ClientConfig>,
) -> Result<(AbortOnDropHandle<()>, Response<Incoming>), FetchError> {
    let unreachable = |source| FetchError::Connect {
        url: url.clone(),
        source,
    };
    let tcp = TcpStream::connect((url.host(), url.port()))
        .await
        .map_err(unreachable)?;
    let untrusted = |reason| FetchError::Tls {
        url: url.clone(),
        reason,
    };
    let name = ServerName::try_from(url.host().to_owned()).map_err(|error| untrusted(error.to_string()))?;
    let tls = TlsConnector::from(tls)
        .connect(name, tcp)
        .await
        .map_err(|error| untrusted(reason(&error)))?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(FETCH_HEAD)
        .handshake(TokioIo::new(tls))
        .await?;
    let driving = AbortOnDropHandle::new(tokio::spawn(async move {
        // How it ends is told by the answer.
        drop(connection.await);
    }));
    let request = Request::get(url.path_and_query())
        .header(HOST, url.authority())
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, concat!("signet-ca/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())?;
    Ok((driving, sender.send_request(request).await?))
}

/// Our verifier's own words, where it was our verifier.
fn reason(error: &io::Error) -> String {
    let rustls = error.get_ref().and_then(|inner| inner.downcast_ref());
    match rustls.and_then(peer_error) {
        Some(refused) => refused.to_string(),
        None => error.to_string(),
    }
}

async fn read(body: Incoming) -> Result<Bytes, FetchError> {
    match Limited::new(body, MAX_JWKS_BYTES).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(FetchError::TooLong),
        Err(error) => Err(FetchError::Body(error.to_string())),
    }
}
