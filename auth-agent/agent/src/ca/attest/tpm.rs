use std::path::PathBuf;

use anyhow::Context as _;
use rustls_pki_types::CertificateDer;
use signet_devid::{Directory, Prepared};
use signet_node_attest::{Method, Transcript};
use signet_proto::ca::v1::node_evidence::Proof;
use signet_proto::ca::v1::{NodeAnswer, NodeChallenge, TpmDevidEvidence};

use super::{Answerer, Asked, NodeProver};
use crate::devid::TpmArgs;

/// By a device identity in this node's TPM.
#[derive(Debug)]
pub struct TpmDevid {
    /// Where the TPM is.
    pub tpm: TpmArgs,
    /// What `signet-agent devid create` made, and its certificate.
    pub directory: PathBuf,
}

impl NodeProver for TpmDevid {
    fn begin(&self) -> anyhow::Result<(Proof, Box<dyn Answerer>)> {
        let directory = Directory::new(&self.directory);
        let prepared = Prepared::new(&self.tpm.tpm, &self.tpm.passwords()?, &directory)
            .context("this node cannot attest by its TPM")?;
        let shown = prepared.shown().clone();
        let leaf = shown.chain.first().context("there is no certificate")?.clone();
        let evidence = TpmDevidEvidence {
            chain: shown.chain,
            devid_public: shown.devid,
            attestation_key_public: shown.attestation_key,
            certification: shown.certification,
            certification_signature: shown.signature,
            endorsement_chain: shown.endorsement_chain,
        };
        let holder = Holder {
            leaf: leaf.into(),
            prepared,
        };
        Ok((Proof::TpmDevid(evidence), Box::new(holder)))
    }
}

/// Has the TPM.
struct Holder {
    leaf: CertificateDer<'static>,
    prepared: Prepared,
}

impl Answerer for Holder {
    fn answer(mut self: Box<Self>, challenge: &NodeChallenge, asked: &Asked) -> anyhow::Result<NodeAnswer> {
        let nonce = challenge.nonce.as_slice().try_into();
        let nonce = nonce.context("the CA's challenge is not of 32 bytes")?;
        let credential = challenge
            .tpm
            .as_ref()
            .context("the CA asks the TPM for nothing")?;
        let secret = self
            .prepared
            .open(&credential.blob, &credential.encrypted_secret)?;
        let transcript = Transcript {
            method: Method::TpmDevid,
            node: &asked.node,
            nonce: &nonce,
            binding: &asked.binding,
            certificate: &self.leaf,
            request: &asked.request,
            secret: &secret,
        };
        let (scheme, signature) = self.prepared.sign(&transcript.to_sign())?;
        Ok(NodeAnswer {
            scheme: scheme.into(),
            signature,
        })
    }
}
