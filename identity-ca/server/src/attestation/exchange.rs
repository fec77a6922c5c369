//! `NodeAttestation`: evidence, challenge, answer, SVID; bounded in time, and one at a time over each connection.

use std::pin::Pin;
use std::sync::Arc;

use signet_proto::ca::v1::node_attestation_server::NodeAttestation;
use signet_proto::ca::v1::{
    AttestNodeRequest, AttestNodeResponse, AttestResponse, attest_node_request, attest_node_response,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::admit::Opened;
use super::attestor::Begun;
use super::refusal::Refusal;
use super::tried::Tried;
use crate::ca::Ca;
use crate::caller::peer;
use crate::limits::ATTESTATION;
use crate::stream::Peer;

/// The service for nodes that are not admitted yet.
#[derive(Debug, Clone)]
pub(crate) struct Exchanges(pub(crate) Arc<Ca>);

/// What the CA says in an exchange.
type Steps = Pin<Box<dyn Stream<Item = Result<AttestNodeResponse, Status>> + Send>>;

#[tonic::async_trait]
impl NodeAttestation for Exchanges {
    type AttestNodeStream = Steps;

    async fn attest_node(
        &self,
        request: Request<Streaming<AttestNodeRequest>>,
    ) -> Result<Response<Steps>, Status> {
        let peer = peer(&request)?.clone();
        let turn = Arc::clone(&peer.attesting)
            .try_acquire_owned()
            .map_err(|_| Refusal::Busy.status())?;
        let (said, steps) = mpsc::channel(2);
        let exchange = Exchange {
            ca: Arc::clone(&self.0),
            peer,
            tried: Tried::default(),
            heard: request.into_inner(),
            said,
            deadline: Instant::now() + ATTESTATION,
        };
        tokio::spawn(async move {
            exchange.run().await;
            drop(turn);
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(steps))))
    }
}

struct Exchange {
    ca: Arc<Ca>,
    peer: Peer,
    tried: Tried,
    heard: Streaming<AttestNodeRequest>,
    said: mpsc::Sender<Result<AttestNodeResponse, Status>>,
    deadline: Instant,
}

impl Exchange {
    async fn run(mut self) {
        let outcome = match self.converse().await {
            Ok(admitted) => Ok(AttestNodeResponse {
                step: Some(attest_node_response::Step::Admitted(admitted)),
            }),
            Err(refusal) => Err(self
                .ca
                .refuse_node(&self.peer, "AttestNode", &self.tried, &refusal)),
        };
        // Nobody listens any more: the node tries again.
        let _ = self.said.send(outcome).await;
    }

    async fn converse(&mut self) -> Result<AttestResponse, Refusal> {
        let first = self.hear(Refusal::NoEvidence).await?;
        let attest_node_request::Step::Evidence(evidence) = first else {
            return Err(Refusal::NoEvidence);
        };
        self.tried = Tried::of(&evidence);
        let Opened { key, attempt, begun } = self.ca.open_exchange(&self.peer, evidence)?;
        let claim = match begun {
            Begun::Proven(claim) => claim,
            Begun::Asked(challenge, question) => {
                let step = Some(attest_node_response::Step::Challenge(challenge));
                let asked = self.said.send(Ok(AttestNodeResponse { step })).await;
                asked.map_err(|_| Status::cancelled("the node has gone"))?;
                let attest_node_request::Step::Answer(answer) = self.hear(Refusal::NoAnswer).await? else {
                    return Err(Refusal::NoAnswer);
                };
                question.answered(&attempt, &answer)?
            }
        };
        self.ca.admit(&self.peer, &key, claim).await
    }

    /// The node's next message, before the deadline.
    async fn hear(&mut self, otherwise: Refusal) -> Result<attest_node_request::Step, Refusal> {
        let message = match timeout_at(self.deadline, self.heard.message()).await {
            Ok(message) => message?,
            Err(_) => return Err(Refusal::Slow),
        };
        message.and_then(|message| message.step).ok_or(otherwise)
    }
}
