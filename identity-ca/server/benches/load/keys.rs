//! Keys and requests, as agents make them.

use rcgen::{CertificateParams, DistinguishedName, KeyPair};

/// A new P-256 key, its request (PKCS#10, signed by it), and the key as it is kept (PKCS #8).
pub(crate) fn fresh() -> (Vec<u8>, Vec<u8>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let csr = params.serialize_request(&key).unwrap().der().to_vec();
    (key.serialize_der(), csr)
}
