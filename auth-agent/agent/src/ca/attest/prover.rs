use std::fmt::Debug;

use anyhow::bail;
use signet_node_attest::ChannelBinding;
use signet_proto::ca::v1::node_evidence::Proof;
use signet_proto::ca::v1::{NodeAnswer, NodeChallenge};
use signet_spiffe::NodeName;

/// A way in which this node proves who it is. May block.
pub trait NodeProver: Debug + Send + Sync {
    /// Reads, anew at each attempt, what there is to show, and gets ready to answer for it.
    ///
    /// # Errors
    /// There is nothing to show: the words say what the operator can do.
    fn begin(&self) -> anyhow::Result<(Proof, Box<dyn Answerer>)>;
}

/// Answers the CA's challenge to what was shown. Once.
pub trait Answerer: Send {
    /// May block.
    ///
    /// # Errors
    /// There is no answer to this.
    fn answer(self: Box<Self>, challenge: &NodeChallenge, asked: &Asked) -> anyhow::Result<NodeAnswer>;
}

/// What an answer is for, and over which connection it goes.
#[derive(Debug)]
pub struct Asked {
    /// This node.
    pub node: NodeName,
    /// The request for its SVID, PKCS#10 in DER.
    pub request: Vec<u8>,
    /// Of the connection to the CA.
    pub binding: ChannelBinding,
}

/// No way at all.
#[derive(Debug)]
pub struct NoProof;

impl NodeProver for NoProof {
    fn begin(&self) -> anyhow::Result<(Proof, Box<dyn Answerer>)> {
        bail!(
            "this node has no valid SVID: start it with --join-token-file (`signet ca token NODE`), with \
             --x509pop-cert and --x509pop-key, or with --tpm-devid"
        )
    }
}
