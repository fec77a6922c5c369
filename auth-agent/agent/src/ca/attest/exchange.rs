use std::sync::Arc;

use anyhow::{Context as _, bail};
use signet_proto::ca::v1::node_attestation_client::NodeAttestationClient;
use signet_proto::ca::v1::node_evidence::Proof;
use signet_proto::ca::v1::{
    AttestNodeRequest, AttestNodeResponse, AttestResponse, NodeEvidence, attest_node_request,
    attest_node_response,
};
use signet_spiffe::{NodeName, TrustDomain};
use signet_tls::BundleSource;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{Answerer, Asked, NodeProver};
use crate::ca::addresses::CaAddresses;
use crate::ca::channel::{anonymous, refusal};

/// One attempt to be admitted. Whoever runs it bounds its time.
pub(crate) struct Exchange<'a> {
    pub(crate) node: &'a NodeName,
    pub(crate) ca: &'a CaAddresses,
    pub(crate) bundles: &'a Arc<dyn BundleSource>,
    pub(crate) trust_domain: &'a TrustDomain,
    /// The request for the node's SVID.
    pub(crate) request: &'a [u8],
}

/// What a node shows, and what answers for it.
pub(crate) type Evidence = (Proof, Box<dyn Answerer>);

/// What answers, until it is asked. A TPM is given back where that may take its time, also if nobody ever asks.
struct Held(Option<Box<dyn Answerer>>);

impl Drop for Held {
    fn drop(&mut self) {
        // Where the process ends there is no runtime any more, and nobody who would have to wait.
        if let Some(answerer) = self.0.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn_blocking(move || drop(answerer));
        }
    }
}

/// Gets the evidence ready: out of files, or of a TPM.
pub(crate) async fn prepare(prover: &Arc<dyn NodeProver>) -> anyhow::Result<Evidence> {
    let prover = Arc::clone(prover);
    spawn_blocking(move || prover.begin()).await?
}

impl Exchange<'_> {
    /// Shows the evidence, answers what is asked, and comes back with what the CA gave.
    pub(crate) async fn run(&self, (proof, answerer): Evidence) -> anyhow::Result<AttestResponse> {
        let mut answerer = Held(Some(answerer));
        let unreachable = || format!("failed to reach the CA at {}", self.ca);
        let (channel, binding) = anonymous(self.ca, Arc::clone(self.bundles), self.trust_domain)
            .await
            .with_context(unreachable)?;
        let (steps, said) = mpsc::channel(2);
        let say = async |step| {
            let request = AttestNodeRequest { step: Some(step) };
            let sent = steps.send(request).await;
            sent.context("the connection to the CA has gone")
        };
        say(attest_node_request::Step::Evidence(NodeEvidence {
            node: self.node.to_string(),
            csr: self.request.to_vec(),
            proof: Some(proof),
        }))
        .await?;
        let mut client = NodeAttestationClient::new(channel);
        let refused = || format!("the CA at {} did not accept this node", self.ca);
        let heard = client.attest_node(ReceiverStream::new(said)).await;
        let mut heard = heard
            .map_err(|status| refusal(&status))
            .with_context(refused)?
            .into_inner();
        let challenge = match next(&mut heard).await.with_context(refused)? {
            attest_node_response::Step::Admitted(admitted) => return Ok(admitted),
            attest_node_response::Step::Challenge(challenge) => challenge,
        };
        let asked = Asked {
            node: self.node.clone(),
            request: self.request.to_vec(),
            binding,
        };
        let answerer = answerer.0.take().context("it answers once")?;
        let answer = spawn_blocking(move || answerer.answer(&challenge, &asked)).await??;
        say(attest_node_request::Step::Answer(answer)).await?;
        match next(&mut heard).await.with_context(refused)? {
            attest_node_response::Step::Admitted(admitted) => Ok(admitted),
            attest_node_response::Step::Challenge(_) => bail!("the CA asks again, which it never does"),
        }
    }
}

async fn next(heard: &mut Streaming<AttestNodeResponse>) -> anyhow::Result<attest_node_response::Step> {
    let message = heard.message().await.map_err(|status| refusal(&status))?;
    message
        .and_then(|message| message.step)
        .context("it ended the exchange without a word")
}
