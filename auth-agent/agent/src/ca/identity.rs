//! A node's own SVID, checked.

use rustls_pki_types::CertificateDer;
use signet_proto::ca::v1::Svid;
use signet_spiffe::{
    BundleSet, NodeName, SpiffeId, SvidError, TrustDomain, UnixTime, VerifiedSvid, verify_x509_svid,
};
use signet_tls::SvidKeyPair;

use crate::ca::csr::Request;
use crate::clock::seconds;

/// Why an answered or stored SVID is not used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It does not verify.
    #[error("SVID does not verify against the trust bundle")]
    Svid(#[from] SvidError),
    /// It is somebody else's.
    #[error("SVID is of {got}, wanted {wanted}")]
    Other {
        /// Whose.
        got: SpiffeId,
        /// Who should be.
        wanted: SpiffeId,
    },
}

/// A node's own SVID with its key.
#[derive(Debug)]
pub struct NodeIdentity {
    /// Chain and key.
    pub key_pair: SvidKeyPair,
    /// `spiffe://<td>/signet/node/<name>`.
    pub id: SpiffeId,
    /// What verification said of it.
    pub svid: VerifiedSvid,
    /// Unix seconds.
    pub not_before: i64,
    /// Unix seconds.
    pub not_after: i64,
}

impl NodeIdentity {
    /// Checks that chain and key pair are this node's, now.
    pub fn new(
        key_pair: SvidKeyPair,
        trust_domain: &TrustDomain,
        name: &NodeName,
        bundles: &BundleSet,
        now: UnixTime,
    ) -> Result<Self, IdentityError> {
        let verified = verify_x509_svid(&key_pair.chain, bundles, now)?;
        let wanted = SpiffeId::node(trust_domain, name);
        if *verified.id() != wanted {
            return Err(IdentityError::Other {
                got: verified.id().clone(),
                wanted,
            });
        }
        Ok(Self {
            key_pair,
            id: wanted,
            not_before: seconds(verified.not_before()),
            not_after: seconds(verified.not_after()),
            svid: verified,
        })
    }

    /// Joins a request with the CA's answer.
    pub(crate) fn from_answer(
        request: Request,
        svid: Svid,
        trust_domain: &TrustDomain,
        name: &NodeName,
        bundles: &BundleSet,
    ) -> Result<Self, IdentityError> {
        let key_pair = request.with_chain(chain(svid));
        Self::new(key_pair, trust_domain, name, bundles, UnixTime::now())
    }
}

/// The certificates of an answer.
pub(crate) fn chain(svid: Svid) -> Vec<CertificateDer<'static>> {
    svid.chain.into_iter().map(CertificateDer::from).collect()
}
