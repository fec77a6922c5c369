use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use rustls::sign::SigningKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use signet_node_attest::{Method, SIGNATURE_SCHEMES, Transcript};
use signet_proto::ca::v1::node_evidence::Proof;
use signet_proto::ca::v1::{NodeAnswer, NodeChallenge, X509PopEvidence};
use zeroize::Zeroizing;

use super::{Answerer, Asked, NodeProver};

/// What everybody may do with a file, in its mode.
const OTHERS: u32 = 0o007;
/// Largest file of certificates, or of a key, bytes.
const FILE: usize = 128 * 1024;

/// By the key of a certificate in files.
#[derive(Debug)]
pub struct X509Pop {
    /// The chain, PEM, leaf first.
    pub certificate: PathBuf,
    /// The leaf's key, PEM.
    pub key: PathBuf,
}

impl NodeProver for X509Pop {
    fn begin(&self) -> anyhow::Result<(Proof, Box<dyn Answerer>)> {
        let chain = read_chain(&self.certificate)?;
        let leaf = chain.first().cloned().context("there is no certificate")?;
        let key = read_key(&self.key)?;
        if let Some(public) = key.public_key() {
            let (_, parsed) =
                x509_parser::parse_x509_certificate(&leaf).context("the certificate is damaged")?;
            ensure!(
                parsed.public_key().raw == public.as_ref(),
                "{} is not the key of the certificate in {}",
                self.key.display(),
                self.certificate.display()
            );
        }
        let evidence = X509PopEvidence {
            chain: chain.iter().map(|certificate| certificate.to_vec()).collect(),
        };
        Ok((Proof::X509pop(evidence), Box::new(Holder { leaf, key })))
    }
}

/// Reads certificates, leaf first.
pub(super) fn read_chain(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let file = path.display();
    let text = read(path)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .with_context(|| format!("{file} is damaged PEM"))?;
    ensure!(!chain.is_empty(), "there is no certificate in {file}");
    Ok(chain)
}

fn read_key(path: &Path) -> anyhow::Result<Arc<dyn SigningKey>> {
    let file = path.display();
    let mode = std::fs::metadata(path)
        .with_context(|| format!("failed to read {file}"))?
        .permissions()
        .mode();
    ensure!(
        mode & OTHERS == 0,
        "everybody can use the key in {file}; take that away (chmod o= {file}), and think of it as stolen"
    );
    let text = read(path)?;
    let key =
        PrivateKeyDer::from_pem_slice(&text).with_context(|| format!("{file} is no private key in PEM"))?;
    signet_tls::provider()
        .key_provider
        .load_private_key(key)
        .with_context(|| format!("the key in {file} cannot be used"))
}

fn read(path: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let file = path.display();
    let limit = u64::try_from(FILE + 1).unwrap_or(u64::MAX);
    let mut text = Zeroizing::new(Vec::with_capacity(FILE + 1));
    File::open(path)
        .and_then(|opened| opened.take(limit).read_to_end(&mut text))
        .with_context(|| format!("failed to read {file}"))?;
    ensure!(text.len() <= FILE, "{file} is too long");
    Ok(text)
}

/// Has the key.
struct Holder {
    leaf: CertificateDer<'static>,
    key: Arc<dyn SigningKey>,
}

impl Answerer for Holder {
    fn answer(self: Box<Self>, challenge: &NodeChallenge, asked: &Asked) -> anyhow::Result<NodeAnswer> {
        let nonce = challenge.nonce.as_slice().try_into();
        let transcript = Transcript {
            method: Method::X509Pop,
            node: &asked.node,
            nonce: &nonce.context("the CA's challenge is not of 32 bytes")?,
            binding: &asked.binding,
            certificate: &self.leaf,
            request: &asked.request,
            secret: &[],
        };
        let signer = self.key.choose_scheme(&SIGNATURE_SCHEMES);
        let signer = signer.context("the key is neither Ed25519, P-256, P-384 nor RSA")?;
        Ok(NodeAnswer {
            scheme: u16::from(signer.scheme()).into(),
            signature: signer.sign(&transcript.to_sign())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::{CertificateParams, KeyPair};
    use signet_node_attest::ChannelBinding;
    use signet_spiffe::NodeName;

    use super::*;

    fn files(directory: &Path, mode: u32) -> X509Pop {
        let key = KeyPair::generate().expect("a key");
        let certificate = CertificateParams::default().self_signed(&key).expect("signs");
        let prover = X509Pop {
            certificate: directory.join("node.pem"),
            key: directory.join("node.key"),
        };
        fs::write(&prover.certificate, certificate.pem()).expect("writes");
        fs::write(&prover.key, key.serialize_pem()).expect("writes");
        fs::set_permissions(&prover.key, fs::Permissions::from_mode(mode)).expect("sets");
        prover
    }

    #[test]
    fn what_is_signed_is_over_the_challenge_and_nothing_is_signed_without_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let prover = files(directory.path(), 0o600);
        let asked = Asked {
            node: NodeName::parse("n1").expect("a name"),
            request: b"request".to_vec(),
            binding: ChannelBinding::new([1; 32]),
        };
        let answer = |nonce: Vec<u8>| {
            let (proof, answerer) = prover.begin().expect("is ready");
            assert!(matches!(proof, Proof::X509pop(evidence) if evidence.chain.len() == 1));
            answerer.answer(
                &NodeChallenge {
                    nonce,
                    ..NodeChallenge::default()
                },
                &asked,
            )
        };
        assert_eq!(answer(vec![1; 32]).expect("answers").scheme, 0x0403);
        for nonce in [vec![], vec![1; 31], vec![1; 33]] {
            answer(nonce).expect_err("no challenge of 32 bytes");
        }
    }

    #[test]
    fn a_key_that_everybody_has_or_that_is_not_the_certificate_s_is_not_used() {
        let directory = tempfile::tempdir().expect("a directory");
        let told = |prover: &X509Pop| match prover.begin() {
            Ok(_) => String::new(),
            Err(error) => format!("{error:#}"),
        };
        assert!(told(&files(directory.path(), 0o644)).contains("everybody"));
        let mut mixed = files(directory.path(), 0o600);
        let other = tempfile::tempdir().expect("a directory");
        mixed.key = files(other.path(), 0o600).key;
        assert!(told(&mixed).contains("is not the key"), "{}", told(&mixed));
        mixed.key = directory.path().join("none");
        assert!(told(&mixed).contains("failed to read"));
    }
}
