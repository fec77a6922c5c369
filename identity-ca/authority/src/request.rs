//! Certificate signing requests (PKCS#10, RFC 2986): a way to show a public key and that one has the private key.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
    VerificationAlgorithm,
};
use rcgen::{PublicKeyData as _, SubjectPublicKeyInfo as PublicKeyInfo};
use signet_spiffe::{KeyType, SpiffeId, TrustDomain};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::der_parser::asn1_rs::{Any, Tag};
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION,
    OID_PKCS1_SHA256WITHRSA, OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384, OID_SIG_ED25519, Oid,
};
use x509_parser::prelude::{FromDer, ParsedExtension};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::key::SigningKey;

/// Most bytes of a request that are read.
pub const MAX_REQUEST_BYTES: usize = 8 * 1024;

/// Kinds of keys of nodes and of Signet's own parts.
const ELLIPTIC: [KeyType; 2] = [KeyType::P256, KeyType::P384];

/// The public exponent of RSA keys, as everybody makes them; smaller ones have a history.
const EXPONENT: [u8; 3] = [1, 0, 1];

/// Proof that a public key came in a request signed by its own private key. All else in the request, subject and
/// extensions, is left behind: who asks does not choose what a certificate says.
#[derive(Debug, Clone)]
#[must_use = "a checked key is worth a certificate"]
pub struct RequestedKey(pub(crate) PublicKeyInfo);

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
    /// Not of the kind that the registration says.
    #[error("the requested key is not of the kind {wanted}, which the registration says")]
    OtherKeyType {
        /// What the registration says.
        wanted: KeyType,
    },
    /// Not signed as goes with the key: ECDSA with SHA-256 for P-256 and SHA-384 for P-384, PKCS#1 with SHA-256 for RSA.
    #[error("the certificate request is not signed with the hash that goes with its key")]
    SignatureType,
    /// Another CA's request asks for what no CA below this one has.
    #[error("the certificate request asks for {what}, which no CA below another one gets")]
    Wants {
        /// For people.
        what: &'static str,
    },
    /// Signed by another key than the one it asks for.
    #[error("the certificate request is not signed by the key that it is for")]
    Signature,
}

impl RequestedKey {
    /// Takes the public key out of a request after checking its kind, P-256 or P-384, and the request's self-signature.
    pub fn from_request(der: &[u8]) -> Result<Self, RequestError> {
        Self::check(der, &ELLIPTIC, RequestError::KeyType)
    }

    /// The same for another authority's key, of whichever kind authorities have.
    pub fn from_authority_request(der: &[u8]) -> Result<Self, RequestError> {
        Self::check(der, &KeyType::ALL, RequestError::KeyType)
    }

    /// The same for a CA of this trust domain that is to be below: what its request asks for beside the key is left behind as well, but
    /// whoever asks for another name, for none of a CA's rights, or for room below it, is told so.
    pub fn from_downstream_request(der: &[u8], trust_domain: &TrustDomain) -> Result<Self, RequestError> {
        let key = Self::from_authority_request(der)?;
        let Ok(([], request)) = X509CertificationRequest::from_der(der) else {
            return Err(RequestError::Malformed);
        };
        let own = SpiffeId::authority(trust_domain);
        for asked in request.requested_extensions().into_iter().flatten() {
            if let Some(what) = outside(asked, own.as_str()) {
                return Err(RequestError::Wants { what });
            }
        }
        Ok(key)
    }

    /// The same where the key has to be of one kind.
    pub fn of_kind(der: &[u8], wanted: KeyType) -> Result<Self, RequestError> {
        Self::check(der, &[wanted], RequestError::OtherKeyType { wanted })
    }

    /// ASN.1 DER.
    pub(crate) fn spki(&self) -> Vec<u8> {
        self.0.subject_public_key_info()
    }

    /// The public half of a key that is at hand.
    pub(crate) fn of_public_key(key: &SigningKey) -> Option<Self> {
        PublicKeyInfo::from_der(&key.0.subject_public_key_info())
            .ok()
            .map(Self)
    }

    fn check(der: &[u8], wanted: &[KeyType], otherwise: RequestError) -> Result<Self, RequestError> {
        if der.len() > MAX_REQUEST_BYTES {
            return Err(RequestError::TooLong { bytes: der.len() });
        }
        let Ok(([], request)) = X509CertificationRequest::from_der(der) else {
            return Err(RequestError::Malformed);
        };
        let info = &request.certification_request_info;
        let key = &info.subject_pki;
        let Some(kind) = kind_of(key).filter(|kind| wanted.contains(kind)) else {
            return Err(otherwise);
        };
        let (signature, algorithm) = signed_as(kind);
        if request.signature_algorithm.algorithm != signature {
            return Err(RequestError::SignatureType);
        }
        UnparsedPublicKey::new(algorithm, key.subject_public_key.data.as_ref())
            .verify(info.raw, request.signature_value.data.as_ref())
            .map_err(|_| RequestError::Signature)?;
        PublicKeyInfo::from_der(key.raw)
            .map(Self)
            .map_err(|_| RequestError::KeyType)
    }
}

/// What an extension asks for that a CA below another one does not get. There are many kinds, and there will be others: none is a CA's
/// to choose but these.
fn outside(asked: &ParsedExtension<'_>, own: &str) -> Option<&'static str> {
    if let ParsedExtension::BasicConstraints(constraints) = asked {
        if !constraints.ca {
            return Some("no CA's certificate (cA is false)");
        }
        let is_long = constraints.path_len_constraint.is_some_and(|length| length > 0);
        return is_long.then_some("authorities below it (pathlen)");
    }
    if let ParsedExtension::SubjectAlternativeName(names) = asked {
        let is_own = |name: &GeneralName<'_>| matches!(name, GeneralName::URI(uri) if *uri == own);
        let others = names.general_names.iter().any(|name| !is_own(name));
        return others.then_some("other names than the trust domain's own SPIFFE ID");
    }
    if let ParsedExtension::KeyUsage(usage) = asked {
        return (!usage.key_cert_sign()).then_some("a key that signs no certificates (keyUsage)");
    }
    let is_known = matches!(asked, ParsedExtension::SubjectKeyIdentifier(_));
    (!is_known).then_some("extensions that are not its to choose")
}

/// How a request for such a key is signed.
fn signed_as(kind: KeyType) -> (Oid<'static>, &'static dyn VerificationAlgorithm) {
    match kind {
        KeyType::P256 => (OID_SIG_ECDSA_WITH_SHA256, &ECDSA_P256_SHA256_ASN1),
        KeyType::P384 => (OID_SIG_ECDSA_WITH_SHA384, &ECDSA_P384_SHA384_ASN1),
        KeyType::Rsa2048 => (OID_PKCS1_SHA256WITHRSA, &RSA_PKCS1_2048_8192_SHA256),
        KeyType::Ed25519 => (OID_SIG_ED25519, &ED25519),
    }
}

/// What kind of key it is, if it is one that we certify in the one form that it has.
fn kind_of(key: &SubjectPublicKeyInfo<'_>) -> Option<KeyType> {
    let parameters = key.algorithm.parameters.as_ref();
    let bytes = key.subject_public_key.data.as_ref();
    if key.algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
        // An uncompressed point: 0x04 and two coordinates.
        let curve = parameters?.as_oid().ok()?;
        return match (bytes.first(), bytes.len()) {
            (Some(4), 65) if curve == OID_EC_P256 => Some(KeyType::P256),
            (Some(4), 97) if curve == OID_NIST_EC_P384 => Some(KeyType::P384),
            _ => None,
        };
    }
    if key.algorithm.algorithm == OID_SIG_ED25519 {
        return (parameters.is_none() && bytes.len() == 32).then_some(KeyType::Ed25519);
    }
    let null = |any: &Any<'_>| any.tag() == Tag::Null;
    if key.algorithm.algorithm == OID_PKCS1_RSAENCRYPTION && parameters.is_some_and(null) {
        let Ok(PublicKey::RSA(rsa)) = key.parsed() else {
            return None;
        };
        return (modulus_bits(rsa.modulus) == 2048 && significant(rsa.exponent) == EXPONENT)
            .then_some(KeyType::Rsa2048);
    }
    None
}

fn modulus_bits(modulus: &[u8]) -> usize {
    let modulus = significant(modulus);
    let first = modulus
        .first()
        .map_or(0, |byte| 8 - byte.leading_zeros() as usize);
    modulus.len().saturating_sub(1) * 8 + first
}

/// Without the zeros that DER puts before a number.
fn significant(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}
