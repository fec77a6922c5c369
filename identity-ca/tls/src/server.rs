//! The side that is called.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme};
use signet_spiffe::{CertificateDer, KeyId, UnixTime};

use crate::asked::Choice;
use crate::bundles::BundleSource;
use crate::expect::Expect;
use crate::identity::{Shown, SvidKeyPair, TlsError};
use crate::provider::provider;
use crate::verifier::{Verifier, no_tls12};
use crate::witness::Witness;

/// Whether a client may come without a certificate. One that comes with a bad one is refused either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// No certificate, no connection.
    Required,
    /// Each request has to look at whether there was one.
    Optional,
}

/// A configuration that shows `identity` and accepts the clients that are expected.
pub fn server_config(
    identity: &SvidKeyPair,
    bundles: Arc<dyn BundleSource>,
    expect: Expect,
    client_auth: ClientAuth,
) -> Result<ServerConfig, TlsError> {
    config(
        identity.shown()?.resolver(),
        Verifier::new(bundles, expect),
        client_auth,
    )
}

/// The same, for a server that shows one of `others` to clients that ask for the authority that signed it, by its
/// [name](crate::signer_name), and `identity` to all the rest.
pub fn server_config_with(
    identity: &SvidKeyPair,
    others: &[(KeyId, SvidKeyPair)],
    bundles: Arc<dyn BundleSource>,
    expect: Expect,
    client_auth: ClientAuth,
) -> Result<ServerConfig, TlsError> {
    let choice = Choice::new(identity, others)?;
    config(Arc::new(choice), Verifier::new(bundles, expect), client_auth)
}

/// The same for an identity that was made ready before, and for clients that must show theirs. What it makes of a client's
/// chain `witness` says afterwards: it is for one connection.
pub fn server_config_before(
    identity: &Shown,
    bundles: Arc<dyn BundleSource>,
    expect: Expect,
    witness: Witness,
) -> Result<ServerConfig, TlsError> {
    let verifier = Verifier::new(bundles, expect).before(witness);
    config(identity.resolver(), verifier, ClientAuth::Required)
}

fn config(
    shows: Arc<dyn ResolvesServerCert>,
    verifier: Verifier,
    client_auth: ClientAuth,
) -> Result<ServerConfig, TlsError> {
    let verifier = Arc::new(ClientVerifier {
        verifier,
        client_auth,
    });
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Config)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(shows);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

#[derive(Debug)]
struct ClientVerifier {
    verifier: Verifier,
    client_auth: ClientAuth,
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        match self.client_auth {
            ClientAuth::Required => true,
            ClientAuth::Optional => false,
        }
    }

    /// None: a client has one SVID, and shows it.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verifier.verify_chain(end_entity, intermediates, now)?;
        Ok(ClientCertVerified::assertion())
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
        self.verifier.verify_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.schemes()
    }
}
