use aws_lc_rs::digest::{SHA256, digest};
use rustls_pki_types::CertificateDer;
use signet_spiffe::NodeName;

use crate::{ChannelBinding, Method};

/// What a node signs to be admitted. Both ends put it together from what they know themselves.
#[derive(Debug, Clone, Copy)]
pub struct Transcript<'a> {
    /// By which way.
    pub method: Method,
    /// Who it says it is.
    pub node: &'a NodeName,
    /// The CA's, of this exchange alone.
    pub nonce: &'a [u8; 32],
    /// Of the connection that the exchange goes over.
    pub binding: &'a ChannelBinding,
    /// Whose key signs.
    pub certificate: &'a CertificateDer<'a>,
    /// The request (PKCS#10, DER) for the node's SVID.
    pub request: &'a [u8],
    /// What else was asked of the node and has been answered; empty where nothing was.
    pub secret: &'a [u8],
}

impl Transcript<'_> {
    /// The bytes to sign. They begin with 64 spaces and a context, as what a TLS 1.3 peer signs (RFC 8446 §4.4.3), but with
    /// another context: a signature of the one is never one of the other. Each part has its length in front.
    pub fn to_sign(&self) -> Vec<u8> {
        let mut bytes = vec![0x20; 64];
        bytes.extend(b"signet node attestation v1\0");
        let [certificate, request] =
            [self.certificate.as_ref(), self.request].map(|part| digest(&SHA256, part));
        for part in [
            self.method.as_str().as_bytes(),
            self.node.as_str().as_bytes(),
            self.nonce,
            self.binding.as_bytes(),
            certificate.as_ref(),
            request.as_ref(),
            self.secret,
        ] {
            bytes.extend(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            bytes.extend(part);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_different_is_signed_differently() {
        let (one, two) = (NodeName::parse("n1").unwrap(), NodeName::parse("n2").unwrap());
        let (here, there) = (ChannelBinding::new([1; 32]), ChannelBinding::new([2; 32]));
        let (mine, other) = (CertificateDer::from(vec![1]), CertificateDer::from(vec![2]));
        let transcript = Transcript {
            method: Method::X509Pop,
            node: &one,
            nonce: &[1; 32],
            binding: &here,
            certificate: &mine,
            request: b"request",
            secret: b"",
        };
        let all = [
            transcript,
            Transcript {
                method: Method::TpmDevid,
                ..transcript
            },
            Transcript {
                node: &two,
                ..transcript
            },
            Transcript {
                nonce: &[2; 32],
                ..transcript
            },
            Transcript {
                binding: &there,
                ..transcript
            },
            Transcript {
                certificate: &other,
                ..transcript
            },
            Transcript {
                request: b"another",
                ..transcript
            },
            Transcript {
                secret: b"s",
                ..transcript
            },
        ];
        let signed: std::collections::BTreeSet<_> = all.iter().map(Transcript::to_sign).collect();
        assert_eq!(signed.len(), all.len());
    }
}
