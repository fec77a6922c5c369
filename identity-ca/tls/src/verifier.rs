//! The verifier that both sides share.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use signet_spiffe::{BundleSet, CertificateDer, UnixTime, VerifiedSvid, verify_x509_svid};

use crate::bundles::BundleSource;
use crate::expect::{Expect, PeerError};
use crate::provider::provider;
use crate::signers::SignerSource;
use crate::witness::Witness;

/// Verifies the peer's chain of an established connection once more: at `now`, against the bundles of now.
///
/// A connection outlives the moment of its handshake; whoever serves many requests over one asks at each.
pub fn peer_svid(
    certs: Option<&[CertificateDer<'_>]>,
    bundles: &BundleSet,
    now: UnixTime,
) -> Result<VerifiedSvid, PeerError> {
    let chain = certs
        .filter(|chain| !chain.is_empty())
        .ok_or(PeerError::NoCertificate)?;
    Ok(verify_x509_svid(chain, bundles, now)?)
}

#[derive(Debug)]
pub(crate) struct Verifier {
    bundles: Arc<dyn BundleSource>,
    expect: Expect,
    /// None: any CA of the trust domain.
    signers: Option<Arc<dyn SignerSource>>,
    algorithms: WebPkiSupportedAlgorithms,
    witness: Option<Witness>,
}

impl Verifier {
    pub(crate) fn new(bundles: Arc<dyn BundleSource>, expect: Expect) -> Self {
        Self {
            bundles,
            expect,
            signers: None,
            algorithms: provider().signature_verification_algorithms,
            witness: None,
        }
    }

    /// The same, telling what it sees.
    pub(crate) fn before(self, witness: Witness) -> Self {
        Self {
            witness: Some(witness),
            ..self
        }
    }

    pub(crate) fn signed_by(self, signers: Arc<dyn SignerSource>) -> Self {
        Self {
            signers: Some(signers),
            ..self
        }
    }

    pub(crate) fn verify_chain(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let chain: Vec<_> = std::iter::once(end_entity)
            .chain(intermediates)
            .map(|certificate| CertificateDer::from_slice(certificate.as_ref()))
            .collect();
        let bundles = self.bundles.bundles();
        let svid = peer_svid(Some(&chain), &bundles, now)
            .and_then(|svid| self.expect.check(svid))
            .and_then(|svid| self.check_signer(svid))
            .map_err(|error| error.into_rustls(now))?;
        if let Some(witness) = &self.witness {
            witness.saw(&chain, bundles, now, svid);
        }
        Ok(())
    }

    fn check_signer(&self, svid: VerifiedSvid) -> Result<VerifiedSvid, PeerError> {
        match &self.signers {
            Some(signers) if !signers.may_sign(&svid) => Err(PeerError::Signer {
                found: svid.id().clone(),
            }),
            Some(_) | None => Ok(svid),
        }
    }

    pub(crate) fn verify_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    pub(crate) fn schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// What a TLS 1.2 signature gets: the configurations offer no TLS 1.2, so this is a second lock on a closed door.
pub(crate) fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::General("TLS 1.2 is not spoken here".to_owned()))
}
