//! Authorities and SVIDs for a test.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::PrivateKeyDer;
use signet_spiffe::{BundleSet, SpiffeId, TrustDomain, UnixTime, X509Bundle};
use signet_tls::{BundleSource, FixedBundles, SvidKeyPair};
use time::OffsetDateTime;

pub(crate) fn now() -> UnixTime {
    UnixTime::now()
}

pub(crate) fn domain(name: &str) -> TrustDomain {
    TrustDomain::parse(name).unwrap()
}

pub(crate) fn id(text: &str) -> SpiffeId {
    SpiffeId::parse(text).unwrap()
}

pub(crate) struct Authority {
    trust_domain: TrustDomain,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(trust_domain: &str) -> Self {
        let mut params = bare(&format!("spiffe://{trust_domain}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, trust_domain);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self {
            trust_domain: domain(trust_domain),
            issuer,
        }
    }

    pub(crate) fn bundle(&self) -> X509Bundle {
        X509Bundle::new(self.trust_domain.clone(), vec![self.issuer.der().clone()]).unwrap()
    }

    pub(crate) fn bundles(&self) -> Arc<BundleSet> {
        Arc::new(BundleSet::single(self.bundle()))
    }

    pub(crate) fn source(&self) -> Arc<dyn BundleSource> {
        Arc::new(FixedBundles::new(BundleSet::single(self.bundle())))
    }

    pub(crate) fn svid(&self, id: &str) -> SvidKeyPair {
        self.issue(id, Duration::from_hours(1))
    }

    /// One that expired a minute ago.
    pub(crate) fn expired_svid(&self, id: &str) -> SvidKeyPair {
        self.issue(id, Duration::ZERO)
    }

    fn issue(&self, id: &str, life: Duration) -> SvidKeyPair {
        let mut params = bare(id);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.not_after = OffsetDateTime::now_utc() - Duration::from_mins(1) + life;
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        SvidKeyPair {
            chain: vec![certificate.der().clone()],
            key,
        }
    }
}

fn bare(uri: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    params.not_before = OffsetDateTime::now_utc() - Duration::from_hours(2);
    params.not_after = OffsetDateTime::now_utc() + Duration::from_hours(2);
    params
}
