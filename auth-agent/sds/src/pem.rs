//! PEM (RFC 7468), without a copy of what is encoded that nobody wipes.

use data_encoding::BASE64;

/// Bytes in a line of 64 characters.
const LINE: usize = 48;

/// One block. The buffer is made once, in its full size, so that whoever wipes it has wiped all.
pub(crate) fn block(label: &str, der: &[u8]) -> Vec<u8> {
    let frame = 2 * ("-----BEGIN -----\n".len() + label.len());
    let body = BASE64.encode_len(der.len()) + der.len().div_ceil(LINE);
    let mut text = String::with_capacity(frame + body);
    for part in ["-----BEGIN ", label, "-----\n"] {
        text.push_str(part);
    }
    for line in der.chunks(LINE) {
        BASE64.encode_append(line, &mut text);
        text.push('\n');
    }
    for part in ["-----END ", label, "-----\n"] {
        text.push_str(part);
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject as _;

    use super::*;

    #[test]
    fn what_is_encoded_is_read_again_and_fits_its_first_buffer() {
        for length in [0, 1, 47, 48, 49, 96, 1000] {
            let der = vec![7; length];
            let text = block("CERTIFICATE", &der);
            assert!(
                text.capacity() <= text.len() + 2,
                "{length}: it was too large or has grown"
            );
            assert_eq!(CertificateDer::from_pem_slice(&text).unwrap().as_ref(), der);
            let lines = text.split(|byte| *byte == b'\n');
            assert!(lines.map(<[u8]>::len).all(|length| length <= 64));
        }
    }
}
