//! Making certificates: the root, and leaves under it.

use std::fmt;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyUsagePurpose, PublicKeyData, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use signet_keys::CertificateKey;
use signet_spiffe::{BundleError, KeyId, SpiffeId, TrustDomain, UnixTime, X509Bundle};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, ParsedExtension, X509Certificate};

use crate::contents::LeafContents;
use crate::key::SigningKey;
use crate::request::RequestedKey;
use crate::serial::Serial;

/// How far validity begins in the past, so that a node whose clock is a little behind accepts what was just issued.
pub const BACKDATE: Duration = Duration::from_mins(5);

/// Of a name: a serial number that tells subjects apart (RFC 4519 §2.31). Several authorities of a trust domain are published
/// at a time, and verifiers look for them by their names.
const NAME_SERIAL: [u64; 4] = [2, 5, 4, 5];

/// A signing authority of a trust domain: its key, and its certificate, which is itself an SVID (SPIFFE-ID §3.1). It is self-signed,
/// or others vouch for it up to a root.
pub struct Authority {
    trust_domain: TrustDomain,
    pub(crate) key: SigningKey,
    /// What its certificate says of it as an issuer, read once.
    issuer: Issuer<'static, CertificateKey>,
    /// Its own first, the root last.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    key_id: KeyId,
    /// Of its root.
    bundle: X509Bundle,
    not_before: UnixTime,
    not_after: UnixTime,
}

/// Why there is no authority.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The certificate could not be made.
    #[error("the root certificate could not be signed: {0}")]
    Sign(#[source] rcgen::Error),
    /// The root is not fit to sign for this trust domain.
    #[error("the root certificate does not fit: {0}")]
    Root(#[from] BundleError),
    /// The key is not the certificate's, or there is no certificate.
    #[error("the root certificate is for another key than the one kept beside it")]
    KeyMismatch,
    /// Without one, nobody could tell by whom a certificate is signed.
    #[error("the signing certificate has no subject key identifier")]
    NoKeyId,
    /// A moment that X.509 cannot express.
    #[error("the clock is outside of what a certificate can express")]
    Time,
}

/// Why a certificate was not issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The ID is of another trust domain.
    #[error("{id} is not of the trust domain {trust_domain}")]
    TrustDomain {
        /// Whose certificate was asked for.
        id: SpiffeId,
        /// Ours.
        trust_domain: TrustDomain,
    },
    /// The ID has no path: that is the authority's own.
    #[error("{id} has no path, so no leaf can carry it")]
    RootPath {
        /// Whose certificate was asked for.
        id: SpiffeId,
    },
    /// The root is not valid now, so nothing that it signs would be.
    #[error("the root certificate is not valid now")]
    RootNotValid,
    /// All that was issued up to a moment in the future is revoked.
    #[error("what could be issued now is revoked already; look at the clock")]
    NotYet,
    /// Zero, or shorter than certificates can express.
    #[error("the certificate would have no life")]
    NoLife,
    /// A moment that X.509 cannot express.
    #[error("the clock is outside of what a certificate can express")]
    Time,
    /// The signature failed.
    #[error("the certificate could not be signed: {0}")]
    Sign(#[source] rcgen::Error),
}

/// A leaf that was just signed.
#[derive(Debug, Clone)]
pub struct IssuedSvid {
    /// Whose it is.
    pub id: SpiffeId,
    /// Leaf first; the root is not among them.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its serial number.
    pub serial: Serial,
    /// Start of its validity.
    pub not_before: UnixTime,
    /// End of its validity.
    pub not_after: UnixTime,
}

/// As [`Authority::begins`] of an authority with these certificates, for who does not have its key. Nothing where one cannot be read.
pub fn begins(chain: &[CertificateDer<'_>], now: UnixTime) -> Option<UnixTime> {
    let mut begins = earlier(now, BACKDATE);
    for certificate in chain {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        begins = begins.max(moment(parsed.validity().not_before.timestamp())?);
    }
    Some(begins)
}

impl Authority {
    /// Makes a self-signed root (X509-SVID §3.2, §4): URI SAN without path, `cA`, critical key usage.
    pub fn create(
        trust_domain: TrustDomain,
        key: SigningKey,
        serial: Serial,
        now: UnixTime,
        life: Duration,
    ) -> Result<Self, AuthorityError> {
        let mut params = named(&trust_domain, serial).map_err(AuthorityError::Sign)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = date(earlier(now, BACKDATE)).ok_or(AuthorityError::Time)?;
        params.not_after = date(later(now, life)).ok_or(AuthorityError::Time)?;
        let root = params.self_signed(&key.0).map_err(AuthorityError::Sign)?;
        Self::restore(trust_domain, vec![root.der().clone()], key)
    }

    /// An authority from its certificates, its own first and the root last, and its key, as they were kept.
    pub fn restore(
        trust_domain: TrustDomain,
        chain: Vec<CertificateDer<'static>>,
        key: SigningKey,
    ) -> Result<Self, AuthorityError> {
        let root = chain.last().ok_or(AuthorityError::KeyMismatch)?.clone();
        let bundle = X509Bundle::new(trust_domain.clone(), vec![root])?;
        let own = chain.first().ok_or(AuthorityError::KeyMismatch)?;
        let (_, parsed) = X509Certificate::from_der(own).map_err(|_| AuthorityError::KeyMismatch)?;
        if parsed.public_key().raw != key.0.subject_public_key_info() {
            return Err(AuthorityError::KeyMismatch);
        }
        let key_id = key_identifier(&parsed).ok_or(AuthorityError::NoKeyId)?;
        let issuer = Issuer::from_ca_cert_der(own, key.0.clone()).map_err(|_| AuthorityError::KeyMismatch)?;
        let (mut not_before, mut not_after) = (None, None);
        for certificate in &chain {
            let (_, parsed) =
                X509Certificate::from_der(certificate).map_err(|_| AuthorityError::KeyMismatch)?;
            let validity = parsed.validity();
            let begin = moment(validity.not_before.timestamp()).ok_or(AuthorityError::Time)?;
            let end = moment(validity.not_after.timestamp()).ok_or(AuthorityError::Time)?;
            not_before = not_before.max(Some(begin));
            not_after = Some(not_after.map_or(end, |least: UnixTime| least.min(end)));
        }
        let (Some(not_before), Some(not_after)) = (not_before, not_after) else {
            return Err(AuthorityError::KeyMismatch);
        };
        Ok(Self {
            trust_domain,
            key,
            issuer,
            chain,
            key_id,
            bundle,
            not_before,
            not_after,
        })
    }

    /// Issues a leaf over the requested key. Everything in it is decided here (X509-SVID §4): empty subject and so a
    /// critical SAN with the one URI (and the DNS names of `contents`), no `cA`, `digitalSignature` alone, both extended key
    /// usages.
    ///
    /// Validity begins [`BACKDATE`] ago and ends after `life`, both within the root's own.
    pub fn issue<'a>(
        &self,
        key: &RequestedKey,
        contents: impl Into<LeafContents<'a>>,
        life: Duration,
        serial: Serial,
        now: UnixTime,
    ) -> Result<IssuedSvid, IssueError> {
        self.issue_after(key, contents, life, serial, now, None)
    }

    /// The same, but validity begins after `floor`: what was revoked up to a moment by the beginning of its validity must
    /// not take with it what is issued later.
    pub fn issue_after<'a>(
        &self,
        key: &RequestedKey,
        contents: impl Into<LeafContents<'a>>,
        life: Duration,
        serial: Serial,
        now: UnixTime,
        floor: Option<UnixTime>,
    ) -> Result<IssuedSvid, IssueError> {
        let contents = contents.into();
        let id = contents.id;
        self.check_leaf_id(id)?;
        if now < self.not_before || now >= self.not_after {
            return Err(IssueError::RootNotValid);
        }
        if life < Duration::from_secs(1) {
            return Err(IssueError::NoLife);
        }
        let mut not_before = self.begins(now);
        if let Some(floor) = floor {
            not_before = not_before.max(later(floor, Duration::from_secs(1)));
        }
        let not_after = later(now, life).min(self.not_after);
        if not_before > now {
            return Err(IssueError::NotYet);
        }
        let mut params = bare(contents, serial).map_err(IssueError::Sign)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        params.not_before = date(not_before).ok_or(IssueError::Time)?;
        params.not_after = date(not_after).ok_or(IssueError::Time)?;
        let leaf = params.signed_by(&key.0, &self.issuer).map_err(IssueError::Sign)?;
        Ok(IssuedSvid {
            id: id.clone(),
            chain: std::iter::once(leaf.der().clone())
                .chain(self.intermediates().iter().cloned())
                .collect(),
            serial,
            not_before,
            not_after,
        })
    }

    /// When the validity of a certificate begins that is issued at `now`: a revocation of all that was issued until
    /// then reaches so far.
    pub fn begins(&self, now: UnixTime) -> UnixTime {
        earlier(now, BACKDATE).max(self.not_before)
    }

    /// Whose authority it is.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// What its SVIDs are checked against: the root alone.
    pub fn bundle(&self) -> &X509Bundle {
        &self.bundle
    }

    /// Its certificates, its own first and the root last.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// Its own certificate, DER.
    pub fn certificate(&self) -> &[u8] {
        self.chain.first().map(AsRef::as_ref).unwrap_or_default()
    }

    /// Its subject key identifier: what its certificates and lists name it by.
    pub fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// Whether signatures leave the process, and so take milliseconds.
    pub fn is_remote(&self) -> bool {
        self.key.is_remote()
    }

    /// What verifiers need between a leaf and the root.
    fn intermediates(&self) -> &[CertificateDer<'static>] {
        self.chain.split_last().map_or(&[], |(_, below)| below)
    }

    /// Start of its validity.
    pub fn not_before(&self) -> UnixTime {
        self.not_before
    }

    /// End of its validity, and of that of all above it.
    pub fn not_after(&self) -> UnixTime {
        self.not_after
    }

    fn check_leaf_id(&self, id: &SpiffeId) -> Result<(), IssueError> {
        if id.trust_domain() != &self.trust_domain {
            return Err(IssueError::TrustDomain {
                id: id.clone(),
                trust_domain: self.trust_domain.clone(),
            });
        }
        if id.path().is_empty() {
            return Err(IssueError::RootPath { id: id.clone() });
        }
        Ok(())
    }

    pub(crate) fn issuer(&self) -> &Issuer<'static, CertificateKey> {
        &self.issuer
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("trust_domain", &self.trust_domain)
            .field("key_id", &self.key_id)
            .field("not_before", &self.not_before)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// Parameters of a signing certificate: the trust domain's ID, and a name that no other authority has.
pub(crate) fn named(trust_domain: &TrustDomain, serial: Serial) -> Result<CertificateParams, rcgen::Error> {
    let own = SpiffeId::authority(trust_domain);
    let mut params = bare(LeafContents::from(&own), serial)?;
    params.distinguished_name.push(DnType::OrganizationName, "Signet");
    params
        .distinguished_name
        .push(DnType::CommonName, trust_domain.as_str());
    let kind = DnType::CustomDnType(NAME_SERIAL.to_vec());
    params.distinguished_name.push(kind, serial.to_string());
    Ok(params)
}

pub(crate) fn key_identifier(certificate: &X509Certificate<'_>) -> Option<KeyId> {
    certificate.iter_extensions().find_map(|extension| {
        if let ParsedExtension::SubjectKeyIdentifier(key) = extension.parsed_extension() {
            KeyId::new(key.0).ok()
        } else {
            None
        }
    })
}

/// Parameters with these SANs and an empty subject; rcgen marks the SAN critical for as long as that is empty.
fn bare(contents: LeafContents<'_>, serial: Serial) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = contents.names()?;
    params.serial_number = Some(SerialNumber::from_slice(serial.as_bytes()));
    Ok(params)
}

pub(crate) fn earlier(now: UnixTime, by: Duration) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs().saturating_sub(by.as_secs())))
}

pub(crate) fn later(now: UnixTime, by: Duration) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs().saturating_add(by.as_secs())))
}

pub(crate) fn date(at: UnixTime) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(i64::try_from(at.as_secs()).ok()?).ok()
}

fn moment(seconds: i64) -> Option<UnixTime> {
    Some(UnixTime::since_unix_epoch(Duration::from_secs(
        u64::try_from(seconds).ok()?,
    )))
}
