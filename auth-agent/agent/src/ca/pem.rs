//! The node's key and chain as PEM (RFC 7468).

use data_encoding::BASE64;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem};
use signet_tls::SvidKeyPair;
use zeroize::Zeroizing;

/// Key first, then the chain.
pub(super) fn encode(pair: &SvidKeyPair) -> Zeroizing<String> {
    // Room from the start, so that no half-grown copy of the key stays behind in freed memory.
    let bytes: usize = pair.chain.iter().map(|certificate| certificate.len()).sum();
    let mut text = Zeroizing::new(String::with_capacity(2 * bytes + 1024));
    block(&mut text, "PRIVATE KEY", pair.key.secret_der());
    for certificate in &pair.chain {
        block(&mut text, "CERTIFICATE", certificate);
    }
    text
}

pub(super) fn decode(text: &[u8]) -> Result<SvidKeyPair, pem::Error> {
    let key = PrivateKeyDer::from_pem_slice(text)?;
    let chain = CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>()?;
    Ok(SvidKeyPair { chain, key })
}

fn block(text: &mut String, label: &str, der: &[u8]) {
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    // 48 bytes make one line of 64 characters.
    for line in der.chunks(48) {
        let mut characters = Zeroizing::new([0_u8; 64]);
        let length = BASE64.encode_len(line.len());
        if let Some(characters) = characters.get_mut(..length) {
            BASE64.encode_mut(line, characters);
            text.extend(characters.iter().map(|byte| char::from(*byte)));
        }
        text.push('\n');
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::csr::new_request;

    #[test]
    fn key_and_chain_come_back() {
        let chain = vec![
            CertificateDer::from(vec![1_u8; 100]),
            CertificateDer::from(vec![2_u8; 48]),
        ];
        let pair = new_request().expect("a key").with_chain(chain);
        let back = decode(encode(&pair).as_bytes()).expect("decodes");
        assert_eq!(back.chain, pair.chain);
        assert_eq!(back.key.secret_der(), pair.key.secret_der());
    }
}
