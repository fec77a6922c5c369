//! Keys and what asks for a certificate for them.

use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use signet_tls::SvidKeyPair;
use zeroize::Zeroizing;

/// A new P-256 key and the request for its certificate. The key never leaves this process except to its workload.
pub struct Request {
    key: Zeroizing<Vec<u8>>,
    csr: Vec<u8>,
}

/// Makes a key on this node. The request says nothing but the public key: the CA decides the rest.
pub fn new_request() -> Result<Request, rcgen::Error> {
    let key = Zeroizing::new(KeyPair::generate()?);
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

    /// The key with the chain that the CA answered.
    pub fn with_chain(self, chain: Vec<CertificateDer<'static>>) -> SvidKeyPair {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.to_vec()));
        SvidKeyPair { chain, key }
    }
}
