use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, date_time_ymd};

/// What Envoy is given in place of what was taken back.
///
/// Envoy has no way to be told that a secret is no more: it passes over removals (delta) and rejects what is empty (the other
/// way), and goes on with what it has. So it gets another one under the same name. Nothing in here is secret, and nothing
/// is believed: the certificate is signed by itself, names nobody and ended in 1970; the authority's key was dropped as soon
/// as it was made, and it never is the authority of a trust domain.
#[derive(Debug)]
pub(crate) struct Withdrawn {
    certificate: String,
    key: String,
    authority: String,
}

/// Why there is nothing to put in place of what is taken back.
#[derive(Debug, thiserror::Error)]
#[error("failed to make what takes the place of withdrawn secrets")]
pub struct WithdrawnError(#[from] rcgen::Error);

impl Withdrawn {
    /// A trust domain that nobody has (RFC 6761 §6.4).
    pub(crate) const TRUST_DOMAIN: &str = "withdrawn.invalid";

    pub(crate) fn new() -> Result<Self, WithdrawnError> {
        let key = KeyPair::generate()?;
        let certificate = params("withdrawn by signet-agent").self_signed(&key)?;
        let mut params = params("withdrawn by signet-agent: no authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let authority = params.self_signed(&KeyPair::generate()?)?;
        Ok(Self {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            authority: authority.pem(),
        })
    }

    /// PEM.
    pub(crate) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// PEM, PKCS#8; not a secret.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// PEM.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(1970, 1, 1);
    params.not_after = date_time_ymd(1970, 1, 2);
    params
}
