//! Keys and what asks for a certificate for them.

use rcgen::{
    CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
    PKCS_ED25519, PKCS_RSA_SHA256,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use signet_spiffe::KeyType;
use signet_tls::SvidKeyPair;
use zeroize::Zeroizing;

/// A new key and the request for its certificate. The key never leaves this process except to its workload.
pub struct Request {
    key: Zeroizing<Vec<u8>>,
    csr: Vec<u8>,
}

/// Makes a P-256 key on this node. The request says nothing but the public key: the CA decides the rest.
pub fn new_request() -> Result<Request, rcgen::Error> {
    new_request_for(KeyType::P256)
}

/// The same with a key of this kind. One for RSA takes long enough to keep others waiting.
pub fn new_request_for(kind: KeyType) -> Result<Request, rcgen::Error> {
    let algorithm = match kind {
        KeyType::P256 => &PKCS_ECDSA_P256_SHA256,
        KeyType::P384 => &PKCS_ECDSA_P384_SHA384,
        // Of 2048 bits.
        KeyType::Rsa2048 => &PKCS_RSA_SHA256,
        KeyType::Ed25519 => &PKCS_ED25519,
    };
    let key = Zeroizing::new(KeyPair::generate_for(algorithm)?);
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let csr = params.serialize_request(&*key)?.der().to_vec();
    Ok(Request {
        key: Zeroizing::new(key.serialize_der()),
        csr,
    })
}

impl Request {
    /// PKCS#10, DER.
    pub fn csr(&self) -> &[u8] {
        &self.csr
    }

    /// The key alone: PKCS#8, DER.
    pub fn into_key(self) -> Zeroizing<Vec<u8>> {
        self.key
    }

    /// The key with the chain that the CA answered.
    pub fn with_chain(self, chain: Vec<CertificateDer<'static>>) -> SvidKeyPair {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.to_vec()));
        SvidKeyPair { chain, key }
    }
}
