//! What a node shows to be admitted: chains of certificates, signatures, selectors of entries.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, KeyPair as _, UnparsedPublicKey};
use prost::Message as _;
use signet_fuzz::Refused;
use signet_node_attest::{ChannelBinding, DeviceAuthorities, Method, NodeSelector, Transcript};
use signet_proto::ca::v1::node_evidence::Proof;
use signet_proto::ca::v1::{NodeAnswer, NodeEvidence, X509PopEvidence};
use signet_spiffe::{CertificateDer, NodeName};

use crate::fuzz;
use crate::support::{NOW, at, csr_key, leaf, parts, request, root, sign};

#[derive(Debug)]
struct NotX509Pop;

fn authorities() -> DeviceAuthorities {
    let pem = crate::support::bundle(&root()).to_pem();
    DeviceAuthorities::from_pem(pem.as_bytes()).unwrap()
}

/// The chain that evidence shows.
fn chain(evidence: &NodeEvidence) -> Result<Vec<CertificateDer<'_>>, Refused> {
    let Some(Proof::X509pop(shown)) = &evidence.proof else {
        Err(NotX509Pop)?
    };
    let certificates = shown.chain.iter();
    Ok(certificates.map(|der| der.as_slice().into()).collect())
}

#[test]
fn fuzz_node_evidence() {
    let authorities = authorities();
    let ours = leaf("spiffe://td.test/machine");
    let evidence = NodeEvidence {
        node: "n1".to_owned(),
        csr: request(&csr_key()),
        proof: Some(Proof::X509pop(X509PopEvidence {
            chain: vec![ours.clone(), root()],
        })),
    };
    fuzz("node_evidence")
        .seed(evidence.encode_to_vec())
        .inputs(10_000)
        .run(|bytes| {
            let evidence = NodeEvidence::decode(bytes)?;
            let believed = authorities.verify(&chain(&evidence)?, at(NOW))?;
            // One certificate was signed, and no other is believed.
            assert_eq!(believed.der().as_ref(), ours);
            NodeName::parse(&evidence.node)?;
            Ok::<_, Refused>(())
        });
    // What such an authority would sign that signs anything.
    let (body, _) = parts(&ours);
    fuzz("node_certificate_signed")
        .seed(body)
        .inputs(5_000)
        .run(|body| {
            let certificate = sign(body);
            let believed = authorities.verify(&[certificate.as_slice().into()], at(NOW))?;
            for fact in believed.facts().iter() {
                assert_eq!(fact.to_string().parse().as_ref(), Ok(fact));
            }
            let (rest, read) = x509_parser::parse_x509_certificate(&certificate).unwrap();
            assert!(rest.is_empty() && !read.is_ca());
            Ok::<_, Refused>(())
        });
}

#[test]
fn fuzz_node_answer() {
    let authorities = authorities();
    let leaf = leaf("spiffe://td.test/machine");
    let certificate = CertificateDer::from(leaf.as_slice());
    let believed = authorities
        .verify(std::slice::from_ref(&certificate), at(NOW))
        .unwrap();
    let node = NodeName::parse("n1").unwrap();
    let binding = ChannelBinding::new([3; 32]);
    let transcript = Transcript {
        method: Method::X509Pop,
        node: &node,
        nonce: &[5; 32],
        binding: &binding,
        certificate: &certificate,
        request: b"request",
        secret: &[],
    };
    let key = csr_key();
    let signature = key.sign(&SystemRandom::new(), &transcript.to_sign()).unwrap();
    let answer = NodeAnswer {
        scheme: 0x0403,
        signature: signature.as_ref().to_vec(),
    };
    fuzz("node_answer")
        .seed(answer.encode_to_vec())
        .inputs(10_000)
        .run(|bytes| {
            let shown = NodeAnswer::decode(bytes)?;
            let scheme = u16::try_from(shown.scheme)?;
            let _ = believed.clone().verify(&transcript, scheme, &shown.signature)?;
            assert_eq!(shown.scheme, answer.scheme, "a signature by another scheme");
            let second = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.public_key());
            second.verify(&transcript.to_sign(), &shown.signature).unwrap();
            Ok::<_, Refused>(())
        });
}

#[test]
fn fuzz_node_selectors() {
    fuzz("node_selectors")
        .seed("dns:n1.nodes.example")
        .seed("cn:a machine")
        .seed("uri:spiffe://td.test/machine")
        .seed(format!("sha256:{}", "0f".repeat(32)))
        .inputs(50_000)
        .run(|bytes| {
            let selector: NodeSelector = str::from_utf8(bytes)?.parse()?;
            assert_eq!(selector.to_string().parse(), Ok(selector));
            Ok::<_, Refused>(())
        });
}
