//! What an operator asks besides lists.

use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::{BoxStream, unfold};
use signet_abi::SecurityIdentity;
use signet_proto::agent::v1::{AuthEvent, FlushRequest, FlushResponse};
use signet_uds::PeerInfo;
use tokio::sync::OwnedSemaphorePermit;
use tonic::{Request, Status as Refusal};

use crate::pairs::{Pairs, Which};
use crate::status::Status;

/// Events of these kinds from now on, as long as somebody reads.
pub(super) fn watch(
    status: &Arc<Status>,
    kinds: Vec<String>,
    place: OwnedSemaphorePermit,
) -> BoxStream<'static, Result<AuthEvent, Refusal>> {
    let watching = (status.feed.watch(), kinds, place);
    unfold(watching, async |(mut watch, kinds, place)| {
        let mut lost = 0;
        loop {
            let mut event = watch.next().await?;
            lost += event.lost;
            if kinds.is_empty() || kinds.contains(&event.kind) {
                event.lost = lost;
                return Some((Ok(event), (watch, kinds, place)));
            }
        }
    })
    .boxed()
}

/// Drops proofs, and writes down who asked for it.
pub(super) async fn flush(pairs: &Pairs, request: &Request<FlushRequest>) -> Result<FlushResponse, Refusal> {
    let which = which(request.get_ref())?;
    let peer = request.extensions().get::<PeerInfo>();
    let proofs = pairs
        .flush(which)
        .await
        .ok_or_else(|| Refusal::unavailable("signet-agent is stopping"))?;
    tracing::warn!(
        proofs,
        ?which,
        caller.uid = peer.map(|peer| peer.uid),
        caller.pid = peer.map(|peer| peer.pid),
        "an operator has dropped proofs"
    );
    Ok(FlushResponse {
        proofs: super::count(proofs),
    })
}

fn which(request: &FlushRequest) -> Result<Which, Refusal> {
    let numbers = (request.local_identity, request.remote_identity, request.identity);
    match (numbers, request.all) {
        ((0, 0, 0), true) => Ok(Which::All),
        ((0, 0, identity), false) if identity != 0 => Ok(Which::Of(SecurityIdentity(identity))),
        ((one, other, 0), false) if one != 0 && other != 0 => {
            Ok(Which::Between(SecurityIdentity(one), SecurityIdentity(other)))
        }
        _ => Err(Refusal::invalid_argument(
            "say which proofs: those of a pair, those of an identity, or all",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_way_to_say_which_is_understood() {
        let request = |local_identity, remote_identity, identity, all| FlushRequest {
            local_identity,
            remote_identity,
            identity,
            all,
        };
        assert_eq!(which(&request(0, 0, 0, true)).ok(), Some(Which::All));
        let of = which(&request(0, 0, 300, false)).ok();
        assert_eq!(of, Some(Which::Of(SecurityIdentity(300))));
        let between = which(&request(300, 400, 0, false)).ok();
        assert_eq!(
            between,
            Some(Which::Between(SecurityIdentity(300), SecurityIdentity(400)))
        );
        for wrong in [
            request(0, 0, 0, false),
            request(300, 0, 0, false),
            request(300, 400, 300, false),
            request(0, 0, 300, true),
            request(300, 400, 0, true),
        ] {
            assert!(which(&wrong).is_err(), "{wrong:?}");
        }
    }
}
