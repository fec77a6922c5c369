//! The side that opens.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use signet_spiffe::{CertificateDer, UnixTime};

use crate::bundles::BundleSource;
use crate::expect::Expect;
use crate::identity::{Shown, SvidKeyPair, TlsError};
use crate::provider::provider;
use crate::signers::SignerSource;
use crate::verifier::{Verifier, no_tls12};
use crate::witness::Witness;

/// A configuration that shows `identity`, if any, and accepts the server that is expected.
///
/// The server's name, which rustls asks for when connecting, plays no part in verification: identity is the SPIFFE ID.
pub fn client_config(
    identity: Option<&SvidKeyPair>,
    bundles: Arc<dyn BundleSource>,
    expect: Expect,
) -> Result<ClientConfig, TlsError> {
    let shown = identity.map(SvidKeyPair::shown).transpose()?;
    config(shown, Verifier::new(bundles, expect))
}

/// The same, where it matters as well which CA of the trust domain has signed the server's SVID.
pub fn client_config_for(
    identity: Option<&SvidKeyPair>,
    bundles: Arc<dyn BundleSource>,
    expect: Expect,
    signers: Arc<dyn SignerSource>,
) -> Result<ClientConfig, TlsError> {
    let shown = identity.map(SvidKeyPair::shown).transpose()?;
    config(shown, Verifier::new(bundles, expect).signed_by(signers))
}

/// The same for an identity that was made ready before. What it makes of the server's chain `witness` says afterwards.
pub fn client_config_before(
    identity: &Shown,
    bundles: Arc<dyn BundleSource>,
    expect: Expect,
    witness: Witness,
) -> Result<ClientConfig, TlsError> {
    let verifier = Verifier::new(bundles, expect).before(witness);
    config(Some(identity.clone()), verifier)
}

fn config(identity: Option<Shown>, verifier: Verifier) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Config)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ServerVerifier(verifier)));
    let mut config = match identity {
        Some(identity) => builder.with_client_cert_resolver(identity.resolver()),
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(config)
}

#[derive(Debug)]
struct ServerVerifier(Verifier);

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.0.verify_chain(end_entity, intermediates, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.schemes()
    }
}
