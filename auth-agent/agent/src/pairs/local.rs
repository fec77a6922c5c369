//! A pair on one node: both ends in this process, with the same verifier as between nodes.

use std::sync::Arc;

use signet_handshake::{Credentials, HandshakeError, Now, Proof};
use signet_pairs::prove_local;
use signet_spiffe::SpiffeId;
use signet_tls::BundleSource;

/// Runs the handshake: the proofs of both ends.
pub(super) fn prove(
    initiator: &Arc<Credentials>,
    responder: &Arc<Credentials>,
    node: &SpiffeId,
    bundles: &Arc<dyn BundleSource>,
    now: Now,
) -> Result<(Proof, Proof), HandshakeError> {
    let mut exporter = [0; 32];
    // A value that is not random binds less, so it must not be used.
    aws_lc_rs::rand::fill(&mut exporter).map_err(|_| HandshakeError::Unexpected)?;
    prove_local((initiator, responder), node, exporter, bundles, now)
}
