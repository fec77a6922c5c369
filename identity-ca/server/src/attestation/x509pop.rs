//! By proof of possession of the key of a certificate.

use std::path::Path;

use anyhow::Context as _;
use signet_node_attest::{DeviceAuthorities, DeviceCertificate, Facts, Method, NodeSelector, Transcript};
use signet_proto::ca::v1::node_evidence::Proof;
use signet_proto::ca::v1::{NodeAnswer, NodeChallenge};
use signet_spiffe::{CertificateDer, NodeName};

use super::attestor::{Attempt, Begun, Claim, Key, NodeAttestor, Question};
use super::config::{NameRule, X509Pop};
use super::refusal::Refusal;

/// Largest file of authorities, bytes.
const LARGEST: u64 = 1024 * 1024;

/// Believes certificates of certain authorities.
#[derive(Debug)]
pub(crate) struct X509PopAttestor {
    authorities: DeviceAuthorities,
    name: Option<NameRule>,
}

impl X509PopAttestor {
    pub(crate) fn new(config: &X509Pop) -> anyhow::Result<Self> {
        Ok(Self {
            authorities: authorities(&config.authorities)?,
            name: config.name,
        })
    }
}

fn authorities(path: &Path) -> anyhow::Result<DeviceAuthorities> {
    let text = read_authorities(path)?;
    DeviceAuthorities::from_pem(&text)
        .with_context(|| format!("{} is no file of authorities", path.display()))
}

/// Reads a file of authorities.
pub(super) fn read_authorities(path: &Path) -> anyhow::Result<Vec<u8>> {
    let file = path.display();
    let length = std::fs::metadata(path)
        .with_context(|| format!("failed to read {file}"))?
        .len();
    anyhow::ensure!(length <= LARGEST, "{file} is too long for a file of certificates");
    std::fs::read(path).with_context(|| format!("failed to read {file}"))
}

impl NodeAttestor for X509PopAttestor {
    fn begin(&self, attempt: &Attempt, proof: &Proof, nonce: [u8; 32]) -> Result<Begun, Refusal> {
        let Proof::X509pop(evidence) = proof else {
            return Err(Refusal::NoEvidence);
        };
        let node = attempt.node()?;
        let chain: Vec<_> = evidence
            .chain
            .iter()
            .map(|der| CertificateDer::from(der.as_slice()))
            .collect();
        let certificate = self.authorities.verify(&chain, attempt.now)?;
        check_name(self.name, node, certificate.facts())?;
        let challenge = NodeChallenge {
            nonce: nonce.to_vec(),
            tpm: None,
        };
        let question = Possession {
            certificate,
            nonce,
            carries_name: self.name.is_some(),
        };
        Ok(Begun::Asked(challenge, Box::new(question)))
    }
}

/// A certificate that carries a name is for the node of that name.
pub(super) fn check_name(rule: Option<NameRule>, node: &NodeName, facts: &Facts) -> Result<(), Refusal> {
    match rule {
        Some(rule) if !rule.names(node, facts) => Err(Refusal::OtherName {
            node: node.clone(),
            rule: rule.describe(),
        }),
        Some(_) | None => Ok(()),
    }
}

/// Whether the node has the certificate's key.
struct Possession {
    certificate: DeviceCertificate,
    nonce: [u8; 32],
    carries_name: bool,
}

impl Question for Possession {
    fn answered(self: Box<Self>, attempt: &Attempt, answer: &NodeAnswer) -> Result<Claim, Refusal> {
        let node = attempt.node()?;
        let der = self.certificate.der().clone();
        let transcript = Transcript {
            method: Method::X509Pop,
            node,
            nonce: &self.nonce,
            binding: attempt.binding()?,
            certificate: &der,
            request: &attempt.request,
            secret: &[],
        };
        let scheme = u16::try_from(answer.scheme).unwrap_or(u16::MAX);
        let proven = self.certificate.verify(&transcript, scheme, &answer.signature)?;
        Ok(Claim::Key(Key {
            node: node.clone(),
            method: Method::X509Pop,
            facts: proven.facts().clone(),
            carries_name: self.carries_name,
            sha256: proven.sha256(),
        }))
    }
}

impl NameRule {
    /// Whether a certificate that says this is for `node`.
    fn names(self, node: &NodeName, facts: &Facts) -> bool {
        let names: Vec<_> = facts.iter().filter_map(|fact| self.name_in(fact)).collect();
        matches!(names.as_slice(), [one] if *one == node.as_str())
    }

    /// The node's name, if a fact is what carries it.
    fn name_in(self, fact: &NodeSelector) -> Option<&str> {
        match (self, fact) {
            (Self::CommonName, NodeSelector::CommonName(name)) => Some(name),
            (Self::Dns, NodeSelector::Dns(name)) => name.split('.').next(),
            (
                Self::CommonName | Self::Dns,
                NodeSelector::Sha256(_)
                | NodeSelector::Dns(_)
                | NodeSelector::Uri(_)
                | NodeSelector::CommonName(_)
                | NodeSelector::IssuerCommonName(_)
                | NodeSelector::Serial(_)
                | NodeSelector::EndorsementKey(_),
            ) => None,
        }
    }

    fn describe(self) -> &'static str {
        match self {
            Self::CommonName => "its one common name is the node's name",
            Self::Dns => "the first label of its one DNS name is the node's name",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_carries_a_name_if_it_carries_just_one() {
        let node = NodeName::parse("n1").unwrap();
        let facts = |texts: &[&str]| -> Facts { texts.iter().map(|text| text.parse().unwrap()).collect() };
        for (rule, texts, carries) in [
            (NameRule::Dns, &["dns:n1.nodes.example"][..], true),
            (NameRule::Dns, &["dns:n1"], true),
            (NameRule::Dns, &["dns:n2.nodes.example"], false),
            (NameRule::Dns, &["dns:n1.example", "dns:n2.example"], false),
            (NameRule::Dns, &["cn:n1"], false),
            (NameRule::CommonName, &["cn:n1", "dns:n2.example"], true),
            (NameRule::CommonName, &["cn:n1.example"], false),
            (NameRule::CommonName, &[], false),
        ] {
            assert_eq!(rule.names(&node, &facts(texts)), carries, "{rule:?} {texts:?}");
        }
    }
}
