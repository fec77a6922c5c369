//! PEM (RFC 7468), as bundle files have it.

use std::fmt::Write;

use data_encoding::BASE64;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// One `CERTIFICATE` block per certificate.
pub fn encode(certificates: &[CertificateDer<'_>]) -> String {
    let mut text = String::new();
    for certificate in certificates {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let body = BASE64.encode(certificate);
        let mut rest = body.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(64));
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{line}");
            rest = after;
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

/// All `CERTIFICATE` blocks; other blocks are passed over, a broken one is an error.
pub(crate) fn decode(text: &str) -> Result<Vec<CertificateDer<'static>>, rustls_pki_types::pem::Error> {
    CertificateDer::pem_slice_iter(text.as_bytes()).collect()
}
