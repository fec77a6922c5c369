//! One CA of several that work: a channel that leaves a CA which answers and can do nothing.
//!
//! A CA without its database, or without the device with its key, goes on to accept connections and to keep them. That it fails is
//! seen of what it answers alone, so every answer passes through here.

use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tower::Service;

use super::channel::{Dialer, connect};
use crate::clock::{random, scale};

/// Up to a call's first answer, its connection included. Callers wait longer: it is here that a CA is given up.
const ANSWER: Duration = Duration::from_secs(8);

/// Where no CA works, a new connection is made at most so often: behind one address there may be another CA.
const REDIAL: Duration = Duration::from_secs(10);

/// How long a node stays with a CA that is not the one it belongs to: so long, and up to twice as long.
const ASTRAY: Duration = Duration::from_mins(5);

/// A channel to one of the CAs. It connects at the first call and again after a loss, to the first CA that answers, and goes to another
/// one where that one cannot do its work. Clones go together.
#[derive(Clone)]
pub struct CaChannel(Arc<Shared>);

struct Shared {
    /// None: there is no other line.
    dialer: Option<Dialer>,
    line: watch::Sender<Line>,
}

/// A connection at a time, and all calls over it.
#[derive(Clone)]
struct Line {
    number: u64,
    begun: Instant,
    channel: Channel,
    at: At,
}

/// Where a line is connected, or was last.
pub(super) type At = Arc<Mutex<Option<SocketAddr>>>;

impl Line {
    fn new(number: u64, dialer: &Dialer) -> Self {
        let at = At::default();
        Self {
            number,
            begun: Instant::now(),
            channel: connect(dialer, &at),
            at,
        }
    }

    fn at(&self) -> Option<SocketAddr> {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CaChannel {
    pub(super) fn new(dialer: Dialer) -> Self {
        let line = watch::Sender::new(Line::new(0, &dialer));
        let dialer = Some(dialer);
        Self(Arc::new(Shared { dialer, line }))
    }

    /// Which line calls go over. It changes with the CA.
    pub(crate) fn line(&self) -> u64 {
        self.0.line.borrow().number
    }

    /// Returns once calls do not go over this line any more.
    pub(crate) async fn left(&self, line: u64) {
        let mut lines = self.0.line.subscribe();
        // The sender lives as long as this.
        if lines.wait_for(|now| now.number != line).await.is_err() {
            std::future::pending::<Infallible>().await;
        }
    }

    /// Leaves the CA at the end of this line if what it said means that another one may do better.
    pub(crate) fn heard(&self, line: u64, status: &Status) {
        if is_its_own(status.code()) {
            self.fail(line);
        }
    }

    /// The CA at the end of this line does not work. Nothing where it was left already.
    pub(crate) fn fail(&self, line: u64) {
        let Some(dialer) = &self.0.dialer else { return };
        let addresses = &dialer.addresses;
        self.0.line.send_if_modified(|current| {
            // One that has never been connected has tried them all.
            let Some(at) = current.at().filter(|_| current.number == line) else {
                return false;
            };
            let now = Instant::now();
            addresses.failed(at, now.into_std(), random());
            if !addresses.has_good(now.into_std()) && now < current.begun + REDIAL {
                return false;
            }
            tracing::info!(ca.address = %at, "leaves a CA that does not do its work");
            *current = Line::new(current.number + 1, dialer);
            true
        });
    }

    /// Goes back to the CA that the dice chose, a while after it was left. Returns once it did; never where it was not left.
    pub(crate) async fn homesick(&self) {
        let most = u64::try_from(ASTRAY.as_nanos()).unwrap_or(u64::MAX);
        sleep(ASTRAY + Duration::from_nanos(scale(random(), most))).await;
        let gone = self.0.line.send_if_modified(|current| {
            let Some(dialer) = &self.0.dialer else {
                return false;
            };
            let astray = current.at().is_some_and(|at| dialer.addresses.is_astray(at));
            if astray {
                dialer.addresses.go_home();
                *current = Line::new(current.number + 1, dialer);
            }
            astray
        });
        if !gone {
            std::future::pending::<Infallible>().await;
        }
    }

    async fn send(self, request: Request<Body>) -> Result<Response<Body>, tonic::transport::Error> {
        let Line {
            number, mut channel, ..
        } = self.0.line.borrow().clone();
        let answer = timeout(ANSWER, async {
            poll_fn(|context| channel.poll_ready(context)).await?;
            channel.call(request).await
        });
        match answer.await {
            Ok(Ok(response)) => {
                if let Some(status) = Status::from_header_map(response.headers()) {
                    self.heard(number, &status);
                }
                Ok(response)
            }
            Ok(Err(error)) => {
                self.fail(number);
                Err(error)
            }
            Err(_) => {
                self.fail(number);
                Ok(Status::unavailable("the CA does not answer").into_http())
            }
        }
    }
}

/// What a CA says of itself, and not of the one who asks.
fn is_its_own(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable | Code::Internal | Code::ResourceExhausted | Code::DeadlineExceeded | Code::Unknown
    )
}

/// To one CA, and to no other one.
impl From<Channel> for CaChannel {
    fn from(channel: Channel) -> Self {
        let line = watch::Sender::new(Line {
            number: 0,
            begun: Instant::now(),
            channel,
            at: At::default(),
        });
        Self(Arc::new(Shared { dialer: None, line }))
    }
}

impl Service<Request<Body>> for CaChannel {
    type Response = Response<Body>;
    type Error = tonic::transport::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // The line is asked when it is known which one it is.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().send(request))
    }
}

impl fmt::Debug for CaChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.0.line.borrow();
        f.debug_struct("CaChannel")
            .field("line", &line.number)
            .field("at", &line.at())
            .finish_non_exhaustive()
    }
}
