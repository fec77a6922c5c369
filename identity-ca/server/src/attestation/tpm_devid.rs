//! By a device identity whose key is in a TPM of a maker that is believed.

use std::path::Path;

use anyhow::Context as _;
use signet_node_attest::{
    AuthoritiesError, DeviceAuthorities, EndorsementAuthorities, Method, Residency, ResidentCertificate,
    Transcript,
};
use signet_proto::ca::v1::node_evidence::Proof;
use signet_proto::ca::v1::{NodeAnswer, NodeChallenge, TpmCredential, TpmDevidEvidence};
use signet_spiffe::CertificateDer;
use zeroize::Zeroizing;

use super::attestor::{Attempt, Begun, Claim, Key, NodeAttestor, Question};
use super::config::{NameRule, TpmDevid};
use super::refusal::Refusal;
use super::x509pop::{check_name, read_authorities};
use crate::random;

/// Believes device identities of certain authorities, in TPMs of certain makers.
#[derive(Debug)]
pub(crate) struct TpmDevidAttestor {
    authorities: DeviceAuthorities,
    endorsements: EndorsementAuthorities,
    name: Option<NameRule>,
}

impl TpmDevidAttestor {
    pub(crate) fn new(config: &TpmDevid) -> anyhow::Result<Self> {
        Ok(Self {
            authorities: load(&config.authorities, DeviceAuthorities::from_pem)?,
            endorsements: load(&config.endorsements, EndorsementAuthorities::from_pem)?,
            name: config.name,
        })
    }
}

fn load<A>(path: &Path, parse: fn(&[u8]) -> Result<A, AuthoritiesError>) -> anyhow::Result<A> {
    let text = read_authorities(path)?;
    parse(&text).with_context(|| format!("{} is no file of authorities", path.display()))
}

impl NodeAttestor for TpmDevidAttestor {
    fn begin(&self, attempt: &Attempt, proof: &Proof, nonce: [u8; 32]) -> Result<Begun, Refusal> {
        let Proof::TpmDevid(evidence) = proof else {
            return Err(Refusal::NoEvidence);
        };
        let resident = self.judge(attempt, evidence)?;
        let secret = Zeroizing::new(random::bytes()?);
        let randomness = Zeroizing::new(random::bytes()?);
        let credential = resident.seal(&secret, &randomness)?;
        let challenge = NodeChallenge {
            nonce: nonce.to_vec(),
            tpm: Some(TpmCredential {
                blob: credential.blob,
                encrypted_secret: credential.encrypted_secret,
            }),
        };
        let question = Presence {
            resident,
            nonce,
            secret,
            carries_name: self.name.is_some(),
        };
        Ok(Begun::Asked(challenge, Box::new(question)))
    }
}

impl TpmDevidAttestor {
    /// All that can be said before the TPM has answered.
    fn judge(&self, attempt: &Attempt, evidence: &TpmDevidEvidence) -> Result<ResidentCertificate, Refusal> {
        let node = attempt.node()?;
        let chain = ders(&evidence.chain);
        let certificate = self.authorities.verify(&chain, attempt.now)?;
        check_name(self.name, node, certificate.facts())?;
        let endorsement = ders(&evidence.endorsement_chain);
        let endorsement = self.endorsements.verify(&endorsement, attempt.now)?;
        let said = Residency {
            devid: &evidence.devid_public,
            attestation_key: &evidence.attestation_key_public,
            certification: &evidence.certification,
            signature: &evidence.certification_signature,
        };
        Ok(certificate.in_tpm(&said, endorsement)?)
    }
}

fn ders(chain: &[Vec<u8>]) -> Vec<CertificateDer<'_>> {
    chain
        .iter()
        .map(|der| CertificateDer::from(der.as_slice()))
        .collect()
}

/// Whether the node has that TPM, and can use the key.
struct Presence {
    resident: ResidentCertificate,
    nonce: [u8; 32],
    secret: Zeroizing<[u8; 32]>,
    carries_name: bool,
}

impl Question for Presence {
    fn answered(self: Box<Self>, attempt: &Attempt, answer: &NodeAnswer) -> Result<Claim, Refusal> {
        let node = attempt.node()?;
        let der = self.resident.certificate().der().clone();
        let transcript = Transcript {
            method: Method::TpmDevid,
            node,
            nonce: &self.nonce,
            binding: attempt.binding()?,
            certificate: &der,
            request: &attempt.request,
            secret: &*self.secret,
        };
        let scheme = u16::try_from(answer.scheme).unwrap_or(u16::MAX);
        let proven = self.resident.verify(&transcript, scheme, &answer.signature)?;
        Ok(Claim::Key(Key {
            node: node.clone(),
            method: Method::TpmDevid,
            facts: proven.facts().clone(),
            carries_name: self.carries_name,
            sha256: proven.sha256(),
        }))
    }
}
