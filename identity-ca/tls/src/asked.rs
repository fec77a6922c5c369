//! Which of its SVIDs a server shows: the one by the authority that the client asks for, where there is one.
//!
//! Who was away while its CA's authority was replaced knows the earlier one alone. It says so with the server's name (SNI, RFC 6066
//! section 3), which anybody on the way can read and nobody can change without ending the handshake. A name is a wish and no more: what the
//! server shows is verified as ever.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use rustls::pki_types::DnsName;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use signet_spiffe::KeyId;

use crate::identity::{Shown, SvidKeyPair, TlsError};

/// Most bytes of a key identifier in one label, which has 63 characters at most.
const LABEL: usize = 30;

/// The server name by which a client asks for an SVID that this authority signed: its key identifier in hexadecimal, under
/// `.signer.signet.invalid` (RFC 2606), where no resolver finds anything.
pub fn signer_name(signer: &KeyId) -> Option<DnsName<'static>> {
    let mut name = String::with_capacity(96);
    for label in signer.as_bytes().chunks(LABEL) {
        for byte in label {
            // Writing to a String cannot fail.
            let _ = write!(name, "{byte:02x}");
        }
        name.push('.');
    }
    name.push_str("signer.signet.invalid");
    DnsName::try_from(name).ok()
}

/// SVIDs of one server.
pub(crate) struct Choice {
    /// For whoever asks for nothing, or for what there is not.
    own: Shown,
    /// By the names that they are asked for with.
    others: BTreeMap<String, Shown>,
}

impl Choice {
    pub(crate) fn new(own: &SvidKeyPair, others: &[(KeyId, SvidKeyPair)]) -> Result<Self, TlsError> {
        let named = others
            .iter()
            .filter_map(|(signer, pair)| Some((signer_name(signer)?, pair)));
        Ok(Self {
            own: own.shown()?,
            others: named
                .map(|(name, pair)| Ok((name.as_ref().to_owned(), pair.shown()?)))
                .collect::<Result<_, TlsError>>()?,
        })
    }
}

impl ResolvesServerCert for Choice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked = hello.server_name().and_then(|name| self.others.get(name));
        asked.unwrap_or(&self.own).resolver().resolve(hello)
    }
}

impl fmt::Debug for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Choice")
            .field("others", &self.others.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_identifier_has_a_name_of_its_own() {
        let name = |bytes: &[u8]| {
            let name = signer_name(&KeyId::new(bytes).expect("an identifier"));
            name.expect("a name").as_ref().to_owned()
        };
        assert_eq!(name(&[0xab, 0x01]), "ab01.signer.signet.invalid");
        let longest = name(&[0xff; 64]);
        assert!(longest.len() <= 253 && longest.split('.').all(|label| label.len() <= 63));
        assert_ne!(name(&[1; 31]), name(&[1; 30]));
        assert_ne!(name(&[0, 1]), name(&[1]));
    }
}
