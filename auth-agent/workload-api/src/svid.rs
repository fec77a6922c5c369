use std::fmt;

use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use signet_spiffe::SpiffeId;
use zeroize::Zeroizing;

/// An X.509-SVID with its private key, as workloads get it. The key is wiped when the last holder drops it.
///
/// Copies of the key that are on their way to a workload live in gRPC message buffers, which nobody wipes.
#[derive(PartialEq, Eq)]
pub struct X509Svid {
    id: SpiffeId,
    chain: Vec<CertificateDer<'static>>,
    key: Zeroizing<PrivatePkcs8KeyDer<'static>>,
}

/// Why something is not an SVID that can be given out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum X509SvidError {
    /// No leaf.
    #[error("the chain of {0} is empty")]
    EmptyChain(SpiffeId),
    /// An ID that only Signet's own parts may have.
    #[error("{0} belongs to a part of Signet and is never given to a workload")]
    Infrastructure(SpiffeId),
}

impl X509Svid {
    /// An SVID from its parts: the chain leaf first and without the root, the key as unencrypted PKCS#8 (Workload API
    /// §5.2.1). The caller has verified that the leaf is a valid X.509-SVID for `id` and for this key.
    ///
    /// # Errors
    /// See [`X509SvidError`].
    pub fn new(
        id: SpiffeId,
        chain: Vec<CertificateDer<'static>>,
        key: PrivatePkcs8KeyDer<'static>,
    ) -> Result<Self, X509SvidError> {
        let key = Zeroizing::new(key);
        if id.is_infrastructure() {
            return Err(X509SvidError::Infrastructure(id));
        }
        if chain.is_empty() {
            return Err(X509SvidError::EmptyChain(id));
        }
        Ok(Self { id, chain, key })
    }

    /// Whose it is.
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// Leaf first, without the root; DER.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// Unencrypted PKCS#8, DER. A secret.
    pub fn secret_key(&self) -> &[u8] {
        self.key.secret_pkcs8_der()
    }
}

impl fmt::Debug for X509Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("X509Svid")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn svid(id: &str, chain: &[&'static [u8]]) -> Result<X509Svid, X509SvidError> {
        let chain = chain.iter().map(|der| CertificateDer::from(*der)).collect();
        X509Svid::new(
            SpiffeId::parse(id).unwrap(),
            chain,
            PrivatePkcs8KeyDer::from(&b"secret"[..]),
        )
    }

    #[test]
    fn no_workload_gets_an_infrastructure_id_or_an_empty_chain() {
        assert!(svid("spiffe://td/ns/shop/sa/web", &[b"leaf"]).is_ok());
        let infrastructure = svid("spiffe://td/signet/node/n1", &[b"leaf"]);
        assert!(matches!(infrastructure, Err(X509SvidError::Infrastructure(_))));
        assert!(matches!(
            svid("spiffe://td/ns/shop/sa/web", &[]),
            Err(X509SvidError::EmptyChain(_))
        ));
    }

    #[test]
    fn the_key_is_not_shown() {
        let shown = format!("{:?}", svid("spiffe://td/ns/shop/sa/web", &[b"leaf"]).unwrap());
        assert!(shown.contains("/ns/shop/sa/web"), "{shown}");
        assert!(!shown.contains("secret") && !shown.contains("115"), "{shown}");
    }
}
