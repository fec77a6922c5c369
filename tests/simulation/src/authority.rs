//! A CA that gives out real certificates, by the simulated time.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use signet_handshake::Credentials;
use signet_spiffe::{BundleSet, CertificateDer, KeyId, SpiffeId, UnixTime, X509Bundle, verify_x509_svid};
use signet_tls::SvidKeyPair;

use crate::names::trust_domain;

/// Certificates begin so long before the simulation.
const BEFORE: Duration = Duration::from_hours(72);

/// A signing key with its certificate.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    key_id: KeyId,
}

impl Authority {
    /// A new one. The number goes into its name.
    pub fn new(number: u32) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = params(&format!("spiffe://{}", trust_domain().as_str()));
        params
            .distinguished_name
            .push(DnType::CommonName, format!("simulated root {number}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).expect("a root").der().clone();
        let bundle = X509Bundle::new(trust_domain(), vec![certificate.clone()]).expect("a bundle");
        let key_id = bundle.key_ids().next().expect("a key identifier").clone();
        Self {
            issuer: Issuer::new(params, key),
            certificate,
            key_id,
        }
    }

    /// Its certificate.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.clone()
    }

    /// By what it is revoked.
    pub fn key_id(&self) -> KeyId {
        self.key_id.clone()
    }

    /// An SVID with a key, good until then.
    pub fn issue(&self, id: &SpiffeId, bundles: &BundleSet, now: UnixTime, life: Duration) -> Credentials {
        let key = KeyPair::generate().expect("a key");
        let mut params = params(id.as_str());
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.not_after = (system(now) + life).into();
        let certificate = params.signed_by(&key, &self.issuer).expect("a leaf");
        let pair = SvidKeyPair {
            chain: vec![certificate.der().clone()],
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        };
        let verified = verify_x509_svid(&pair.chain, bundles, now).expect("verifies");
        Credentials::new(pair, &verified)
    }
}

fn params(id: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(id.try_into().expect("IA5"))];
    params.not_before = (SystemTime::now() - BEFORE).into();
    params
}

fn system(time: UnixTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_secs())
}
