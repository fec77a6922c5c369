//! Makes certificates, good and bad.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use signet_spiffe::{BundleSet, CertificateDer, TrustDomain, UnixTime, X509Bundle};

/// The moment of all tests, Unix seconds.
pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const HOUR: u64 = 3600;

pub(crate) fn now() -> UnixTime {
    at(NOW)
}

pub(crate) fn at(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

pub(crate) fn domain(name: &str) -> TrustDomain {
    TrustDomain::parse(name).unwrap()
}

/// A signing certificate with its key.
pub(crate) struct Signer {
    inner: CertifiedIssuer<'static, KeyPair>,
}

impl Signer {
    pub(crate) fn root(trust_domain: &str) -> Self {
        Self::root_of(signer_params(Some(&format!("spiffe://{trust_domain}"))))
    }

    pub(crate) fn root_of(params: CertificateParams) -> Self {
        Self::root_with(params, KeyPair::generate().unwrap())
    }

    pub(crate) fn root_with(params: CertificateParams, key: KeyPair) -> Self {
        Self {
            inner: CertifiedIssuer::self_signed(params, key).unwrap(),
        }
    }

    pub(crate) fn intermediate(&self, params: CertificateParams) -> Self {
        let inner = CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &self.inner).unwrap();
        Self { inner }
    }

    pub(crate) fn leaf(&self, params: &CertificateParams) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, &self.inner).unwrap().der().clone()
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.inner.der().clone()
    }

    pub(crate) fn bundle(&self, trust_domain: &str) -> X509Bundle {
        X509Bundle::new(domain(trust_domain), vec![self.der()]).unwrap()
    }

    pub(crate) fn bundles(&self, trust_domain: &str) -> BundleSet {
        BundleSet::single(self.bundle(trust_domain))
    }
}

/// A signing certificate by the book, valid a day to either side.
pub(crate) fn signer_params(uri: Option<&str>) -> CertificateParams {
    let mut params = bare(uri.as_slice());
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let mut random = [0; 8];
    aws_lc_rs::rand::fill(&mut random).unwrap();
    params
        .distinguished_name
        .push(DnType::CommonName, format!("signer {random:02x?}"));
    params
}

/// A leaf by the book, valid an hour to either side.
pub(crate) fn leaf_params(uri: &str) -> CertificateParams {
    let mut params = bare(&[uri]);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.is_ca = IsCa::ExplicitNoCa;
    valid(&mut params, NOW - HOUR, NOW + HOUR);
    params
}

pub(crate) fn bare(uris: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = uris.iter().map(|uri| uri_name(uri)).collect();
    params.serial_number = Some(SerialNumber::from_slice(&[0x42; 16]));
    valid(&mut params, NOW - 24 * HOUR, NOW + 24 * HOUR);
    params
}

pub(crate) fn uri_name(uri: &str) -> SanType {
    SanType::URI(uri.try_into().unwrap())
}

pub(crate) fn valid(params: &mut CertificateParams, from: u64, until: u64) {
    let date = |seconds: u64| time::OffsetDateTime::from_unix_timestamp(seconds.try_into().unwrap()).unwrap();
    params.not_before = date(from);
    params.not_after = date(until);
}

/// A raw extension, not critical unless told.
pub(crate) fn extension(arc: u64, content: &[u8], critical: bool) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, arc], content.to_vec());
    extension.set_criticality(critical);
    extension
}

/// id-ce-keyUsage, id-ce-subjectAltName and id-ce-basicConstraints, last arc.
pub(crate) const KEY_USAGE: u64 = 15;
pub(crate) const SUBJECT_ALT_NAME: u64 = 17;
pub(crate) const BASIC_CONSTRAINTS: u64 = 19;

/// BIT STRING with digitalSignature alone.
pub(crate) const DIGITAL_SIGNATURE: &[u8] = &[3, 2, 7, 0x80];

/// `SubjectAltName` content: these context tags with these values.
pub(crate) fn names(entries: &[(u8, &[u8])]) -> Vec<u8> {
    let body: Vec<u8> = entries
        .iter()
        .flat_map(|(tag, value)| [&[0x80 | tag, u8::try_from(value.len()).unwrap()], *value].concat())
        .collect();
    [&[0x30, u8::try_from(body.len()).unwrap()], body.as_slice()].concat()
}

/// Context tag of a URI in a `GeneralName`.
pub(crate) const URI: u8 = 6;
