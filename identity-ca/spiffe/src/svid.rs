//! Verification of X.509-SVIDs (X509-SVID §5).

use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{
    EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, KeyUsage,
    RequiredEkuNotFoundContext, VerifiedPath,
};

use crate::bundle::{BundleSet, X509Bundle};
use crate::certificate::Facts;
use crate::id::SpiffeId;
use crate::leaf::{self, LeafError};
use crate::revocation::{KeyId, Revoked};
use crate::signer::{self, SignerError};
use crate::trust_domain::TrustDomain;

/// Most certificates in a chain that a peer sends.
pub const MAX_CHAIN_LENGTH: usize = 8;

/// Most bytes in one certificate of a chain.
pub const MAX_CERTIFICATE_BYTES: usize = 16 * 1024;

/// Proof that a chain was verified: only [`verify_x509_svid`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a verified SVID says who the peer is; nothing is authorized until that was looked at"]
pub struct VerifiedSvid {
    id: SpiffeId,
    not_before: UnixTime,
    not_after: UnixTime,
    serial: Vec<u8>,
    authorities: Vec<KeyId>,
    signer: Option<KeyId>,
}

impl VerifiedSvid {
    /// The SPIFFE ID.
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// Start of the leaf's validity.
    pub fn not_before(&self) -> UnixTime {
        self.not_before
    }

    /// The earliest end of validity in the verified path: the leaf's, unless a signer's comes first.
    pub fn not_after(&self) -> UnixTime {
        self.not_after
    }

    /// The leaf's serial number, big-endian as encoded.
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// The key identifiers of the signers in the verified path, its root among them. Each is taken from a certificate that
    /// a key further up vouches for, never from what the leaf says of its issuer.
    pub fn authorities(&self) -> &[KeyId] {
        &self.authorities
    }

    /// The key identifier of the authority that signed the leaf itself, where its certificate has one.
    pub fn signer(&self) -> Option<&KeyId> {
        self.signer.as_ref()
    }
}

/// Why a chain is no X.509-SVID that we trust.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SvidError {
    /// The peer sent no certificate.
    #[error("the certificate chain is empty")]
    NoCertificate,
    /// More than [`MAX_CHAIN_LENGTH`].
    #[error("the chain has {length} certificates, at most {MAX_CHAIN_LENGTH} are read")]
    ChainTooLong {
        /// How many.
        length: usize,
    },
    /// More than [`MAX_CERTIFICATE_BYTES`].
    #[error("certificate {number} of the chain has {bytes} bytes, at most {MAX_CERTIFICATE_BYTES} are read")]
    CertificateTooLong {
        /// From 1.
        number: usize,
        /// Its size.
        bytes: usize,
    },
    /// The first certificate breaks a rule of its own.
    #[error("the first certificate is no X.509-SVID: {0}")]
    Leaf(#[from] LeafError),
    /// There is no bundle of the trust domain: it is foreign.
    #[error("{id} is of a trust domain of which there is no bundle")]
    UntrustedDomain {
        /// What the leaf claims.
        id: SpiffeId,
    },
    /// A signer between leaf and root breaks a rule.
    #[error("an intermediate certificate of {id} cannot sign for its trust domain: {source}")]
    Intermediate {
        /// What the leaf claims.
        id: SpiffeId,
        /// Which rule it breaks.
        source: SignerError,
    },
    /// `now` is before the leaf's validity.
    #[error("the SVID of {id} is not valid before {} (Unix seconds)", not_before.as_secs())]
    NotYetValid {
        /// What the leaf claims.
        id: SpiffeId,
        /// Start of its validity.
        not_before: UnixTime,
    },
    /// `now` is after the leaf's validity.
    #[error("the SVID of {id} expired at {} (Unix seconds)", not_after.as_secs())]
    Expired {
        /// What the leaf claims.
        id: SpiffeId,
        /// End of its validity.
        not_after: UnixTime,
    },
    /// No path from the leaf to an authority of its trust domain (RFC 5280 §6).
    #[error("the chain of {id} does not lead to an authority of its trust domain: {source}")]
    Path {
        /// What the leaf claims.
        id: SpiffeId,
        /// webpki's reason.
        source: webpki::Error,
    },
    /// It was all right until it was revoked.
    #[error(transparent)]
    Revoked(#[from] Revoked),
}

impl SvidError {
    /// What the leaf claimed to be, where that much could be read. A claim, not an identity.
    pub fn claimed_id(&self) -> Option<&SpiffeId> {
        match self {
            Self::UntrustedDomain { id }
            | Self::Intermediate { id, .. }
            | Self::NotYetValid { id, .. }
            | Self::Expired { id, .. }
            | Self::Path { id, .. } => Some(id),
            Self::Revoked(revoked) => Some(&revoked.id),
            Self::NoCertificate
            | Self::ChainTooLong { .. }
            | Self::CertificateTooLong { .. }
            | Self::Leaf(_) => None,
        }
    }
}

/// Verifies a chain, leaf first, against the bundle of the leaf's own trust domain.
///
/// The leaf is the first certificate and nothing else; the others serve path building, in any order. What the peer may
/// do with the identity is the caller's to decide. What the set's [`Revocations`](crate::Revocations) name is refused last:
/// only an SVID that would have been good can be revoked.
pub fn verify_x509_svid(
    chain: &[CertificateDer<'_>],
    bundles: &BundleSet,
    now: UnixTime,
) -> Result<VerifiedSvid, SvidError> {
    check_bounds(chain)?;
    let [first, rest @ ..] = chain else {
        return Err(SvidError::NoCertificate);
    };
    let facts = Facts::read(first).map_err(LeafError::from)?;
    let id = leaf::check(&facts)?;
    let Some(bundle) = bundles.get(id.trust_domain()) else {
        return Err(SvidError::UntrustedDomain { id });
    };
    check_validity(&facts, &id, now)?;
    let path = verify_path(first, rest, &id, bundle, now)?;
    let svid = VerifiedSvid {
        id,
        not_before: facts.not_before,
        not_after: facts.not_after.min(path.not_after),
        serial: facts.serial.to_vec(),
        authorities: path.authorities,
        signer: path.signer,
    };
    bundles.revocations().check(&svid)?;
    Ok(svid)
}

fn check_bounds(chain: &[CertificateDer<'_>]) -> Result<(), SvidError> {
    if chain.len() > MAX_CHAIN_LENGTH {
        return Err(SvidError::ChainTooLong { length: chain.len() });
    }
    for (number, certificate) in (1..).zip(chain) {
        if certificate.len() > MAX_CERTIFICATE_BYTES {
            return Err(SvidError::CertificateTooLong {
                number,
                bytes: certificate.len(),
            });
        }
    }
    Ok(())
}

/// webpki checks it too; this way the error says which certificate it was.
fn check_validity(leaf: &Facts<'_>, id: &SpiffeId, now: UnixTime) -> Result<(), SvidError> {
    if now < leaf.not_before {
        return Err(SvidError::NotYetValid {
            id: id.clone(),
            not_before: leaf.not_before,
        });
    }
    if now > leaf.not_after {
        return Err(SvidError::Expired {
            id: id.clone(),
            not_after: leaf.not_after,
        });
    }
    Ok(())
}

/// What the signers of a verified path say.
struct Signers {
    /// The earliest end of validity among them.
    not_after: UnixTime,
    /// Their key identifiers.
    authorities: Vec<KeyId>,
    /// That of the one below all others.
    signer: Option<KeyId>,
}

/// RFC 5280 path validation by webpki, and SPIFFE's rules for every signer on the path that it found.
fn verify_path(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    id: &SpiffeId,
    bundle: &X509Bundle,
    now: UnixTime,
) -> Result<Signers, SvidError> {
    let blame = |source| SvidError::Path {
        id: id.clone(),
        source,
    };
    let leaf = EndEntityCert::try_from(leaf).map_err(blame)?;
    let anchors: Vec<TrustAnchor<'_>> = bundle.valid_anchors(now);
    let algorithms = webpki::ALL_VERIFICATION_ALGS;
    let path = leaf
        .verify_for_usage(algorithms, &anchors, intermediates, now, BothPurposes, None, None)
        .map_err(blame)?;
    let anchor = bundle
        .anchor_not_after(path.anchor())
        .ok_or_else(|| blame(webpki::Error::UnknownIssuer))?;
    let mut signers = Signers {
        not_after: anchor,
        authorities: bundle.anchor_key_ids(path.anchor()).cloned().collect(),
        signer: bundle.anchor_key_ids(path.anchor()).next().cloned(),
    };
    check_signers(&path, id.trust_domain(), &mut signers).map_err(|source| SvidError::Intermediate {
        id: id.clone(),
        source,
    })?;
    Ok(signers)
}

fn check_signers(
    path: &VerifiedPath<'_>,
    trust_domain: &TrustDomain,
    signers: &mut Signers,
) -> Result<(), SignerError> {
    // From the leaf upwards.
    for (place, certificate) in path.intermediate_certificates().enumerate() {
        let der = certificate.der();
        let facts = Facts::read(&der)?;
        signer::check(&facts, trust_domain)?;
        signers.not_after = signers.not_after.min(facts.not_after);
        let key = facts.key_id.and_then(|key| KeyId::new(key).ok());
        if place == 0 {
            signers.signer.clone_from(&key);
        }
        signers.authorities.extend(key);
    }
    Ok(())
}

/// Where a certificate of the path names extended key usages, both of TLS's must be among them: an SVID is used on
/// either side (X509-SVID §4.4), so a signer must not be confined to one.
struct BothPurposes;

/// id-kp-serverAuth and id-kp-clientAuth (RFC 5280 §4.2.1.12), DER content.
const SERVER_AUTH: KeyPurposeId<'static> = KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 7, 3, 1]);
const CLIENT_AUTH: KeyPurposeId<'static> = KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 7, 3, 2]);

impl ExtendedKeyUsageValidator for BothPurposes {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let present = purposes.collect::<Result<Vec<_>, _>>()?;
        let lacks = |purpose: &KeyPurposeId<'_>| !present.contains(purpose);
        let required = if present.is_empty() {
            return Ok(());
        } else if lacks(&SERVER_AUTH) {
            KeyUsage::server_auth()
        } else if lacks(&CLIENT_AUTH) {
            KeyUsage::client_auth()
        } else {
            return Ok(());
        };
        let present = present.iter().map(KeyPurposeId::to_decoded_oid).collect();
        Err(webpki::Error::RequiredEkuNotFoundContext(
            RequiredEkuNotFoundContext { required, present },
        ))
    }
}
