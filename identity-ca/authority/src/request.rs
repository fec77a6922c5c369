//! Certificate signing requests (PKCS#10, RFC 2986): a way to show a public key and that one has the private key.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, UnparsedPublicKey, VerificationAlgorithm,
};
use rcgen::SubjectPublicKeyInfo;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_SIG_ECDSA_WITH_SHA256,
    OID_SIG_ECDSA_WITH_SHA384, Oid,
};
use x509_parser::prelude::FromDer;

/// Most bytes of a request that are read.
pub const MAX_REQUEST_BYTES: usize = 8 * 1024;

/// Proof that a public key came in a request signed by its own private key. All else in the request, subject and
/// extensions, is left behind: who asks does not choose what a certificate says.
#[derive(Debug, Clone)]
#[must_use = "a checked key is worth a certificate"]
pub struct RequestedKey(pub(crate) SubjectPublicKeyInfo);

/// Why a request was refused. All of these blame whoever made it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// More than [`MAX_REQUEST_BYTES`].
    #[error("the certificate request has {bytes} bytes, at most {MAX_REQUEST_BYTES} are read")]
    TooLong {
        /// Its size.
        bytes: usize,
    },
    /// Not one PKCS#10 request in DER.
    #[error("the certificate request is not one PKCS#10 request in DER")]
    Malformed,
    /// Neither a P-256 key nor a P-384 key, each as an uncompressed point.
    #[error("the requested key is neither ECDSA P-256 nor P-384")]
    KeyType,
    /// Not signed with the ECDSA hash that goes with the key: SHA-256 for P-256, SHA-384 for P-384.
    #[error("the certificate request is not signed with the hash that goes with its key")]
    SignatureType,
    /// Signed by another key than the one it asks for.
    #[error("the certificate request is not signed by the key that it is for")]
    Signature,
}

/// A kind of key that we certify.
struct Kind {
    curve: Oid<'static>,
    signature: Oid<'static>,
    /// An uncompressed point: 0x04 and two coordinates.
    point_bytes: usize,
    algorithm: &'static dyn VerificationAlgorithm,
}

fn kinds() -> [Kind; 2] {
    [
        Kind {
            curve: OID_EC_P256,
            signature: OID_SIG_ECDSA_WITH_SHA256,
            point_bytes: 65,
            algorithm: &ECDSA_P256_SHA256_ASN1,
        },
        Kind {
            curve: OID_NIST_EC_P384,
            signature: OID_SIG_ECDSA_WITH_SHA384,
            point_bytes: 97,
            algorithm: &ECDSA_P384_SHA384_ASN1,
        },
    ]
}

impl RequestedKey {
    /// Takes the public key out of a request after checking its kind and the request's self-signature.
    pub fn from_request(der: &[u8]) -> Result<Self, RequestError> {
        if der.len() > MAX_REQUEST_BYTES {
            return Err(RequestError::TooLong { bytes: der.len() });
        }
        let Ok(([], request)) = X509CertificationRequest::from_der(der) else {
            return Err(RequestError::Malformed);
        };
        let info = &request.certification_request_info;
        let key = &info.subject_pki;
        let point = key.subject_public_key.data.as_ref();
        let kind = kind_of(&key.algorithm.algorithm, key.algorithm.parameters.as_ref(), point)?;
        if request.signature_algorithm.algorithm != kind.signature {
            return Err(RequestError::SignatureType);
        }
        UnparsedPublicKey::new(kind.algorithm, point)
            .verify(info.raw, request.signature_value.data.as_ref())
            .map_err(|_| RequestError::Signature)?;
        SubjectPublicKeyInfo::from_der(key.raw)
            .map(Self)
            .map_err(|_| RequestError::KeyType)
    }
}

fn kind_of(
    algorithm: &Oid<'_>,
    parameters: Option<&x509_parser::der_parser::asn1_rs::Any<'_>>,
    point: &[u8],
) -> Result<Kind, RequestError> {
    let curve = parameters.and_then(|parameters| parameters.as_oid().ok());
    if *algorithm != OID_KEY_TYPE_EC_PUBLIC_KEY || point.first() != Some(&4) {
        return Err(RequestError::KeyType);
    }
    let fits = |kind: &Kind| curve.as_ref() == Some(&kind.curve) && point.len() == kind.point_bytes;
    kinds().into_iter().find(fits).ok_or(RequestError::KeyType)
}
