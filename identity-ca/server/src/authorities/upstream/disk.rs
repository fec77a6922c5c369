//! A root in files, which may be away most of the time.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use signet_authority::{Authority, RequestedKey, Serial, SigningKey, chain_from_pem, request_authority};
use signet_keys::{KeyManager as _, MemoryKeys, SecretFile};
use signet_spiffe::{TrustDomain, UnixTime};

use crate::nested::SignetUpstream;
use crate::random;

/// Longest file with certificates that is read.
const MAX_BYTES: u64 = 64 * 1024;

/// Who signs this CA's authorities.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Upstream {
    /// They are roots themselves.
    #[default]
    None,
    /// A root in files.
    Disk(DiskUpstream),
    /// Another Signet CA, which is asked over mutual TLS.
    Signet(SignetUpstream),
    /// Another CA, to which requests and from which certificates are carried as files (`signet ca authority csr` and `import`).
    Files,
}

/// A signing certificate and its key in files. They are read whenever an authority is prepared, and need not be there otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskUpstream {
    /// PEM: the certificate that signs, those above it, the self-signed root last.
    pub certificate: PathBuf,
    /// PEM, PKCS #8, unencrypted.
    pub key: SecretFile,
}

impl DiskUpstream {
    /// Has it sign an authority of this key. Returns the chain, the new certificate first.
    pub(crate) fn certify(
        &self,
        trust_domain: &TrustDomain,
        key: &SigningKey,
        life: Duration,
        now: UnixTime,
    ) -> anyhow::Result<Vec<CertificateDer<'static>>> {
        let above = self.open(trust_domain)?;
        // By the same way as from afar: nothing but a request goes up.
        let request = request_authority(key, trust_domain)?;
        let requested = RequestedKey::from_authority_request(&request.der)?;
        let serial = Serial::from_random(random::bytes()?);
        above
            .issue_authority(&requested, life, serial, now)
            .with_context(|| format!("{} did not sign", self.certificate.display()))
    }

    fn open(&self, trust_domain: &TrustDomain) -> anyhow::Result<Authority> {
        let shown = self.certificate.display();
        let length = std::fs::metadata(&self.certificate).map(|found| found.len());
        let length = length.with_context(|| format!("the upstream certificate {shown} cannot be read"))?;
        ensure!(length <= MAX_BYTES, "{shown} is longer than certificates are");
        let pem = std::fs::read_to_string(&self.certificate)
            .with_context(|| format!("the upstream certificate {shown} cannot be read"))?;
        let chain = chain_from_pem(&pem).with_context(|| format!("{shown} cannot be read"))?;
        let secret = self
            .key
            .read()
            .context("the upstream key cannot be read: it has to be there while an authority is prepared")?;
        let pkcs8 = PrivatePkcs8KeyDer::from_pem_slice(&secret).ok().with_context(|| {
            format!(
                "{} holds no unencrypted PKCS #8 key in PEM; `openssl pkcs8 -topk8 -nocrypt` makes one of others",
                self.key.path().display()
            )
        })?;
        let (_, signer) = MemoryKeys::default().import(pkcs8.secret_pkcs8_der())?;
        Authority::restore(trust_domain.clone(), chain, SigningKey::new(signer)?).with_context(|| {
            format!(
                "{shown} and {} make no signing authority",
                self.key.path().display()
            )
        })
    }
}
