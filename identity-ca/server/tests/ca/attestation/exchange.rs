//! An exchange from the node's side, step by step, so that a test can do each of them wrong.

use std::sync::{Arc, Mutex};

use hyper_util::rt::TokioIo;
use signet_node_attest::{ChannelBinding, EXPORTER};
use signet_proto::ca::v1::node_attestation_client::NodeAttestationClient;
use signet_proto::ca::v1::{
    AttestNodeRequest, AttestNodeResponse, AttestResponse, NodeAnswer, NodeChallenge, NodeEvidence,
    attest_node_request::Step, attest_node_response,
};
use signet_spiffe::SpiffeId;
use signet_tls::{Expect, FixedBundles, client_config};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

use super::device::Device;
use crate::running::{Running, domain, request};

/// A connection without a certificate.
pub(super) struct Connection {
    pub(super) client: NodeAttestationClient<Channel>,
    pub(super) binding: ChannelBinding,
}

/// An exchange that has begun.
pub(super) struct Exchange {
    say: mpsc::Sender<AttestNodeRequest>,
    heard: Streaming<AttestNodeResponse>,
}

impl Running {
    pub(super) async fn connect(&self) -> Connection {
        let bundles = Arc::new(FixedBundles::new(self.bundles()));
        let mut config = client_config(None, bundles, Expect::Exactly(SpiffeId::ca(&domain()))).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let connector = TlsConnector::from(Arc::new(config));
        let address = self.server.address();
        let exported = Arc::new(Mutex::new([0; 32]));
        let keep = Arc::clone(&exported);
        let connect = tower::service_fn(move |_| {
            let (connector, keep) = (connector.clone(), Arc::clone(&keep));
            async move {
                let tcp = TcpStream::connect(address).await?;
                let tls = connector.connect("ca.invalid".try_into().unwrap(), tcp).await?;
                let binding = tls.get_ref().1.export_keying_material([0; 32], EXPORTER, None);
                *keep.lock().unwrap() = binding.unwrap();
                Ok::<_, std::io::Error>(TokioIo::new(tls))
            }
        });
        let endpoint = Endpoint::from_static("http://ca.invalid");
        let channel = endpoint.connect_with_connector(connect).await.unwrap();
        let binding = ChannelBinding::new(*exported.lock().unwrap());
        Connection {
            client: NodeAttestationClient::new(channel),
            binding,
        }
    }

    /// All of it, as it should be.
    pub(super) async fn attest_by(&self, device: &Device, node: &str) -> Result<Attested, Status> {
        let connection = self.connect().await;
        let (key, csr) = request();
        let mut exchange = connection.begin().await?;
        exchange.show(device.evidence(node, &csr)).await;
        let nonce = exchange.challenge().await?;
        let answer = device.answer(node, &csr, &nonce, &connection.binding);
        let answer = exchange.answer(answer).await?;
        Ok(Attested { key, answer })
    }
}

/// A node that was admitted.
pub(super) struct Attested {
    pub(super) key: rcgen::KeyPair,
    pub(super) answer: AttestResponse,
}

impl Connection {
    pub(super) async fn begin(&self) -> Result<Exchange, Status> {
        let (say, steps) = mpsc::channel(4);
        let heard = self
            .client
            .clone()
            .attest_node(ReceiverStream::new(steps))
            .await?;
        Ok(Exchange {
            say,
            heard: heard.into_inner(),
        })
    }
}

impl Exchange {
    pub(super) async fn say(&self, step: Option<Step>) {
        // Nobody listens where the exchange has ended: what comes back says why.
        let _ = self.say.send(AttestNodeRequest { step }).await;
    }

    pub(super) async fn show(&self, evidence: NodeEvidence) {
        self.say(Some(Step::Evidence(evidence))).await;
    }

    pub(super) async fn challenge(&mut self) -> Result<Vec<u8>, Status> {
        Ok(self.asked().await?.nonce)
    }

    pub(super) async fn asked(&mut self) -> Result<NodeChallenge, Status> {
        match self.next().await? {
            attest_node_response::Step::Challenge(challenge) => Ok(challenge),
            attest_node_response::Step::Admitted(_) => panic!("admitted without a question"),
        }
    }

    pub(super) async fn answer(&mut self, answer: NodeAnswer) -> Result<AttestResponse, Status> {
        self.say(Some(Step::Answer(answer))).await;
        self.admitted().await
    }

    pub(super) async fn admitted(&mut self) -> Result<AttestResponse, Status> {
        match self.next().await? {
            attest_node_response::Step::Admitted(admitted) => Ok(admitted),
            attest_node_response::Step::Challenge(_) => panic!("asked again"),
        }
    }

    /// The CA's next word.
    pub(super) async fn next(&mut self) -> Result<attest_node_response::Step, Status> {
        let message = self.heard.message().await?;
        Ok(message.and_then(|message| message.step).unwrap())
    }

    /// The node has nothing more to say.
    pub(super) fn hang_up(&mut self) {
        self.say = mpsc::channel(1).0;
    }
}
