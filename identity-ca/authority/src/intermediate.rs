//! Authorities below others: asking for one's certificate, giving one, and checking what was given.

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyUsagePurpose, SanType};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use signet_spiffe::{BundleSet, KeyId, SpiffeId, SvidError, TrustDomain, UnixTime, verify_x509_svid};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::authority::{
    Authority, AuthorityError, BACKDATE, IssueError, date, earlier, key_identifier, later, named,
};
use crate::contents::LeafContents;
use crate::key::SigningKey;
use crate::request::RequestedKey;
use crate::serial::Serial;

/// Most certificates from an authority to its root, both of them counted: as many as verifiers take besides the leaf.
pub const MAX_CHAIN: usize = 6;

/// Most bytes of a chain in PEM.
pub const MAX_CHAIN_BYTES: usize = 64 * 1024;

/// A request for a signing certificate (PKCS #10, RFC 2986): subject, SPIFFE ID, key usage and `cA` as they should be.
#[derive(Debug, Clone)]
pub struct AuthorityRequest {
    /// ASN.1 DER.
    pub der: Vec<u8>,
    /// The same, PEM.
    pub pem: String,
}

/// Why a chain makes no authority. All of these blame whoever made it, or what it was made for.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// Not PEM.
    #[error("the chain is not certificates in PEM")]
    Pem,
    /// Nothing, or too many.
    #[error(
        "the chain has {count} certificates: it is the new authority's own, those above it in order, and the self-signed root last, \
         at most {MAX_CHAIN}"
    )]
    Length {
        /// How many.
        count: usize,
    },
    /// The first one is of another key.
    #[error("the first certificate of the chain is not of the key that was asked for")]
    OtherKey,
    /// What signs leaves has to have somebody else above it, or it would be the root.
    #[error("the chain does not end with a self-signed root: append its certificate")]
    NoRoot,
    /// A certificate above allows fewer authorities below it (RFC 5280 §4.2.1.9). Verifiers differ in whether they look at the root's
    /// own; some would refuse all SVIDs.
    #[error(
        "`{subject}` allows only {allowed} authorities below it (pathlen), and the chain has {below} there"
    )]
    PathLength {
        /// Whose certificate.
        subject: String,
        /// What it says.
        allowed: u32,
        /// How many there are.
        below: usize,
    },
    /// It ends before it could be of use.
    #[error(
        "the chain is good for another {left} s (as long as the certificate in it that ends first), which is less than the {least} s \
         that an authority has to have here"
    )]
    TooShort {
        /// Seconds that are left.
        left: u64,
        /// Seconds that have to be.
        least: u64,
    },
    /// What it would sign does not verify.
    #[error("what this authority signs would be refused by everybody: {0}")]
    Refused(#[source] SvidError),
    /// The key did not sign.
    #[error("the authority cannot sign: {0}")]
    Issue(#[from] IssueError),
    /// It is no authority at all.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

/// Asks for the certificate of a key as a signing authority of the trust domain.
pub fn request_authority(
    key: &SigningKey,
    trust_domain: &TrustDomain,
) -> Result<AuthorityRequest, AuthorityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Signet");
    params
        .distinguished_name
        .push(DnType::CommonName, trust_domain.as_str());
    let id = SpiffeId::authority(trust_domain);
    let id = id.as_str().try_into().map_err(AuthorityError::Sign)?;
    params.subject_alt_names = vec![SanType::URI(id)];
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let request = params.serialize_request(&key.0).map_err(AuthorityError::Sign)?;
    Ok(AuthorityRequest {
        der: request.der().to_vec(),
        pem: request.pem().map_err(AuthorityError::Sign)?,
    })
}

/// Another authority's certificate that was just signed.
#[derive(Debug, Clone)]
pub struct IssuedAuthority {
    /// Its own certificate first, the root last.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its subject key identifier.
    pub key_id: KeyId,
    /// Its serial number.
    pub serial: Serial,
    /// Start of its validity.
    pub not_before: UnixTime,
    /// End of its validity.
    pub not_after: UnixTime,
}

impl Authority {
    /// As [`Authority::issue_authority_after`], from now on.
    pub fn issue_authority(
        &self,
        key: &RequestedKey,
        life: Duration,
        serial: Serial,
        now: UnixTime,
    ) -> Result<Vec<CertificateDer<'static>>, IssueError> {
        let issued = self.issue_authority_after(key, life, serial, now, None)?;
        Ok(issued.chain)
    }

    /// Whether there may be another authority below this one: pathlen of its certificates.
    pub fn has_room_below(&self) -> bool {
        check_room(&self.chain, 1).is_ok()
    }

    /// Signs another authority's certificate (X509-SVID §3.2, §4): the trust domain's ID without a path, `cA`, and nothing
    /// but leaves below it. Its validity begins after `floor`.
    pub fn issue_authority_after(
        &self,
        key: &RequestedKey,
        life: Duration,
        serial: Serial,
        now: UnixTime,
        floor: Option<UnixTime>,
    ) -> Result<IssuedAuthority, IssueError> {
        if now < self.not_before() || now >= self.not_after() {
            return Err(IssueError::RootNotValid);
        }
        let mut params = named(self.trust_domain(), serial).map_err(IssueError::Sign)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.use_authority_key_identifier_extension = true;
        let mut not_before = earlier(now, BACKDATE).max(self.not_before());
        if let Some(floor) = floor {
            not_before = not_before.max(later(floor, Duration::from_secs(1)));
        }
        if not_before > now {
            return Err(IssueError::NotYet);
        }
        let not_after = later(now, life).min(self.not_after());
        params.not_before = date(not_before).ok_or(IssueError::Time)?;
        params.not_after = date(not_after).ok_or(IssueError::Time)?;
        let signed = params
            .signed_by(&key.0, self.issuer())
            .map_err(IssueError::Sign)?;
        let key_id = key_id_of(signed.der()).ok_or(IssueError::Time)?;
        Ok(IssuedAuthority {
            chain: std::iter::once(signed.der().clone())
                .chain(self.chain().iter().cloned())
                .collect(),
            key_id,
            serial,
            not_before,
            not_after,
        })
    }

    /// An authority of a chain that somebody else gave for the key: its own certificate first, the root last. It is checked by what it
    /// is for: a leaf that it signs must verify under that root, by the rules that everybody goes by, and at the end of
    /// `least`, too, all of it must be good.
    ///
    /// The leaf that is tried has `serial` and goes nowhere.
    pub fn certified(
        trust_domain: TrustDomain,
        chain: Vec<CertificateDer<'static>>,
        key: SigningKey,
        serial: Serial,
        now: UnixTime,
        least: Duration,
    ) -> Result<Self, ChainError> {
        let count = chain.len();
        if count == 0 || count > MAX_CHAIN {
            return Err(ChainError::Length { count });
        }
        if !chain.last().is_some_and(is_self_signed) {
            return Err(ChainError::NoRoot);
        }
        let authority = match Self::restore(trust_domain, chain, key) {
            Err(AuthorityError::KeyMismatch) => return Err(ChainError::OtherKey),
            restored => restored?,
        };
        let left = authority.not_after().as_secs().saturating_sub(now.as_secs());
        if left < least.as_secs() {
            return Err(ChainError::TooShort {
                left,
                least: least.as_secs(),
            });
        }
        check_path_lengths(&authority.chain)?;
        authority.try_out(serial, now)?;
        Ok(authority)
    }

    fn try_out(&self, serial: Serial, now: UnixTime) -> Result<(), ChainError> {
        // Any key will do.
        let key = RequestedKey::of_public_key(&self.key).ok_or(AuthorityError::KeyMismatch)?;
        let id = SpiffeId::ca(self.trust_domain());
        let leaf = self.issue(&key, LeafContents::from(&id), Duration::from_mins(1), serial, now)?;
        let bundles = BundleSet::single(self.bundle().clone());
        verify_x509_svid(&leaf.chain, &bundles, now)
            .map(drop)
            .map_err(ChainError::Refused)
    }
}

/// The public key of a certificate: `SubjectPublicKeyInfo`, DER.
pub fn public_key(certificate: &CertificateDer<'static>) -> Option<Vec<u8>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(parsed.public_key().raw.to_vec())
}

/// Certificates in PEM, in the order in which they are there; what else is there (a CA's remarks) is passed over.
pub fn chain_from_pem(pem: &str) -> Result<Vec<CertificateDer<'static>>, ChainError> {
    if pem.len() > MAX_CHAIN_BYTES {
        return Err(ChainError::Pem);
    }
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    chain.map_err(|_| ChainError::Pem)
}

fn check_path_lengths(chain: &[CertificateDer<'static>]) -> Result<(), ChainError> {
    check_room(chain, 0)
}

/// The same for so many more below the first.
fn check_room(chain: &[CertificateDer<'static>], more: usize) -> Result<(), ChainError> {
    for (below, certificate) in (more..).zip(chain) {
        let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
            return Err(ChainError::Pem);
        };
        let constraints = parsed.basic_constraints().ok().flatten();
        let allowed = constraints.and_then(|found| found.value.path_len_constraint);
        if let Some(allowed) = allowed
            && usize::try_from(allowed).is_ok_and(|allowed| allowed < below)
        {
            return Err(ChainError::PathLength {
                subject: parsed.subject().to_string(),
                allowed,
                below,
            });
        }
    }
    Ok(())
}

fn key_id_of(certificate: &CertificateDer<'static>) -> Option<KeyId> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    key_identifier(&parsed)
}

fn is_self_signed(certificate: &CertificateDer<'static>) -> bool {
    X509Certificate::from_der(certificate)
        .is_ok_and(|(rest, parsed)| rest.is_empty() && parsed.issuer() == parsed.subject())
}
