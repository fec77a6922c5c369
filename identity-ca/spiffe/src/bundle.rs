//! X.509 bundles: what a trust domain's SVIDs are checked against (Trust Domain and Bundle §3, X509-SVID §6).

use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};

use crate::bundles::{BundlesOf, OfTrustDomain};
use crate::certificate::Facts;
use crate::pem;
use crate::revocation::KeyId;
use crate::signer::{self, SignerError};
use crate::trust_domain::TrustDomain;

/// Most authorities in one bundle.
pub const MAX_AUTHORITIES: usize = 64;

/// The signing certificates of one trust domain: never empty, each one fit to sign.
#[derive(Debug, Clone)]
pub struct X509Bundle {
    trust_domain: TrustDomain,
    authorities: Vec<CertificateDer<'static>>,
    /// In the order of `authorities`.
    anchors: Vec<TrustAnchor<'static>>,
    validity: Vec<(UnixTime, UnixTime)>,
    /// In the order of `authorities`; nothing for one without a subject key identifier.
    key_ids: Vec<Option<KeyId>>,
}

/// Why certificates are no bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// No certificate at all: nothing could be trusted, so nobody means it.
    #[error("the bundle has no certificate")]
    Empty,
    /// More than [`MAX_AUTHORITIES`].
    #[error("the bundle has {count} certificates, at most {MAX_AUTHORITIES} are read")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// A certificate that cannot sign for this trust domain.
    #[error("certificate {number} of the bundle cannot sign for {trust_domain}: {source}")]
    Authority {
        /// From 1.
        number: usize,
        /// Whose bundle.
        trust_domain: TrustDomain,
        /// Which rule it breaks.
        source: SignerError,
    },
    /// A certificate that webpki cannot read.
    #[error("certificate {number} of the bundle cannot be read")]
    Unreadable {
        /// From 1.
        number: usize,
        /// webpki's reason.
        source: webpki::Error,
    },
    /// The text is no PEM.
    #[error("the bundle is no PEM file: {0:?}")]
    Pem(rustls_pki_types::pem::Error),
}

impl X509Bundle {
    /// A bundle of these signing certificates, DER.
    pub fn new(
        trust_domain: TrustDomain,
        authorities: Vec<CertificateDer<'static>>,
    ) -> Result<Self, BundleError> {
        if authorities.is_empty() {
            return Err(BundleError::Empty);
        }
        if authorities.len() > MAX_AUTHORITIES {
            return Err(BundleError::TooMany {
                count: authorities.len(),
            });
        }
        let mut anchors = Vec::with_capacity(authorities.len());
        let mut validity = Vec::with_capacity(authorities.len());
        let mut key_ids = Vec::with_capacity(authorities.len());
        for (number, authority) in (1..).zip(&authorities) {
            let blame = |source| BundleError::Authority {
                number,
                trust_domain: trust_domain.clone(),
                source,
            };
            let facts = Facts::read(authority).map_err(|error| blame(error.into()))?;
            signer::check(&facts, &trust_domain).map_err(blame)?;
            let anchor = webpki::anchor_from_trusted_cert(authority)
                .map_err(|source| BundleError::Unreadable { number, source })?;
            anchors.push(anchor.to_owned());
            validity.push((facts.not_before, facts.not_after));
            key_ids.push(facts.key_id.and_then(|key| KeyId::new(key).ok()));
        }
        Ok(Self {
            trust_domain,
            authorities,
            anchors,
            validity,
            key_ids,
        })
    }

    /// A bundle of all certificates in a PEM text.
    pub fn from_pem(trust_domain: TrustDomain, text: &str) -> Result<Self, BundleError> {
        Self::new(trust_domain, pem::decode(text).map_err(BundleError::Pem)?)
    }

    /// One PEM block per authority.
    pub fn to_pem(&self) -> String {
        pem::encode(&self.authorities)
    }

    /// The signing certificates, DER.
    pub fn authorities(&self) -> &[CertificateDer<'static>] {
        &self.authorities
    }

    /// Whose bundle it is.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The authorities that are valid at `now`. RFC 5280 takes anchors as given; an
    /// expired one signs nothing any more for us.
    pub(crate) fn valid_anchors(&self, now: UnixTime) -> Vec<TrustAnchor<'_>> {
        let spans = self.anchors.iter().zip(&self.validity);
        let valid = spans.filter(|(_, (not_before, not_after))| *not_before <= now && now <= *not_after);
        valid.map(|(anchor, _)| borrow(anchor)).collect()
    }

    /// Until when an authority with this subject and key is valid.
    pub(crate) fn anchor_not_after(&self, anchor: &TrustAnchor<'_>) -> Option<UnixTime> {
        let matching = self.positions(anchor);
        matching
            .filter_map(|position| Some(self.validity.get(position)?.1))
            .max()
    }

    /// The key identifiers of the authorities with this subject and key: one key may be certified several times.
    pub(crate) fn anchor_key_ids(&self, anchor: &TrustAnchor<'_>) -> impl Iterator<Item = &KeyId> {
        let matching = self.positions(anchor);
        matching.filter_map(|position| self.key_ids.get(position)?.as_ref())
    }

    fn positions(&self, anchor: &TrustAnchor<'_>) -> impl Iterator<Item = usize> {
        let same = |candidate: &TrustAnchor<'_>| {
            candidate.subject == anchor.subject
                && candidate.subject_public_key_info == anchor.subject_public_key_info
        };
        let matching = self.anchors.iter().enumerate();
        matching.filter_map(move |(position, candidate)| same(candidate).then_some(position))
    }

    /// The subject key identifiers of the authorities, where they have one.
    pub fn key_ids(&self) -> impl Iterator<Item = &KeyId> {
        self.key_ids.iter().flatten()
    }
}

fn borrow<'a>(anchor: &'a TrustAnchor<'_>) -> TrustAnchor<'a> {
    TrustAnchor {
        subject: anchor.subject.as_ref().into(),
        subject_public_key_info: anchor.subject_public_key_info.as_ref().into(),
        name_constraints: anchor
            .name_constraints
            .as_ref()
            .map(|constraints| constraints.as_ref().into()),
    }
}

impl PartialEq for X509Bundle {
    fn eq(&self, other: &Self) -> bool {
        self.trust_domain == other.trust_domain && self.authorities == other.authorities
    }
}

impl Eq for X509Bundle {}

impl OfTrustDomain for X509Bundle {
    fn domain(&self) -> &TrustDomain {
        &self.trust_domain
    }
}

/// X.509 bundles by trust domain.
pub type BundleSet = BundlesOf<X509Bundle>;
