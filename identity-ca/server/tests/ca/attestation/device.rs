//! Authorities of machines, and their certificates.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use signet_ca::{AttestationConfig, NameRule, Storage, X509Pop};
use signet_node_attest::{ChannelBinding, Method, Transcript};
use signet_proto::ca::v1::node_evidence::Proof;
use signet_proto::ca::v1::{AllowNodeRequest, NodeAnswer, NodeEntry, NodeEvidence, X509PopEvidence};
use signet_spiffe::{CertificateDer, NodeName};
use tonic::Status;

use crate::running::Running;

/// Who gives machines their certificates.
pub(super) struct DeviceAuthority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
}

/// A machine with a certificate of its own, and its key.
pub(super) struct Device {
    pub(super) chain: Vec<Vec<u8>>,
    pub(super) key: KeyPair,
}

/// What a machine's certificate usually is.
pub(super) fn params(dns: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![dns.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "a machine");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

impl DeviceAuthority {
    pub(super) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "machines");
        let certificate = params.self_signed(&key).unwrap();
        Self {
            issuer: Issuer::new(params, key),
            certificate,
        }
    }

    pub(super) fn pem(&self) -> String {
        self.certificate.pem()
    }

    pub(super) fn device(&self, dns: &str) -> Device {
        self.certify(&params(dns))
    }

    pub(super) fn certify(&self, params: &CertificateParams) -> Device {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Device {
            chain: vec![certificate.der().to_vec()],
            key,
        }
    }

    /// Writes the authority's file.
    pub(super) fn write(&self, directory: &Path) -> PathBuf {
        let path = directory.join("machines.pem");
        std::fs::write(&path, self.pem()).unwrap();
        path
    }

    /// A CA that believes it.
    pub(super) async fn ca(&self, name: Option<NameRule>) -> Running {
        let directory = tempfile::tempdir().unwrap();
        let authorities = self.write(directory.path());
        let believe = |config: &mut signet_ca::Config| {
            config.attestation = AttestationConfig {
                x509pop: Some(X509Pop { authorities, name }),
                ..AttestationConfig::default()
            };
        };
        Running::configured(Storage::Memory, directory, believe)
            .await
            .unwrap()
    }
}

impl Device {
    pub(super) fn leaf(&self) -> CertificateDer<'_> {
        CertificateDer::from(self.chain[0].as_slice())
    }

    pub(super) fn evidence(&self, node: &str, csr: &[u8]) -> NodeEvidence {
        NodeEvidence {
            node: node.to_owned(),
            csr: csr.to_vec(),
            proof: Some(Proof::X509pop(X509PopEvidence {
                chain: self.chain.clone(),
            })),
        }
    }

    /// The answer of a node that does what it should.
    pub(super) fn answer(
        &self,
        node: &str,
        csr: &[u8],
        nonce: &[u8],
        binding: &ChannelBinding,
    ) -> NodeAnswer {
        let leaf = self.leaf();
        let transcript = Transcript {
            method: Method::X509Pop,
            node: &NodeName::parse(node).unwrap(),
            nonce: nonce.try_into().unwrap(),
            binding,
            certificate: &leaf,
            request: csr,
            secret: &[],
        };
        NodeAnswer {
            scheme: 0x0403,
            signature: sign(&self.key, &transcript.to_sign()),
        }
    }
}

/// ECDSA with SHA-256.
pub(super) fn sign(key: &KeyPair, message: &[u8]) -> Vec<u8> {
    rcgen::SigningKey::sign(key, message).unwrap()
}

impl Running {
    pub(super) async fn allow(
        &self,
        node: &str,
        pod_cidrs: &[&str],
        ways: &[&str],
    ) -> Result<NodeEntry, Status> {
        let request = AllowNodeRequest {
            node: node.to_owned(),
            pod_cidrs: pod_cidrs.iter().map(ToString::to_string).collect(),
            addresses: vec!["192.0.2.1".to_owned()],
            ways: ways.iter().map(ToString::to_string).collect(),
        };
        Ok(self.operator.clone().allow_node(request).await?.into_inner())
    }
}
