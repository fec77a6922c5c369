//! Certificates of nodes: which are believed, and that somebody has the key of one.

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::{Facts, NodeSelector, Transcript};

/// Most certificates in a chain that a node shows.
pub const MAX_CHAIN_LENGTH: usize = 8;

/// Most bytes of one of them.
pub const MAX_CERTIFICATE_BYTES: usize = 8 * 1024;

/// Signatures that an answer may have (RFC 8446 §4.2.3), best first.
pub const SIGNATURE_SCHEMES: [SignatureScheme; 5] = [
    SignatureScheme::ED25519,
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::RSA_PSS_SHA256,
    // What a TPM that knows no PSS has.
    SignatureScheme::RSA_PKCS1_SHA256,
];

/// Why a file does not say which authorities are meant.
#[derive(Debug, thiserror::Error)]
pub enum AuthoritiesError {
    /// A broken block.
    #[error("it is damaged PEM")]
    Pem(#[source] pem::Error),
    /// Nothing in it.
    #[error("there is no certificate in it")]
    Empty,
    /// Something that signs nothing.
    #[error("certificate {number} in it is no authority's: {why}")]
    NoAuthority {
        /// From 1.
        number: usize,
        /// What is missing.
        why: &'static str,
    },
}

/// Why a certificate is not believed. Whoever shows it is to blame, or the operator's choice of authorities.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// None was shown.
    #[error("there is no certificate")]
    None,
    /// More than [`MAX_CHAIN_LENGTH`].
    #[error("the chain has {length} certificates, at most {MAX_CHAIN_LENGTH} are read")]
    TooMany {
        /// How many.
        length: usize,
    },
    /// More than [`MAX_CERTIFICATE_BYTES`].
    #[error("certificate {number} has {bytes} bytes, at most {MAX_CERTIFICATE_BYTES} are read")]
    TooLong {
        /// From 1.
        number: usize,
        /// Its size.
        bytes: usize,
    },
    /// Not one certificate in DER.
    #[error("the certificate is malformed")]
    Malformed,
    /// An authority's own.
    #[error("the certificate is an authority's, and no node's")]
    Authority,
    /// Key usage without `digitalSignature`, or none at all.
    #[error("the certificate's key usage does not allow signatures (digitalSignature)")]
    KeyUsage,
    /// Not yet, or no more.
    #[error("the certificate is not valid now: from {not_before} to {not_after} (Unix seconds)")]
    Time {
        /// Unix seconds.
        not_before: i64,
        /// Unix seconds.
        not_after: i64,
    },
    /// No path to an authority that was given, or one that is not valid now, or extended key usage without clientAuth.
    #[error("the certificate does not lead to an authority that is given for this: {0}")]
    Path(webpki::Error),
}

/// Why an answer does not prove that somebody has the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not one of [`SIGNATURE_SCHEMES`].
    #[error("signatures of the kind {0:#06x} are not accepted")]
    Scheme(u16),
    /// Another key's, or over something else.
    #[error(
        "the signature is not of the certificate's key over this challenge on this connection: \
         another key, an answer to another challenge, or somebody in between"
    )]
    Signature,
}

/// Authorities whose certificates nodes may show.
#[derive(Debug)]
pub struct DeviceAuthorities(Vec<TrustAnchor<'static>>);

impl DeviceAuthorities {
    /// Authorities as a file has them: one or more certificates in PEM. Roots, or intermediates, which are then believed
    /// by themselves.
    pub fn from_pem(text: &[u8]) -> Result<Self, AuthoritiesError> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(text)
            .collect::<Result<_, _>>()
            .map_err(AuthoritiesError::Pem)?;
        let anchor = |(place, der): (usize, &CertificateDer<'static>)| {
            let refused = |why| AuthoritiesError::NoAuthority {
                number: place + 1,
                why,
            };
            let (_, parsed) = X509Certificate::from_der(der).map_err(|_| refused("it is malformed"))?;
            if !parsed.is_ca() {
                return Err(refused("its basic constraints do not say so"));
            }
            anchor_from_trusted_cert(der)
                .map(|anchor| anchor.to_owned())
                .map_err(|_| refused("it cannot be an anchor"))
        };
        let anchors: Vec<_> = certificates
            .iter()
            .enumerate()
            .map(anchor)
            .collect::<Result<_, _>>()?;
        if anchors.is_empty() {
            return Err(AuthoritiesError::Empty);
        }
        Ok(Self(anchors))
    }

    /// Checks what a node shows, leaf first: bounds, the leaf's own rules, the path.
    ///
    /// The leaf has a key usage with digitalSignature, is nobody's authority, and, if it says what else it is for, is for
    /// TLS clients. Revocation lists are not looked at.
    pub fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<DeviceCertificate, DeviceError> {
        check_bounds(chain)?;
        let (leaf, intermediates) = chain.split_first().ok_or(DeviceError::None)?;
        let facts = check_leaf(leaf, now)?;
        self.check_path(leaf, intermediates, KeyUsage::client_auth(), now)?;
        Ok(DeviceCertificate {
            der: leaf.clone().into_owned(),
            facts,
        })
    }

    /// The path alone.
    pub(crate) fn check_path(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        usage: KeyUsage,
        now: UnixTime,
    ) -> Result<(), DeviceError> {
        let end_entity = EndEntityCert::try_from(leaf).map_err(DeviceError::Path)?;
        let algorithms = default_provider().signature_verification_algorithms.all;
        end_entity
            .verify_for_usage(algorithms, &self.0, intermediates, now, usage, None, None)
            .map(drop)
            .map_err(DeviceError::Path)
    }
}

/// Nothing is parsed before this.
pub(crate) fn check_bounds(chain: &[CertificateDer<'_>]) -> Result<(), DeviceError> {
    if chain.len() > MAX_CHAIN_LENGTH {
        return Err(DeviceError::TooMany { length: chain.len() });
    }
    for (place, certificate) in chain.iter().enumerate() {
        if certificate.len() > MAX_CERTIFICATE_BYTES {
            return Err(DeviceError::TooLong {
                number: place + 1,
                bytes: certificate.len(),
            });
        }
    }
    Ok(())
}

/// The rules of the leaf, and what it says.
fn check_leaf(leaf: &CertificateDer<'_>, now: UnixTime) -> Result<Facts, DeviceError> {
    let Ok(([], parsed)) = X509Certificate::from_der(leaf) else {
        return Err(DeviceError::Malformed);
    };
    if parsed.is_ca() {
        return Err(DeviceError::Authority);
    }
    let usage = parsed.key_usage().map_err(|_| DeviceError::Malformed)?;
    if !usage.is_some_and(|usage| usage.value.digital_signature()) {
        return Err(DeviceError::KeyUsage);
    }
    let [not_before, not_after] =
        [parsed.validity.not_before, parsed.validity.not_after].map(|moment| moment.timestamp());
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if !(not_before..=not_after).contains(&seconds) {
        return Err(DeviceError::Time {
            not_before,
            not_after,
        });
    }
    said(leaf, &parsed)
}

/// What a certificate says. A name that is no selector cannot be asked for, and so is passed over.
fn said(der: &CertificateDer<'_>, parsed: &X509Certificate<'_>) -> Result<Facts, DeviceError> {
    let mut texts = vec![format!(
        "sha256:{}",
        HEXLOWER.encode(digest(&SHA256, der).as_ref())
    )];
    let mut common_names = parsed.subject().iter_common_name();
    // Of several common names none is the one.
    if let (Some(name), None) = (common_names.next(), common_names.next())
        && let Ok(name) = name.as_str()
    {
        texts.push(format!("cn:{name}"));
    }
    let mut issuers = parsed.issuer().iter_common_name();
    if let (Some(name), None) = (issuers.next(), issuers.next())
        && let Ok(name) = name.as_str()
    {
        texts.push(format!("issuer-cn:{name}"));
    }
    let serial = parsed.raw_serial();
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    texts.push(format!("serial:{}", HEXLOWER.encode(&serial[zeros..])));
    let names = parsed
        .subject_alternative_name()
        .map_err(|_| DeviceError::Malformed)?;
    for name in names.iter().flat_map(|names| &names.value.general_names) {
        if let GeneralName::DNSName(name) = name {
            texts.push(format!("dns:{}", name.to_ascii_lowercase()));
        } else if let GeneralName::URI(uri) = name {
            texts.push(format!("uri:{uri}"));
        }
    }
    Ok(texts
        .iter()
        .filter_map(|text| text.parse::<NodeSelector>().ok())
        .collect())
}

/// A certificate that is believed. That somebody has its key is not known yet.
#[derive(Debug, Clone)]
#[must_use = "whoever shows a certificate has yet to prove that the key is theirs"]
pub struct DeviceCertificate {
    der: CertificateDer<'static>,
    facts: Facts,
}

impl DeviceCertificate {
    /// DER.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// What it says.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// With one thing more that is known.
    pub(crate) fn with_fact(self, fact: NodeSelector) -> Self {
        let facts = self.facts.iter().cloned().chain([fact]).collect();
        Self { facts, ..self }
    }

    /// Checks a signature of the certificate's key over `transcript`, which is over this certificate in any case.
    pub fn verify(
        self,
        transcript: &Transcript<'_>,
        scheme: u16,
        signature: &[u8],
    ) -> Result<ProvenKey, SignatureError> {
        let algorithms = algorithms(scheme).ok_or(SignatureError::Scheme(scheme))?;
        let certificate = EndEntityCert::try_from(&self.der).map_err(|_| SignatureError::Signature)?;
        let message = Transcript {
            certificate: &self.der,
            ..*transcript
        }
        .to_sign();
        let verifies = |algorithm: &&dyn SignatureVerificationAlgorithm| {
            certificate
                .verify_signature(*algorithm, &message, signature)
                .is_ok()
        };
        if algorithms.iter().any(verifies) {
            Ok(ProvenKey(self))
        } else {
            Err(SignatureError::Signature)
        }
    }
}

fn algorithms(scheme: u16) -> Option<&'static [&'static dyn SignatureVerificationAlgorithm]> {
    let scheme = SIGNATURE_SCHEMES
        .into_iter()
        .find(|known| u16::from(*known) == scheme)?;
    let known = default_provider().signature_verification_algorithms.mapping;
    known
        .iter()
        .find(|(of, _)| *of == scheme)
        .map(|(_, algorithms)| *algorithms)
}

/// Proof that whoever is at the other end has the key of a certificate that is believed. Only
/// [`DeviceCertificate::verify`] makes one.
#[derive(Debug)]
#[must_use = "what was proven is not yet allowed"]
pub struct ProvenKey(DeviceCertificate);

impl ProvenKey {
    /// What the certificate says.
    pub fn facts(&self) -> &Facts {
        &self.0.facts
    }

    /// SHA-256 of the certificate in DER, for the records.
    pub fn sha256(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &self.0.der).as_ref());
        hash
    }
}
