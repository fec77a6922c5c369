use std::pin::Pin;
use std::time::{Duration, Instant};

use futures::stream::{BoxStream, unfold};
use futures::{Stream, StreamExt as _};
use signet_workload_api::{Holdings, Pace, Paced, Visit};
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::refusal::{Complaint, Refusal};

/// How often a client may change what it wants, or say anything else that nobody asked it.
const PACE: Pace = Pace {
    burst: 64,
    interval: Duration::from_millis(50),
};
/// How long a caller that gets nothing may take to say what it has to give back.
const FAREWELL: Duration = Duration::from_secs(5);

/// One variant of the protocol: what comes in changes the state, and the state says what is due.
pub(crate) trait Protocol: Send + 'static {
    /// From the client.
    type Request: Send + 'static;
    /// To the client.
    type Response: Send + 'static;

    /// Whether this says no more than that a response was accepted or rejected, for the first time. There is one such request
    /// a response at most, and however many responses there are is not the client's doing.
    fn is_verdict(&self, request: &Self::Request) -> bool;
    /// The client has spoken. `Some`: it rejected a response.
    fn request(&mut self, request: Self::Request) -> Result<Option<Complaint>, Refusal>;
    /// The client holds this now; `None`: nothing, for good.
    fn hold(&mut self, holdings: Option<Holdings>);
    /// Whether the client has said what it wants.
    fn is_asked(&self) -> bool;
    /// What the client does not know yet, if anything. It counts as told.
    fn response(&mut self) -> Option<Self::Response>;
}

type Requests<P> = Pin<Box<dyn Stream<Item = Result<<P as Protocol>::Request, Status>> + Send>>;

struct Conversation<P: Protocol> {
    protocol: P,
    requests: Requests<P>,
    visit: Visit,
    asked: Paced,
    end: End,
}

/// What is left to say.
enum End {
    /// Not the end.
    Open,
    /// This, after what is still due.
    Status(Status),
    /// Nothing.
    Closed,
}

/// Answers a client's requests, and tells it of each change. Like the Workload API's streams it has no task of its own, and
/// keeps no queue: a client that does not read holds back itself, and is then told the latest.
pub(crate) fn converse<P: Protocol>(
    protocol: P,
    requests: impl Stream<Item = Result<P::Request, Status>> + Send + 'static,
    visit: Visit,
) -> BoxStream<'static, Result<P::Response, Status>> {
    let conversation = Conversation {
        protocol,
        requests: Box::pin(requests),
        visit,
        asked: Paced::new(Instant::now()),
        end: End::Open,
    };
    unfold(conversation, |mut conversation| async {
        let next = conversation.next().await?;
        Some((next, conversation))
    })
    .boxed()
}

impl<P: Protocol> Conversation<P> {
    async fn next(&mut self) -> Option<Result<P::Response, Status>> {
        loop {
            if let Some(response) = self.protocol.response() {
                return Some(Ok(response));
            }
            match std::mem::replace(&mut self.end, End::Closed) {
                End::Open => self.end = self.step().await,
                End::Status(status) => return Some(Err(status)),
                End::Closed => return None,
            }
        }
    }

    /// Waits for something, and takes it in.
    async fn step(&mut self) -> End {
        tokio::select! {
            biased;
            holdings = self.visit.holdings.next() => match holdings {
                Some(Ok(holdings)) => self.protocol.hold(Some(holdings)),
                Some(Err(status)) => return self.dismiss(status).await,
                None => return End::Closed,
            },
            request = self.requests.next() => match request {
                Some(Ok(request)) => return self.take(request),
                // The connection is gone, and there is nobody to tell.
                Some(Err(_)) | None => return End::Closed,
            },
        }
        End::Open
    }

    fn take(&mut self, request: P::Request) -> End {
        let is_free = self.protocol.is_verdict(&request);
        if !is_free && !self.asked.take(PACE, Instant::now()) {
            return End::Status(Status::resource_exhausted(
                "this client asks too often; try again",
            ));
        }
        match self.protocol.request(request) {
            Ok(None) => End::Open,
            Ok(Some(Complaint(error))) => {
                tracing::warn!(
                    peer.pid = self.visit.pid,
                    peer.uid = self.visit.uid,
                    error = ?error,
                    "an Envoy rejected its secrets and goes on with earlier ones"
                );
                End::Open
            }
            Err(refusal) => End::Status(refusal.into()),
        }
    }

    /// The caller gets nothing any more. Where that is for good, what it was given is taken back first.
    async fn dismiss(&mut self, status: Status) -> End {
        if status.code() != Code::PermissionDenied {
            return End::Status(status);
        }
        self.protocol.hold(None);
        if !self.protocol.is_asked()
            && let Ok(Some(Ok(request))) = timeout(FAREWELL, self.requests.next()).await
            && let end @ End::Status(_) = self.take(request)
        {
            return end;
        }
        End::Status(status)
    }
}
