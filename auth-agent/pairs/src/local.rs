//! A pair on one node: both ends in this process, with the same verifier as between nodes.

use std::sync::Arc;

use signet_handshake::{
    Binding, Credentials, HandshakeError, Initiator, Limits, Now, Party, Progress, Proof, Responder,
};
use signet_spiffe::SpiffeId;
use signet_tls::BundleSource;

/// Runs the handshake of the initiator and the responder: the proofs of both ends. Instead of an outer session's exporter both are
/// bound to `exporter`, which is to be fresh and random.
pub fn prove_local(
    (initiator, responder): (&Arc<Credentials>, &Arc<Credentials>),
    node: &SpiffeId,
    exporter: [u8; 32],
    bundles: &Arc<dyn BundleSource>,
    now: Now,
) -> Result<(Proof, Proof), HandshakeError> {
    let binding = Binding::new(exporter, node.clone(), node.clone());
    let party = |local: &Arc<Credentials>, remote: &Arc<Credentials>| Party {
        local: local.clone(),
        remote: remote.id().clone(),
        bundles: bundles.clone(),
        binding: binding.clone(),
        limits: Limits::default(),
    };
    let (client, hello) = Initiator::start(party(initiator, responder), now)?;
    let Progress::More {
        state: server,
        records,
    } = Responder::accept(party(responder, initiator), &hello, now)?
    else {
        return Err(HandshakeError::Unexpected);
    };
    let Progress::Complete {
        state: client,
        records,
        mac: client_mac,
    } = client.on_records(&records, now)?
    else {
        return Err(HandshakeError::Unexpected);
    };
    let Progress::Complete {
        state: server,
        mac: server_mac,
        ..
    } = server.on_records(&records, now)?
    else {
        return Err(HandshakeError::Unexpected);
    };
    Ok((
        client.on_confirm(&server_mac, now)?,
        server.on_confirm(&client_mac, now)?,
    ))
}
