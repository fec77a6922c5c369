//! One handshake, wherever the other side is.

use std::sync::Arc;

use signet_pairs::ProveError;
use signet_tls::BundleSource;

use super::Outcome;
use crate::clock::now;
use crate::pairs::local;
use crate::pairs::resolve::{Resolved, Target};
use crate::sessions::Sessions;

/// Proves a pair, both ends of it where both are here.
pub(super) async fn handshake(
    resolved: Resolved,
    sessions: &Arc<Sessions>,
    bundles: &Arc<dyn BundleSource>,
) -> Result<Outcome, ProveError> {
    let node = match &resolved.target {
        Target::Here(remote) => {
            let own = sessions.own_id();
            let (proof, mirrored) = local::prove(&resolved.local, remote, &own, bundles, now())?;
            return Ok(Outcome::Both(proof, mirrored));
        }
        Target::Node(node) => node,
    };
    match sessions
        .prove(node, resolved.local.clone(), resolved.remote.clone())
        .await
    {
        // The session was replaced by the peer's own, or fell over: the next one is at hand.
        Err(error) if error.is_transient() => Ok(Outcome::One(
            sessions.prove(node, resolved.local, resolved.remote).await?,
        )),
        result => Ok(Outcome::One(result?)),
    }
}
