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
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, sleep, timeout};

use crate::page::Page;

/// Connections at a time; more wait in the listener's queue.
const CONNECTIONS: usize = 16;
/// Between two requests of a connection, and for the headers of one.
const PATIENCE: Duration = Duration::from_secs(30);
/// Life of a connection: none holds a place for ever.
const LIFE: Duration = Duration::from_mins(10);
/// For the daemon to say how it is.
const ANSWER: Duration = Duration::from_secs(10);
/// A page answers whoever asks within this time: scrapes in a circle cost what one does.
const FRESH: Duration = Duration::from_secs(1);
/// Bytes of a request's headers.
const HEADERS: usize = 16 << 10;
/// Pause after a failure to accept.
const RETRY: Duration = Duration::from_millis(100);

const PATH: &str = "/metrics";
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Answers `GET /metrics` with the page of that moment, for ever. Whoever can connect may ask; there is nothing else to
/// ask for, and nothing secret in the answer. A page is made at most once a second; one that is None or late is answered with 503.
pub async fn serve<F, Fut>(listener: TcpListener, page: F)
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Option<Page>> + Send + 'static,
{
    let pages = Arc::new(Pages::new(page));
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
        let pages = Arc::clone(&pages);
        tokio::spawn(async move {
            let answer = service_fn(move |request| {
                let pages = Arc::clone(&pages);
                async move { Ok::<_, Infallible>(answer(&request, &pages).await) }
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

/// The last page, and how to make the next. One is made at a time, however many ask.
struct Pages<F> {
    make: F,
    last: Arc<Mutex<Option<(Instant, Bytes)>>>,
}

impl<F, Fut> Pages<F>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Option<Page>> + Send + 'static,
{
    fn new(make: F) -> Self {
        let last = Arc::default();
        Self { make, last }
    }

    /// A page that is at most [`FRESH`] old.
    async fn get(&self) -> Option<Bytes> {
        let mut last = Arc::clone(&self.last).lock_owned().await;
        if let Some((made, page)) = &*last
            && made.elapsed() < FRESH
        {
            return Some(page.clone());
        }
        let making = (self.make)();
        // Goes on though nobody waits any more, and holds the others up: what it began in other threads does, too.
        let made = tokio::spawn(async move {
            let page = Bytes::from(making.await?.to_string());
            *last = Some((Instant::now(), page.clone()));
            Some(page)
        });
        made.await.ok()?
    }
}

async fn answer<B, F, Fut>(request: &Request<B>, pages: &Pages<F>) -> Response<Full<Bytes>>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Option<Page>> + Send + 'static,
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
    let Ok(Some(page)) = timeout(ANSWER, pages.get()).await else {
        return text(
            StatusCode::SERVICE_UNAVAILABLE,
            "the daemon cannot say now how it is\n",
        );
    };
    body(StatusCode::OK, OPEN_METRICS, page)
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
