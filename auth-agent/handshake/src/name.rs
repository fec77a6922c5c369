//! A SPIFFE ID as a TLS server name.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use rustls_pki_types::{DnsName, InvalidDnsNameError};
use signet_spiffe::SpiffeId;

/// The DNS name that stands for `id` in SNI (RFC 6066 section 3).
///
/// A SPIFFE ID is no DNS name: it may be 2048 bytes long and has characters that labels must not have. So the name is
/// its SHA-256 in hexadecimal, in two labels because one holds 63 characters, under `.signet.invalid` (RFC 2606), where
/// no resolver can ever find something. Whose certificate is accepted never depends on it.
pub fn server_name(id: &SpiffeId) -> Result<DnsName<'static>, InvalidDnsNameError> {
    let hash = digest(&SHA256, id.as_str().as_bytes());
    let mut name = String::with_capacity(96);
    for (at, byte) in hash.as_ref().iter().enumerate() {
        if at == 16 {
            name.push('.');
        }
        // Writing to a String cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    name.push_str(".signet.invalid");
    DnsName::try_from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_ids_have_different_names_and_each_is_a_dns_name() {
        let a = SpiffeId::parse("spiffe://t.example/ns/A/sa/x").expect("valid");
        let b = SpiffeId::parse("spiffe://t.example/ns/a/sa/x").expect("valid");
        let (a, b) = (server_name(&a).expect("a name"), server_name(&b).expect("a name"));
        assert_ne!(a, b);
        assert_eq!(a.as_ref().len(), 32 + 1 + 32 + ".signet.invalid".len());
    }
}
