//! What every call passes on its way in and out: who may, and what is written down of it.
//!
//! A call that changes something is written down, on the disk, before it is made, and what came of it before it is
//! answered. One that cannot be written down is not made. The answer of a change that was made goes out even if the
//! second record fails: it has happened, and the first one says that it was about to.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use http_body_util::{BodyExt as _, Full, Limited};
use serde_json::{Map, Value};
use signet_registry::Role;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tower::{Layer, Service};

use super::record::{Event, Outcome, Record, Who};
use super::subject;
use super::writer::Unwritten;
use crate::ca::Ca;
use crate::hex;
use crate::limits::ORDER;
use crate::operators::{Operator, needs};
use crate::random;
use crate::stream::Peer;

/// Bytes before a gRPC message.
const FRAME: usize = 5;

/// Which service is behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gated {
    /// For operators: authorized here.
    Operators,
    /// For nodes: authorized by the calls themselves.
    Nodes,
}

/// Makes [`Gatekeeper`]s.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    ca: Arc<Ca>,
    gated: Gated,
}

impl Gate {
    pub(crate) fn new(ca: Arc<Ca>, gated: Gated) -> Self {
        Self { ca, gated }
    }
}

impl<S> Layer<S> for Gate {
    type Service = Gatekeeper<S>;

    fn layer(&self, inner: S) -> Gatekeeper<S> {
        Gatekeeper {
            gate: self.clone(),
            inner,
        }
    }
}

/// Stands before a service.
#[derive(Debug, Clone)]
pub(crate) struct Gatekeeper<S> {
    gate: Gate,
    inner: S,
}

type Passing = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl<S> Service<Request<Body>> for Gatekeeper<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Passing;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Passing {
        let Gate { ca, gated } = self.gate.clone();
        // The one that is ready, as tower has it.
        let next = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, next);
        match gated {
            Gated::Operators => Box::pin(operator(ca, request, inner)),
            Gated::Nodes => Box::pin(node(ca, request, inner)),
        }
    }
}

/// The last part of the path.
fn method(request: &Request<Body>) -> String {
    let path = request.uri().path();
    path.rsplit('/').next().unwrap_or(path).chars().take(64).collect()
}

async fn operator<S>(ca: Arc<Ca>, request: Request<Body>, mut inner: S) -> Result<Response<Body>, Infallible>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let call = method(&request);
    let needed = needs(&call);
    let (who, judged) = Operator::of(&ca, request.extensions(), needed).await;
    let mut record = Record {
        call: Some(call.clone()),
        who: Some(who),
        ..Record::new(Event::OperatorCall)
    };
    let operator = match judged {
        Ok(operator) => operator,
        Err(status) => {
            ca.note_refusal(record.refused(&status));
            return Ok(status.into_http());
        }
    };
    if !ca.audit.is_on() {
        let mut request = request;
        request.extensions_mut().insert(operator);
        return inner.call(request).await;
    }
    record.id = random::bytes::<8>().ok().map(|bytes| hex::encode(&bytes));
    let (mut parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, ORDER + FRAME).collect().await else {
        let status = Status::out_of_range("the message is too long, or its connection broke");
        ca.note_refusal(record.refused(&status));
        return Ok(status.into_http());
    };
    let body = body.to_bytes();
    record.what = subject::of(&call, &body);
    if needed == Role::Admin {
        let begun = Record {
            outcome: Some(Outcome::Begun),
            ..record.clone()
        };
        if let Err(error) = ca.audit.keep(begun).await {
            ca.audit.count_lost();
            return Ok(unwritten(error).into_http());
        }
    }
    parts.extensions.insert(operator);
    let response = inner
        .call(Request::from_parts(parts, Body::new(Full::new(body))))
        .await?;
    let record = match Status::from_header_map(response.headers()) {
        Some(status) if status.code() != tonic::Code::Ok => record.refused(&status),
        Some(_) | None => {
            if let Some(CameOf(more)) = response.extensions().get() {
                record.what.extend(more.clone());
            }
            record.outcome = Some(Outcome::Done);
            record
        }
    };
    if needed == Role::Admin {
        // Counted as lost where it fails. The call was made, and the record of that it would be is there.
        if ca.audit.keep(record).await.is_err() {
            ca.audit.count_lost();
        }
    } else {
        ca.audit.note(record);
    }
    Ok(response)
}

async fn node<S>(ca: Arc<Ca>, request: Request<Body>, mut inner: S) -> Result<Response<Body>, Infallible>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    if !ca.audit.is_on() {
        return inner.call(request).await;
    }
    let call = method(&request);
    let attests = call == "Attest" || call == "AttestNode";
    // A join token is good for one time: it is not used up for nothing.
    if attests && ca.audit.is_broken() {
        ca.audit.reopen();
        return Ok(unwritten(Unwritten).into_http());
    }
    let record = Record {
        call: Some(call),
        who: request.extensions().get::<Peer>().map(Who::of),
        ..Record::new(Event::NodeCall)
    };
    let told = Told::default();
    let mut request = request;
    request.extensions_mut().insert(told.clone());
    let response = inner.call(request).await?;
    match Status::from_header_map(response.headers()) {
        Some(status) if status.code() != tonic::Code::Ok && !told.is_told() => {
            ca.note_refused_node(record.refused(&status));
        }
        Some(_) | None => {}
    }
    Ok(response)
}

/// Goes with a node's request: whether somebody who knows more of it has written down that it was refused.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told(Arc<AtomicBool>);

impl Told {
    /// What is told need not be told again.
    pub(crate) fn tell(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_told(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What came of a call, for its `done` record: an extension of its answer.
#[derive(Debug, Clone)]
pub(crate) struct CameOf(pub(crate) Map<String, Value>);

impl Who {
    /// By the SVID that the connection was opened with. Whether it still counts is the call's to say.
    pub(crate) fn of(peer: &Peer) -> Self {
        let svid = peer.shown();
        Self {
            address: Some(peer.address.to_string()),
            spiffe_id: svid.as_ref().map(|svid| svid.id().to_string()),
            serial: svid.as_ref().map(|svid| hex::encode(svid.serial())),
            ..Self::default()
        }
    }
}

pub(crate) fn unwritten(error: Unwritten) -> Status {
    Status::unavailable(error.to_string())
}

impl Ca {
    /// Of a node or a stranger, who can make this happen as often as they like.
    pub(crate) fn note_refused_node(&self, mut record: Record) {
        if let Some(untold) = self.refused_calls.admit(Instant::now()) {
            if untold > 0 {
                record.what.insert("untold".to_owned(), untold.into());
            }
            self.audit.note(record);
        }
    }

    /// Of an operator who may not. On a socket and behind mutual TLS these are known people, but they may be many.
    fn note_refusal(&self, mut record: Record) {
        if let Some(untold) = self.refused_operators.admit(Instant::now()) {
            tracing::warn!(
                target: super::AUDIT,
                { call = record.call, reason = record.reason, untold },
                "refused an operator's call"
            );
            if untold > 0 {
                record.what.insert("untold".to_owned(), untold.into());
            }
            self.audit.note(record);
        }
    }
}
