//! HTTP/1.1, for one page.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::page::Page;

/// Connections at a time; more wait in the listener's queue.
const CONNECTIONS: usize = 16;
/// Between two requests of a connection, and for the headers of one.
const PATIENCE: Duration = Duration::from_secs(30);
/// Life of a connection: none holds a place for ever.
const LIFE: Duration = Duration::from_mins(10);
/// For the daemon to say how it is.
const ANSWER: Duration = Duration::from_secs(10);
/// Bytes of a request's headers.
const HEADERS: usize = 16 << 10;
/// Pause after a failure to accept.
const RETRY: Duration = Duration::from_millis(100);

const PATH: &str = "/metrics";
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Answers `GET /metrics` with the page of that moment, for ever. Whoever can connect may ask; there is nothing else to
/// ask for, and nothing secret in the answer. A page that is None or late is answered with 503.
pub async fn serve<F, Fut>(listener: TcpListener, page: F)
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Option<Page>> + Send + 'static,
{
    let page = Arc::new(page);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // Never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "failed to accept a scrape"
                );
                sleep(RETRY).await;
                continue;
            }
        };
        let page = Arc::clone(&page);
        tokio::spawn(async move {
            let answer = service_fn(move |request| {
                let page = Arc::clone(&page);
                async move { Ok::<_, Infallible>(answer(&request, page.as_ref()).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .max_buf_size(HEADERS)
                .serve_connection(TokioIo::new(stream), answer);
            if let Ok(Err(error)) = timeout(LIFE, connection).await {
                tracing::debug!(error = &error as &dyn std::error::Error, "a scrape broke off");
            }
            drop(place);
        });
    }
}

async fn answer<B, F, Fut>(request: &Request<B>, page: &F) -> Response<Full<Bytes>>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Option<Page>>,
{
    if request.uri().path() != PATH {
        return text(StatusCode::NOT_FOUND, "metrics are at /metrics\n");
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered\n");
        refused
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    let Ok(Some(page)) = timeout(ANSWER, page()).await else {
        return text(
            StatusCode::SERVICE_UNAVAILABLE,
            "the daemon cannot say now how it is\n",
        );
    };
    body(StatusCode::OK, OPEN_METRICS, page.to_string())
}

fn text(status: StatusCode, message: &'static str) -> Response<Full<Bytes>> {
    body(status, TEXT, message)
}

fn body(status: StatusCode, kind: HeaderValue, content: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(content.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
