use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CustomExtension, DistinguishedName,
    DnType, Error, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
    SubjectPublicKeyInfo,
};

/// `tcg-kp-EKCertificate`.
const EK_CERTIFICATE: &[u64] = &[2, 23, 133, 8, 1];
/// `subjectAltName`.
const ALTERNATIVE_NAME: &[u64] = &[2, 5, 29, 17];
/// What makers put there (TCG EK Credential Profile 3.2.9), critical: a directory name with the TPM's maker.
const MAKER: &[u8] = &[
    0x30, 0x1c, 0xa4, 0x1a, 0x30, 0x18, 0x31, 0x16, 0x30, 0x14, 0x06, 0x05, 0x67, 0x81, 0x05, 0x02, 0x01,
    0x0c, 0x0b, b'i', b'd', b':', b'5', b'3', b'4', b'9', b'4', b'7', b'4', b'E',
];

/// An authority of a test's own: an owner's, or a maker's of TPMs.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn new(name: &str) -> Result<Self, Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.self_signed(&key)?.pem();
        let issuer = Issuer::new(params, key);
        Ok(Self { issuer, pem })
    }

    /// Its certificate.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// An endorsement certificate for a key (`SubjectPublicKeyInfo`, DER), PEM.
    ///
    /// # Errors
    /// It is no key.
    pub fn endorse(&self, key: &[u8]) -> Result<String, Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(EK_CERTIFICATE.to_vec())];
        let mut maker = CustomExtension::from_oid_content(ALTERNATIVE_NAME, MAKER.to_vec());
        maker.set_criticality(true);
        params.custom_extensions = vec![maker];
        self.certify(&params, key)
    }

    /// A certificate for a key, PEM, that says this.
    ///
    /// # Errors
    /// It is no key.
    pub fn certify(&self, params: &CertificateParams, key: &[u8]) -> Result<String, Error> {
        let key = SubjectPublicKeyInfo::from_der(key)?;
        Ok(params.signed_by(&key, &self.issuer)?.pem())
    }

    /// The certificate that a request (PEM) asks for, for signing, PEM.
    ///
    /// # Errors
    /// It is no request, or is not signed by its key.
    pub fn grant(&self, request: &str) -> Result<String, Error> {
        let mut request = CertificateSigningRequestParams::from_pem(request)?;
        request.params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        self.certify(&request.params, &request.public_key.subject_public_key_info())
    }
}
